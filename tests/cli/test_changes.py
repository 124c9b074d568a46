"""`jackfield changes` and `revert`, against the change log's own endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table

from jackfield.data_adapters import Author, Change, Changes, HostOnly, SqlAdapter, router
from jackfield.db import Base, Database
from jackfield.db.migrate import load_models
from jackfield.http import Caller
from jackfield.surface import Entity, Surface
from tests.cli.conftest import Ran
from tests.server.conftest import KnownCallers, application
from tests.servers.serving import serving

Run = Callable[..., Ran]

host = MetaData()
people = Table(
    "told_people",
    host,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(40), nullable=False),
    Column("name", String(20), nullable=False),
    Column("level", Integer),
)
SURFACE = Surface(entities=[Entity("people", people, readable=("id", "name", "level"), writable=("name", "level"))])


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server on which plugin `loyalty` has made person 1 and raised her level, and `booking` has made person 2."""
    address = f"sqlite+aiosqlite:///{tmp_path / 'told.sqlite3'}"

    async def fill() -> None:
        load_models()
        database = Database(address)
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(host.create_all)
        adapter = SqlAdapter(database, SURFACE)
        ada, bob = Author("inst_a", "loyalty", "inv_1", "ada"), Author("inst_b", "booking", "inv_2")
        await adapter.create("t", "people", [{"name": "Ada", "level": 1}], by=ada)
        await adapter.update("t", "people", [Change("1", {"level": 2})], by=ada)
        await adapter.create("t", "people", [{"name": "Bob"}], by=bob)
        await database.close()

    asyncio.run(fill())
    database = Database(address)
    changes = Changes(database, HostOnly(SqlAdapter(database, SURFACE)))
    callers = KnownCallers({"admin": Caller("admin", "t", "eve"), "member": Caller("member", "t", "joe")})
    with serving(application(callers, router(changes))) as url:
        yield url
    asyncio.run(database.close())


@pytest.fixture
def admin(jackfield: Run, url: str) -> Run:
    return lambda *arguments: jackfield(*arguments, token="admin", url=url)


def test_changes_are_told_and_filtered(admin: Run) -> None:
    told = admin("changes")
    assert told.status == 0
    assert "people 1" in told.out
    assert "level: 1 → 2" in told.out
    assert [change["id"] for change in admin("changes", "--json").json] == [3, 2, 1]
    assert [change["id"] for change in admin("changes", "--plugin", "loyalty", "--json").json] == [2, 1]
    assert [change["id"] for change in admin("changes", "--user", "ada", "--limit", "1", "--json").json] == [2]
    assert admin("changes", "--since", "2999-01-01", "--json").json == []
    assert "[time-invalid]" in admin("changes", "--since", "yesterday").err


def test_changes_are_taken_back_by_number(admin: Run) -> None:
    assert (admin("revert", "2", "--json").json)[0]["reverts"] == 2
    assert "level: 2 → 1" in admin("changes").out
    again = admin("revert", "2")
    assert (again.status, "[change-reverted]" in again.err) == (1, True)


def test_all_of_a_plugin_is_taken_back(admin: Run) -> None:
    refused = admin("revert", "--plugin", "loyalty")
    assert (refused.status, "[confirmation-missing]" in refused.err) == (2, True)
    assert admin("revert", "--plugin", "loyalty", "--yes").status == 0
    assert [change["operation"] for change in admin("changes", "--plugin", "loyalty", "--json").json] == [
        "delete", "update", "update", "create"
    ]  # fmt: skip


def test_what_stays_is_told(admin: Run) -> None:
    answer = admin("revert", "1")
    assert (answer.status, "[change-overtaken]" in answer.err) == (1, True)
    assert "[changes-unnamed]" in admin("revert").err
    assert "[changes-unnamed]" in admin("revert", "1", "--plugin", "loyalty").err


def test_members_may_not(jackfield: Run, url: str) -> None:
    assert "[role-missing]" in jackfield("changes", token="member", url=url).err
