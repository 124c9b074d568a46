"""A list of 50 of the host's entities from inside an isolate: out to the platform, into SQLite and back.

Goal: p50 at most twice that of the same query by SQLAlchemy alone, on the same database file. The query has a condition
and an order that no index has: 1,000 rows are looked at and sorted, on both sides.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import insert

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50
from benchmarks.peers import OUR_PYTHON, Program

ROWS = 1_000
LIMIT = 50
CITY = "Oslo"


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Ours]:
    """The plugin itself times each list."""
    from benchmarks.host import CUSTOMERS, LISTER, started

    async with started(LISTER) as host:
        (lister,) = await host.install("lister", tenants=1, grants=["customers:read"])
        rows = [
            {
                "tenant_id": lister.tenant.id, "name": f"Customer {number}", "email": f"c{number}@example.test",
                "city": CITY, "points": number * 7 % ROWS, "visits": number % 9, "vip": number % 2 == 0,
            }
            for number in range(ROWS)
        ]  # fmt: skip
        async with host.platform.database.write(None) as session:
            connection = await session.connection()
            await connection.run_sync(CUSTOMERS.create)
            await connection.execute(insert(CUSTOMERS), rows)

        async def sample(count: int) -> list[float]:
            return await lister.call("time_lists", city=CITY, limit=LIMIT, count=count)

        yield Ours(sample, for_peers=(str(host.database), lister.tenant.id))


QUESTIONS = (
    Question(
        name="entity_list",
        figures=(Figure("entity_list_p50", "µs", p50),),
        count=200,
        ours=ours,
        peers=(
            Beside(Program("SQLAlchemy, aiosqlite", "sqlalchemy", (OUR_PYTHON, "sqlalchemy_list.py", "async")), 200),
            Beside(Program("SQLAlchemy, blocking", "sqlalchemy", (OUR_PYTHON, "sqlalchemy_list.py", "sync")), 200),
        ),
    ),
)
