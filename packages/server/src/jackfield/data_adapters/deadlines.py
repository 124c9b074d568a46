"""A time limit for one query, held by the database itself: whoever chooses the conditions chooses the cost."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from jackfield.data_adapters.errors import QueryTooSlowError

__all__ = ["query_deadline"]

_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock: well under a millisecond."""
_KEY = "jackfield_deadline"
_CANCELLED = "57014"
"""PostgreSQL's SQLSTATE for a statement that was stopped."""


class _Alarm:
    """Sits on one SQLite connection for as long as that lives; set and cleared without a detour through its thread."""

    __slots__ = ("at", "rang")

    def __init__(self) -> None:
        self.at: float | None = None
        self.rang = False

    def look(self) -> int:
        if self.at is None or time.monotonic() < self.at:
            return 0
        self.rang = True
        return 1


@asynccontextmanager
async def query_deadline(session: AsyncSession, limit_s: float) -> AsyncGenerator[AsyncConnection]:
    """Stop whatever the session's connection still runs after `limit_s` seconds.

    Raises:
        QueryTooSlowError: It was stopped.
    """
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        alarm = await _alarm_of(connection)
        alarm.at, alarm.rang = time.monotonic() + limit_s, False
        try:
            yield connection
        except DBAPIError as error:
            if alarm.rang:
                raise QueryTooSlowError(limit_s) from error
            raise
        finally:
            alarm.at = None
        return
    await connection.execute(text(f"SET LOCAL statement_timeout = {int(limit_s * 1000)}"))
    try:
        yield connection
    except DBAPIError as error:
        if _sqlstate(error) == _CANCELLED:
            raise QueryTooSlowError(limit_s) from error
        raise


async def _alarm_of(connection: AsyncConnection) -> _Alarm:
    raw: Any = await connection.get_raw_connection()
    alarm = raw.info.get(_KEY)
    if alarm is None:
        alarm = _Alarm()
        await raw.driver_connection.set_progress_handler(alarm.look, _STEPS)
        raw.info[_KEY] = alarm
    return alarm


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
