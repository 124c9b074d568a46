"""What tests of the platform share: a real database file, a clock that is set by hand, an application for routers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import text

from jackfield.db import Base, Database, row_security
from jackfield.db.migrate import load_models
from jackfield.http import Authenticator, Caller, UnauthenticatedError, add_problem_handlers
from tests.postgres import Postgres


class ManualClock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        self.seconds += seconds


class KnownCallers:
    """An authenticator whose tokens are written in the test."""

    def __init__(self, callers: dict[str, Caller]) -> None:
        self.callers = callers

    async def authenticate(self, token: str) -> Caller:
        if token not in self.callers:
            raise UnauthenticatedError("unknown")
        return self.callers[token]


def application(authenticator: Authenticator, *routers: APIRouter) -> FastAPI:
    """An application with problem documents and these routers."""
    app = FastAPI()
    app.state.authenticator = authenticator
    add_problem_handlers(app)
    for router in routers:
        app.include_router(router)
    return app


def client(app: object, token: str | None = None) -> httpx.AsyncClient:
    """A client of the application; a defect in it arrives as a 500, as it would over the network."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),  # type: ignore[arg-type]  # an ASGI callable
        base_url="http://test",
        headers={} if token is None else {"Authorization": f"Bearer {token}"},
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is true; fail after 20 seconds."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110  # what is asked about has no event: another process, a table
            await asyncio.sleep(0.005)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def postgresql(postgres: Postgres) -> AsyncIterator[Database]:
    """A new database of a real PostgreSQL with all tables."""
    load_models()
    name = await postgres.create(await postgres.template("all-tables", create_all))
    database = Database(postgres.url(name))
    yield database
    await database.close()
    await postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def either_database(request: pytest.FixtureRequest) -> Database:
    """SQLite, then PostgreSQL: for what must behave alike on both."""
    found: Database = request.getfixturevalue(request.param)
    return found


async def create_all(url: str) -> None:
    """All tables, and what keeps tenants apart in them."""
    load_models()
    database = Database(url)
    async with database.administer() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(lambda sync: row_security.secure(sync, "jackfield_app", ("postgres",)))
        # For tables that tests make beside ours, through the engine that serves.
        await connection.execute(text("GRANT CREATE ON SCHEMA public TO jackfield_app"))
        await connection.commit()
    await database.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """A new SQLite file with all tables."""
    load_models()
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'jackfield.sqlite3'}")
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield database
    await database.close()


@pytest.fixture
def on_sqlite(database: Database) -> None:
    """For what is so on SQLite alone: there is one node, and a database is a file."""
    if not database.is_sqlite:
        pytest.skip("about SQLite")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Database:
    """A new database: SQLite, or what `JACKFIELD_TEST_DATABASE` names (`postgresql`)."""
    found: Database = request.getfixturevalue(os.environ.get("JACKFIELD_TEST_DATABASE", "sqlite"))
    return found
