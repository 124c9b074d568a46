"""What tests of the platform share: a real database file, a clock that is set by hand, an application for routers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from jackfield.db import Base, Database
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
    name = await postgres.create(await postgres.template("all-tables", _create_all))
    database = Database(postgres.url(name))
    yield database
    await database.close()
    await postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def either_database(request: pytest.FixtureRequest) -> Database:
    """SQLite, then PostgreSQL: for what must behave alike on both."""
    found: Database = request.getfixturevalue("database" if request.param == "sqlite" else "postgresql")
    return found


async def _create_all(url: str) -> None:
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await database.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A new SQLite file with all tables."""
    load_models()
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'jackfield.sqlite3'}")
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield database
    await database.close()
