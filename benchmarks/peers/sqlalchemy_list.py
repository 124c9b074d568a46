"""Seconds of one list of 50 entities as SQLAlchemy alone does it: the query in a session of its own, rows as dicts.

Usage: `sqlalchemy_list.py async|sync [DATABASE TENANT]`. With a database of ours the rows are those that the question
stored there; without one (`--peers-only`) a database of the same shape is made.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop
from rounds import answer_rounds
from sqlalchemy import Boolean, Column, Engine, Integer, MetaData, Select, String, Table, create_engine, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy_get import tune

LIMIT = 50
customers = Table(
    "bench_customers",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(64), nullable=False, index=True),
    Column("name", String(80), nullable=False),
    Column("email", String(120)),
    Column("city", String(80)),
    Column("points", Integer, nullable=False),
    Column("visits", Integer, nullable=False),
    Column("vip", Boolean, nullable=False),
)


def make_database(path: str) -> None:
    """The rows to list."""
    engine = create_engine(f"sqlite:///{path}")
    tune(engine)
    customers.metadata.create_all(engine)
    rows = [
        {
            "tenant_id": "acme", "name": f"Customer {number}", "email": f"c{number}@example.test", "city": "Oslo",
            "points": number * 7 % 1000, "visits": number % 9, "vip": number % 2 == 0,
        }
        for number in range(1000)
    ]  # fmt: skip
    with engine.begin() as connection:
        connection.execute(insert(customers), rows)
    engine.dispose()


def listing(tenant_id: str) -> Select[Any]:
    """The statement; built for each list, as an application does."""
    return (
        select(*(column for column in customers.columns if column.name != "tenant_id"))
        .where(customers.c.tenant_id == tenant_id, customers.c.city == "Oslo")
        .order_by(customers.c.points.desc(), customers.c.id)
        .limit(LIMIT)
    )


def list_sync(engine: Engine, tenant_id: str, count: int) -> list[float]:
    """Seconds of each list."""
    times: list[float] = []
    for _ in range(count):
        start = perf_counter()
        with Session(engine) as session:
            rows = [dict(row) for row in session.execute(listing(tenant_id)).mappings()]
        times.append(perf_counter() - start)
        assert len(rows) == LIMIT  # a peer program, run by the harness alone
    return times


async def list_async(engine: AsyncEngine, tenant_id: str, count: int) -> list[float]:
    """Seconds of each list."""
    times: list[float] = []
    for _ in range(count):
        start = perf_counter()
        async with AsyncSession(engine) as session:
            rows = [dict(row) for row in (await session.execute(listing(tenant_id))).mappings()]
        times.append(perf_counter() - start)
        assert len(rows) == LIMIT  # as above
    return times


def serve_sync(path: str, tenant_id: str) -> None:
    """Rounds by the synchronous engine."""
    engine = create_engine(f"sqlite:///{path}")
    tune(engine)
    answer_rounds(lambda count: list_sync(engine, tenant_id, count))


def serve_async(path: str, tenant_id: str) -> None:
    """Rounds in one event loop, so that the connection stays open between them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        tune(engine.sync_engine)
        answer_rounds(lambda count: runner.run(list_async(engine, tenant_id, count)))
        runner.run(engine.dispose())


def main() -> None:
    """Read the arguments."""
    kind, *database = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="jackfield-peer-") as folder:
        path, tenant_id = database or (str(Path(folder) / "peer.sqlite3"), "acme")
        if not database:
            make_database(path)
        (serve_sync if kind == "sync" else serve_async)(path, tenant_id)


if __name__ == "__main__":
    main()
