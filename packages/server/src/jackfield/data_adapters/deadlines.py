"""A time limit for one query, held by the database itself: whoever chooses the conditions chooses the cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from jackfield.data_adapters.errors import QueryTooSlowError

__all__ = ["query_deadline", "sqlstate"]

_AGAIN_S = 0.05
_CANCELLED = "57014"
"""PostgreSQL's SQLSTATE for a statement that was stopped."""


@asynccontextmanager
async def query_deadline(session: AsyncSession, limit_s: float) -> AsyncGenerator[AsyncConnection]:
    """The session's connection, on which whatever still runs after `limit_s` seconds is stopped.

    Raises:
        QueryTooSlowError: It was stopped.
    """
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        async with _interrupted(connection, limit_s):
            yield connection
        return
    await connection.execute(text(f"SET LOCAL statement_timeout = {int(limit_s * 1000)}"))
    try:
        yield connection
    except DBAPIError as error:
        if sqlstate(error) == _CANCELLED:
            raise QueryTooSlowError(limit_s) from error
        raise


@asynccontextmanager
async def _interrupted(connection: AsyncConnection, limit_s: float) -> AsyncGenerator[None]:
    # From outside, between two rows. SQLite could also ask us every so many steps, but then its thread would wait for
    # Python's lock each time, and a query would be the slower the busier the node is.
    raw: Any = await connection.get_raw_connection()
    rang = False

    async def watch() -> None:
        nonlocal rang
        await asyncio.sleep(limit_s)
        rang = True
        while True:
            # Again and again: an interrupt does nothing to a statement that has not begun.
            with suppress(ValueError):  # the connection was closed meanwhile
                await raw.driver_connection.interrupt()
            await asyncio.sleep(_AGAIN_S)

    watcher = asyncio.create_task(watch())
    try:
        yield
    except DBAPIError as error:
        if rang:
            raise QueryTooSlowError(limit_s) from error
        raise
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])


def sqlstate(error: DBAPIError) -> str | None:
    """The code that the SQL standard has for what went wrong; None from SQLite."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
