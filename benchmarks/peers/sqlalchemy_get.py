"""Seconds of one storage get as SQLAlchemy alone does it: the query in a session of its own, nothing around it.

Usage: `sqlalchemy_get.py async|sync [DATABASE TABLE]`. `async` is aiosqlite under an AsyncSession, what an asyncio node
uses; `sync` is the standard library's driver, the least that SQLAlchemy costs. With a database of ours the row read is
one that the question stored there; without one (`--peers-only`) a database of the same shape is made.
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
from sqlalchemy import (
    Column,
    Engine,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session


def storage_table(name: str) -> Table:
    """The columns that a get reads or narrows by."""
    return Table(
        name,
        MetaData(),
        Column("installation_id", String, primary_key=True),
        Column("key", String, primary_key=True),
        Column("tenant_id", String),
        Column("value", LargeBinary),
    )


def tune(engine: Engine) -> None:
    """The platform's own settings of SQLite, or the peer would measure another database."""

    @event.listens_for(engine, "connect")
    def pragmas(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-20000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")


def make_database(path: str, table: Table) -> None:
    """The table, and the row to read among others."""
    engine = create_engine(f"sqlite:///{path}")
    tune(engine)
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(table),
            [
                {"tenant_id": "acme", "installation_id": "i", "key": f"k{number}", "value": b"\x81\xa1n%c" % number}
                for number in range(100)
            ],
        )
    engine.dispose()


def existing_key(path: str, table: Table) -> tuple[str, str, str]:
    """What to ask for: some row that is there."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        row = connection.execute(select(table.c.tenant_id, table.c.installation_id, table.c.key).limit(1)).one()
    engine.dispose()
    return row.tenant_id, row.installation_id, row.key


def get(table: Table, key: tuple[str, str, str]) -> Select[Any]:
    """The statement; built for each get, as an application does."""
    tenant_id, installation_id, name = key
    return select(table.c.value).where(
        table.c.tenant_id == tenant_id, table.c.installation_id == installation_id, table.c.key == name
    )


def get_sync(engine: Engine, table: Table, key: tuple[str, str, str], count: int) -> list[float]:
    """Seconds of each get."""
    times: list[float] = []
    for _ in range(count):
        start = perf_counter()
        with Session(engine) as session:
            session.execute(get(table, key)).scalar_one()
        times.append(perf_counter() - start)
    return times


async def get_async(engine: AsyncEngine, table: Table, key: tuple[str, str, str], count: int) -> list[float]:
    """Seconds of each get."""
    times: list[float] = []
    for _ in range(count):
        start = perf_counter()
        async with AsyncSession(engine) as session:
            (await session.execute(get(table, key))).scalar_one()
        times.append(perf_counter() - start)
    return times


def serve_sync(path: str, table: Table) -> None:
    """Rounds by the synchronous engine."""
    engine = create_engine(f"sqlite:///{path}")
    tune(engine)
    key = existing_key(path, table)
    answer_rounds(lambda count: get_sync(engine, table, key, count))


def serve_async(path: str, table: Table) -> None:
    """Rounds in one event loop, so that the connection stays open between them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        tune(engine.sync_engine)
        key = existing_key(path, table)
        answer_rounds(lambda count: runner.run(get_async(engine, table, key, count)))
        runner.run(engine.dispose())


def main() -> None:
    """Read the arguments."""
    kind, *database = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="jackfield-peer-") as folder:
        path, name = database or (str(Path(folder) / "peer.sqlite3"), "storage")
        table = storage_table(name)
        if not database:
            make_database(path, table)
        (serve_sync if kind == "sync" else serve_async)(path, table)


if __name__ == "__main__":
    main()
