"""Short reads from SQLite in the event loop itself.

An asynchronous SQLite driver hands each statement to a thread and back, several times, which takes longer than a list
of 50 rows does. In WAL mode a reader never waits for the writer, so a read is tried here and now, for two milliseconds
of processor time. What is not done then is given up, and done again by the thread.
"""

from __future__ import annotations

import sqlite3
from time import monotonic, thread_time
from typing import Any

from sqlalchemy import Connection, Engine, Executable, create_engine, event
from sqlalchemy.engine import URL, Result, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from jackfield.db import Database
from jackfield.db.statements import count_statements

__all__ = ["QuickReader", "TookTooLongError"]

_CPU_S = 0.002
_WALL_S = 0.02
"""A cold disk costs no processor time, and a busy machine makes anything last."""
_STEPS = 5_000
"""Of the database's machine: about a tenth of a millisecond. So often is the clock looked at."""
_CACHE_KIB = 20_000
_REST_S = 10.0


class TookTooLongError(Exception):
    """It was given up; never leaves the adapter."""


class QuickReader:
    """Runs statements; everything that it answers is complete. It closes itself when the database is closed.

    Args:
        database: On anything but a SQLite file, nothing is ever quick.
    """

    def __init__(self, database: Database) -> None:
        self._url = _url_of(database) if database.is_sqlite else None
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._until = self._cpu_until = 0.0
        self._rests: dict[str, float] = {}
        event.listen(database.engine.sync_engine, "engine_disposed", self._on_disposed)

    def is_quick(self, topic: str) -> bool:
        """Whether it makes sense to try: what took too long a moment ago is left to the thread."""
        if self._url is None:
            return False
        return topic not in self._rests or self._rests[topic] < monotonic()

    async def execute(self, statement: Executable, /) -> Result[Any]:
        """As an asynchronous connection does; the whole result is there when it returns.

        Raises:
            TookTooLongError: It would have taken too long, or the file was not to be had at once.
        """
        try:
            connection = self._connection or self._open()
            self._until, self._cpu_until = monotonic() + _WALL_S, thread_time() + _CPU_S
            # All rows now: with some statements, most of the work is in fetching them.
            return connection.execute(statement).freeze()()
        except OperationalError as error:
            # Its time was up; or a checkpoint or a recovery holds the file for a moment.
            if not self._is_over():
                self.close()
            raise TookTooLongError from error

    def rest(self, topic: str) -> None:
        """Leave it to the thread for a while."""
        self._rests[topic] = monotonic() + _REST_S

    def close(self) -> None:
        """Give the connection back; the next read opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _on_disposed(self, _engine: Engine) -> None:
        self.close()

    def _open(self) -> Connection:
        if self._url is None:
            raise TookTooLongError
        engine = create_engine(
            self._url,
            poolclass=StaticPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": 0, "check_same_thread": False},
        )
        event.listen(engine, "connect", self._tune)
        count_statements(engine)
        self._engine, self._connection = engine, engine.connect()
        return self._connection

    def _tune(self, connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("query_only=ON", f"cache_size=-{_CACHE_KIB}", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.set_progress_handler(self._is_over, _STEPS)

    def _is_over(self) -> bool:
        return thread_time() > self._cpu_until or monotonic() > self._until


def _url_of(database: Database) -> URL | None:
    """The file; None for a database in memory, which another connection does not see."""
    url = make_url(database.url)
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return None
    return url.set(drivername="sqlite+pysqlite")
