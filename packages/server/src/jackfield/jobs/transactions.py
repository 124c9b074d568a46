"""How the dispatcher reaches the database: whole pieces of work, each a plain function of a session.

On SQLite, looks are taken on a connection of their own, here in the event loop: in WAL mode a reader waits for nobody,
and a few looks into indexes take less time than handing them to the driver's thread and back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, StaticPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from jackfield.db import Database
from jackfield.db.scopes import BY_KEY

__all__ = ["Round", "Transactions"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Round:
    """A look, and what is written because of it."""

    look: Callable[[Callable[[Session], Any]], Awaitable[Any]]
    write: Callable[[Callable[[Session], Any]], Awaitable[Any]]


class Transactions:
    """Runs work for the platform itself, across tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looks = _look_engine(database)

    async def read(self, work: Callable[[Session], T]) -> T:
        """A few quick queries."""
        if self._looks is not None:
            with Session(self._looks) as session:
                return work(session)
        async with self._database.read(None) as session:
            session.info[BY_KEY] = True
            return await session.run_sync(work)

    async def write(self, work: Callable[[Session], T]) -> T:
        """One transaction."""
        return await self._database.transact(work, is_by_key=True)

    @asynccontextmanager
    async def round(self) -> AsyncGenerator[Round]:
        """A look and a write: on PostgreSQL in one transaction, which ends with the block."""
        if self._database.is_sqlite:
            yield Round(self.read, self.write)
            return
        async with self._database.write(None) as session:
            session.info[BY_KEY] = True
            yield Round(session.run_sync, session.run_sync)

    def close(self) -> None:
        """Give the connection back."""
        if self._looks is not None:
            self._looks.dispose()


def _look_engine(database: Database) -> Engine | None:
    url = make_url(database.url)
    if not database.is_sqlite or url.database in (None, "", ":memory:"):
        return None
    engine = create_engine(url.set(drivername="sqlite"), poolclass=StaticPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _read_only(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # registered
        connection.execute("PRAGMA query_only=ON").close()

    return engine
