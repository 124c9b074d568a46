"""Giving back the connections while some are at work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import event, text

from jackfield.db import Database


@pytest.mark.parametrize("was_used", [False, True])
async def test_a_connection_at_work_when_its_database_is_closed_is_closed_after_its_work(
    tmp_path: Path, was_used: bool
) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'jackfield.db'}")
    opened: set[int] = set()
    engine = database.engine.sync_engine
    event.listen(engine, "connect", lambda connection, _record: opened.add(id(connection)))
    event.listen(engine, "close", lambda connection, _record: opened.discard(id(connection)))
    is_at_work, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> int:
        async with database.read(None) as session:
            found = await session.scalar(text("SELECT 1"))
            is_at_work.set()
            await may_end.wait()
            return found + await session.scalar(text("SELECT 2"))

    if was_used:
        async with database.read(None) as session:
            await session.scalar(text("SELECT 1"))
    working = asyncio.create_task(work())
    await is_at_work.wait()
    await database.close()
    assert len(opened) == 1
    may_end.set()
    assert await working == 3
    assert opened == set()

    async with database.read(None) as session:  # one opened afterwards is not kept either
        assert await session.scalar(text("SELECT 1")) == 1
    assert opened == set()
    await database.close()
