"""Point reads: quick, and never behind what has been committed."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Integer, LargeBinary, MetaData, String, Table, bindparam, insert, select, update

from jackfield.db import Database, UtcDateTime
from jackfield.db.point_reads import DatabaseUnavailableError, PointReader

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("id", String, primary_key=True),
    Column("number", Integer),
    Column("data", JSON),
    Column("raw", LargeBinary),
    Column("at", UtcDateTime),
)
READ = select(things).where(things.c.id == bindparam("id"))
NUMBER = select(things.c.number).where(things.c.id == bindparam("id"), things.c.number > 0)
AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
async def reader(database: Database) -> PointReader:
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        row = {"id": "a", "number": 1, "data": {"x": [1, None]}, "raw": b"\x00\xff", "at": AT}
        await connection.execute(insert(things).values(row))
    return PointReader(database)


async def test_a_row_comes_with_the_types_of_its_columns(reader: PointReader) -> None:
    for _ in range(2):
        assert await reader.fetch_row(READ, {"id": "a"}) == ("a", 1, {"x": [1, None]}, b"\x00\xff", AT)


async def test_no_row_is_none(reader: PointReader) -> None:
    assert await reader.fetch_row(READ, {"id": "b"}) is None


async def test_values_written_in_a_statement_stay_in_it(reader: PointReader) -> None:
    assert await reader.fetch_row(NUMBER, {"id": "a"}) == (1,)


async def test_what_is_committed_is_seen_at_once_and_what_is_not_is_not(
    reader: PointReader, database: Database
) -> None:
    for number in range(2, 20):
        async with database.write(None) as session:
            await session.execute(update(things).values(number=number))
            # A writer at work is not waited for.
            assert await reader.fetch_row(NUMBER, {"id": "a"}) == (number - 1,)
        assert await reader.fetch_row(NUMBER, {"id": "a"}) == (number,)


async def test_reading_does_not_keep_the_wal_from_being_emptied(reader: PointReader, database: Database) -> None:
    await reader.fetch_row(READ, {"id": "a"})
    async with database.engine.connect() as connection:
        result = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        assert result.first() == (0, 0, 0)


async def test_it_cannot_write(reader: PointReader, database: Database) -> None:
    change = update(things).values(number=bindparam("n")).returning(things.c.number)
    with pytest.raises(sqlite3.OperationalError):
        reader._fetch_here(change, {"n": 5})  # the way of SQLite alone, without the pool behind it


async def test_it_closes_with_the_database_and_leaves_no_files(reader: PointReader, database: Database) -> None:
    await reader.fetch_row(READ, {"id": "a"})
    await database.close()
    path = Path(str(database.engine.url.database))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    # As the engine does, it opens again when it is asked again.
    assert await reader.fetch_row(NUMBER, {"id": "a"}) == (1,)
    await database.close()


async def test_while_the_file_is_locked_the_pool_waits_and_the_loop_goes_on(
    reader: PointReader, database: Database
) -> None:
    await reader.fetch_row(READ, {"id": "a"})
    reader.close()
    await database.engine.dispose()
    holder = sqlite3.connect(str(database.engine.url.database), isolation_level=None)
    # Out of WAL mode, the exclusive lock keeps readers out too, as a recovery does.
    holder.execute("PRAGMA journal_mode=DELETE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        asked = asyncio.ensure_future(reader.fetch_row(NUMBER, {"id": "a"}))
        turns = 0
        while turns < 100:
            await asyncio.sleep(0)
            turns += 1
        assert not asked.done()
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert await asked == (1,)


async def test_a_database_that_does_not_answer_is_unavailable(database: Database) -> None:
    with pytest.raises(DatabaseUnavailableError):
        await PointReader(database).fetch_row(READ, {"id": "a"})


async def test_a_database_in_memory_is_read_through_the_pool() -> None:
    database = Database("sqlite+aiosqlite:///:memory:")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(things).values(id="a", number=3))
    assert await PointReader(database).fetch_row(NUMBER, {"id": "a"}) == (3,)
    await database.close()


@pytest.mark.parametrize("name", ["per%41cent", "question?", "hash#", "space here"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    from sqlalchemy.engine import URL

    url: Any = URL.create("sqlite+aiosqlite", database=str(tmp_path / name))
    database = Database(url.render_as_string())
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(things).values(id="a", number=3))
    assert await PointReader(database).fetch_row(NUMBER, {"id": "a"}) == (3,)
    await database.close()
