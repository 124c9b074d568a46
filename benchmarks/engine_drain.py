"""Events delivered per second when a backlog is worked off, and what a tenant with a backlog does to another one.

The handler is nothing at all, in the dispatcher's own process, as at the peers; everything else is real: who subscribes
is asked, each installation's events stay in order, tenants take turns, and each delivery is written into the log. The
events were committed one by one, each with a row of the host's. All databases sync each commit.

- `drain_postgresql`: 200 tenants, beside PgQueuer on the same server. Goal: at least as many. Ours is timed from the
  start of the dispatcher until the last end is on disk; PgQueuer from its first job to its last.
- `drain_sqlite`: the same on SQLite, beside DBOS on SQLite. Goal: ten times as many.
- `hot_tenant`: from the commit of an event to its handler, while another tenant has a backlog of 100,000 ordered
  events, beside the same without. Goal: p99 at most twice as long.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select

from benchmarks.collector import as_served
from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50, p99
from benchmarks.peers import PEERS_PYTHON, Program
from jackfield import ids
from jackfield.db import Database, migrate
from jackfield.jobs import Delivery, DeliveryResult, DeliverySnapshot, Dispatcher, Subscription, outbox
from jackfield.jobs.models import OutboxEvent

TENANTS = 200
COMMITTING = 8
EVENT = "sale.created"
BACKLOG = 100_000
BACKLOG_CHUNK = 5_000
PAUSE_S = 0.005
QUICK_TENANT = "quick"
HOT_TENANT = "hot"
SALES = Table(
    "bench_sales", MetaData(), Column("id", Integer, primary_key=True), Column("tenant_id", String(64), nullable=False)
)
"""The host's own: a row goes with each event."""


class OneEach:
    """Each tenant has one installation, with one handler that takes events in order."""

    async def subscribers(self, tenant_id: str, event_name: str) -> Sequence[Subscription]:
        """That one."""
        return [Subscription(f"inst-{tenant_id}", "handle")]


class Nothing:
    """The handler."""

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Done already."""
        return DeliveryResult("done", has_effects=False)


class Clocked:
    """The handler, which says when it was called for the quick tenant."""

    def __init__(self) -> None:
        self.began: asyncio.Future[float] | None = None

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Tells whoever waits."""
        began = self.began
        if delivery.tenant_id == QUICK_TENANT and began is not None and not began.done():
            began.set_result(perf_counter())
        return DeliveryResult("done", has_effects=False)


async def commit(database: Database, tenant_id: str, n: int) -> None:
    """One transaction of a host's: its row, and the event."""
    async with database.write(tenant_id) as session:
        await session.execute(insert(SALES).values(tenant_id=tenant_id))
        outbox.add(session, tenant_id, EVENT, {"n": n})


async def drained(database: Database, count: int) -> list[float]:
    """The rate at which so many are worked off."""

    async def some(first: int) -> None:
        for n in range(first, count, COMMITTING):
            await commit(database, f"t{n % TENANTS}", n)

    await asyncio.gather(*map(some, range(COMMITTING)))
    dispatcher = Dispatcher(database, OneEach(), Nothing())
    start = perf_counter()
    await dispatcher.drain()
    return [count / (perf_counter() - start)]


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        await migrate.upgrade(database)
        async with database.administer() as connection:
            await connection.run_sync(SALES.metadata.create_all)
            await connection.commit()
        await migrate.admit(database, [SALES])
        with as_served():
            yield database
    finally:
        await database.close()


@asynccontextmanager
async def _on_postgresql(_effort: Effort) -> AsyncIterator[Ours]:
    from benchmarks.postgres import durable

    async with durable() as server, _opened(server.url(await server.create())) as database:
        yield Ours(lambda count: drained(database, count), for_peers=(str(server.folder),))


@asynccontextmanager
async def _on_sqlite(_effort: Effort) -> AsyncIterator[Ours]:
    with tempfile.TemporaryDirectory(prefix="jackfield-bench-") as folder:
        async with _opened(f"sqlite+aiosqlite:///{Path(folder) / 'drain.sqlite3'}") as database:
            yield Ours(lambda count: drained(database, count))


@asynccontextmanager
async def _beside_a_backlog(effort: Effort) -> AsyncIterator[Ours]:
    from benchmarks.postgres import durable

    wanted = BACKLOG // 50 if effort.quick else BACKLOG
    async with durable() as server:
        empty, full = [server.url(await server.create()) for _ in range(2)]
        async with _opened(empty) as quiet_database, _opened(full) as loud_database:

            async def quiet(count: int) -> list[float]:
                return await latencies(quiet_database, count)

            async def loud(count: int) -> list[float]:
                await _fill_up(loud_database, wanted)
                return await latencies(loud_database, count)

            yield Ours(loud, beside=(("without the backlog", quiet),))


async def latencies(database: Database, count: int) -> list[float]:
    """Seconds from commits to the handler, one event after the other."""
    handler = Clocked()
    dispatcher = Dispatcher(database, OneEach(), handler)
    running = asyncio.create_task(dispatcher.run())
    times: list[float] = []
    try:
        for n in range(count):
            began = handler.began = asyncio.get_running_loop().create_future()
            await commit(database, QUICK_TENANT, n)
            committed = perf_counter()
            times.append(max(0.0, await began - committed))
            await asyncio.sleep(PAUSE_S)
    finally:
        await dispatcher.stop()
        await running
    return times


async def _fill_up(database: Database, wanted: int) -> None:
    """So many events of the hot tenant are open. Written as rows: set-up, never what is timed."""
    async with database.read(None) as session:
        new = await session.scalar(select(func.count()).where(OutboxEvent.fanned_out_at.is_(None)))
        open_ = await session.scalar(select(func.count()).where(Delivery.place.is_not(None)))
    missing = wanted - (new or 0) - (open_ or 0)
    for first in range(0, missing, BACKLOG_CHUNK):
        rows = [
            {
                "id": ids.new_id("evt"), "tenant_id": HOT_TENANT, "name": EVENT, "payload": '{"n":0}',
                "source": "host", "cause": None, "created_at": datetime.now(UTC), "fanned_out_at": None,
            }
            for _ in range(min(BACKLOG_CHUNK, missing - first))
        ]  # fmt: skip
        async with database.write(None) as session:
            await session.execute(insert(OutboxEvent), rows)


QUESTIONS = (
    Question(
        name="drain_postgresql",
        figures=(Figure("drain_postgresql", "/s", p50),),
        count=20_000,
        rounds=3,
        ours=_on_postgresql,
        peers=(Beside(Program("PgQueuer", "pgqueuer", (PEERS_PYTHON, "pgqueuer_queue.py", "drain")), 20_000),),
    ),
    Question(
        name="drain_sqlite",
        figures=(Figure("drain_sqlite", "/s", p50),),
        count=20_000,
        rounds=3,
        ours=_on_sqlite,
        peers=(Beside(Program("DBOS on SQLite", "dbos", (PEERS_PYTHON, "dbos_queue.py", "drain"), once=True), 500),),
    ),
    Question(
        name="hot_tenant",
        figures=(Figure("hot_tenant_p50", "ms", p50), Figure("hot_tenant_p99", "ms", p99)),
        count=200,
        rounds=3,
        ours=_beside_a_backlog,
        peers=(),
    ),
)
