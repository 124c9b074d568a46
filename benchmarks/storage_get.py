"""A storage get from inside an isolate: out to the platform, through the gate, into SQLite and back.

Goal: p50 at most 250 µs. Beside it the same query by SQLAlchemy alone, on the same database file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50
from benchmarks.peers import OUR_PYTHON, Program

KEYS = 100


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Ours]:
    """The plugin itself times each get."""
    from benchmarks.host import PROBE, started

    async with started(PROBE) as host:
        (probe,) = await host.install("probe", tenants=1)
        await probe.call("fill", count=KEYS)

        async def sample(count: int) -> list[float]:
            return await probe.call("time_gets", key=f"k{KEYS // 2}", count=count)

        yield Ours(sample, for_peers=(str(host.database), "jf_storage"))


QUESTIONS = (
    Question(
        name="storage_get",
        figures=(Figure("storage_get_p50", "µs", p50),),
        count=500,
        ours=ours,
        peers=(
            Beside(Program("SQLAlchemy, aiosqlite", "sqlalchemy", (OUR_PYTHON, "sqlalchemy_get.py", "async")), 500),
            Beside(Program("SQLAlchemy, blocking", "sqlalchemy", (OUR_PYTHON, "sqlalchemy_get.py", "sync")), 500),
        ),
    ),
)
