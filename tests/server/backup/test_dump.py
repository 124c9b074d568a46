"""PostgreSQL's own tools take the database along: tenants stay apart, what was pending is done."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy.engine import make_url

from jackfield.db import Database, row_security
from jackfield.jobs import Dispatcher, Subscription
from tests.postgres import Postgres
from tests.server.jobs.helpers import Handler, Known, emit


async def test_a_dump_is_restored_into_an_empty_database(postgres: Postgres, postgresql: Database) -> None:
    known = Known(Subscription("ins", "h", True, 5))
    await emit(postgresql, "done")
    await Dispatcher(postgresql, known, Handler()).drain()
    await emit(postgresql, "pending")

    source, target = str(make_url(postgresql.url).database), await postgres.create()
    dump = Path(postgres.folder, f"{target}.dump")
    await asyncio.to_thread(postgres.tool, "pg_dump", "--format=custom", f"--file={dump}", f"--dbname={source}")
    await asyncio.to_thread(postgres.tool, "pg_restore", "--exit-on-error", f"--dbname={target}", str(dump))
    restored = Database(postgres.url(target))
    try:
        async with restored.engine.connect() as connection:
            assert await row_security.faults(connection) == []
        handler = Handler()
        await Dispatcher(restored, known, handler).drain()
        assert handler.payloads() == ["pending"]
    finally:
        await restored.close()
        await postgres.drop(target)
