"""What went wrong in the database is told by its code: in its text stand names that others have chosen."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from jackfield.db import Database, is_unavailable
from jackfield.db.errors import DatabaseBusyError, DatabaseFullError, is_full, unavailable


async def failure(database: Database, *statements: str) -> DBAPIError:
    async with database.write("acme") as session:
        for statement in statements[:-1]:
            await session.execute(text(statement))
        with pytest.raises(DBAPIError) as caught:
            await session.execute(text(statements[-1]))
        await session.rollback()
    return caught.value


@pytest.mark.parametrize("name", ["full_name", "is_busy", "locked", "readonly"])
async def test_a_wrong_name_is_a_defect_whatever_it_is_called(sqlite: Database, name: str) -> None:
    error = await failure(sqlite, f"SELECT {name} FROM sqlite_master")
    assert (is_unavailable(error), is_full(error)) == (False, False)


async def test_a_full_and_a_locked_file_are_told_apart(sqlite: Database, tmp_path: Path) -> None:
    error = await failure(sqlite, "PRAGMA max_page_count = 1", "CREATE TABLE large (data BLOB)")
    assert is_full(error)
    assert isinstance(unavailable(error, "away"), DatabaseFullError)
    with sqlite3.connect(tmp_path / "file") as one, sqlite3.connect(tmp_path / "file", timeout=0) as two:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            two.execute("BEGIN IMMEDIATE")
    one.close()
    two.close()
    busy = OperationalError("BEGIN IMMEDIATE", None, caught.value)
    assert is_unavailable(busy)
    assert isinstance(unavailable(busy, "away"), DatabaseBusyError)
