"""A storage get from inside an isolate: out to the platform, through the gate, into SQLite and back.

Goal: p50 at most 250 µs. Beside it the same query by SQLAlchemy alone, on the same database file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Beside, Figure, Question, Sampler, p50
from benchmarks.peers import OUR_PYTHON, Program


@asynccontextmanager
async def ours() -> AsyncIterator[Sampler]:
    """The plugin itself times each get."""
    from benchmarks.host import started

    async with started() as host:
        tenant = await host.install_storage_reader()

        async def sample(count: int) -> list[float]:
            return await host.storage_gets(tenant, count)

        yield sample


QUESTION = Question(
    name="storage_get",
    figures=(Figure("storage_get_p50", "µs", p50),),
    count=500,
    ours=ours,
    peers=(
        Beside(Program("SQLAlchemy, aiosqlite", "sqlalchemy", (OUR_PYTHON, "sqlalchemy_get.py", "async")), 500),
        Beside(Program("SQLAlchemy, blocking", "sqlalchemy", (OUR_PYTHON, "sqlalchemy_get.py", "sync")), 500),
    ),
)
