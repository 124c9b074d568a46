"""The doctor says of a database what would go wrong with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jackfield.db import Database, migrate
from jackfield.db.doctor import DatabaseFinding, examine
from tests.postgres import Postgres


@pytest.fixture
async def migrated(postgres: Postgres) -> AsyncIterator[Database]:
    name = await postgres.create()
    database = Database(postgres.url(name))
    await migrate.upgrade(database)
    yield database
    await database.close()
    await postgres.drop(name)


def named(findings: list[DatabaseFinding]) -> dict[str, DatabaseFinding]:
    return {finding.name: finding for finding in findings}


async def test_a_database_that_is_well(migrated: Database) -> None:
    found = named(await examine(migrated))
    # The server of the tests has no need to outlive the machine, and says so.
    assert {name for name, finding in found.items() if not finding.is_good} == {"what is committed stays"}
    assert found["serves as"].says == "jackfield_app"
    assert found["row-level security"].says.startswith("forced on all ")
    assert found["nodes hear one another"].says.endswith(" ms")


async def test_a_table_without_row_security_is_named(migrated: Database, postgres: Postgres) -> None:
    await postgres.run("ALTER TABLE jf_logs NO FORCE ROW LEVEL SECURITY", database=migrated.engine.url.database or "")
    finding = named(await examine(migrated))["row-level security"]
    assert not finding.is_good
    assert "jf_logs" in finding.says


async def test_a_schema_that_is_behind_is_said(migrated: Database) -> None:
    await migrate.downgrade(migrated, "a1c0de000012")
    assert not named(await examine(migrated))["schema is up to date"].is_good


async def test_a_database_that_is_not_there_is_one_finding(tmp_path: Path) -> None:
    found = await examine(Database(f"postgresql+asyncpg://nobody@/none?host={tmp_path}"))
    assert [(finding.name, finding.is_good) for finding in found] == [("database answers", False)]


async def test_sqlite_has_little_to_look_at(database: Database) -> None:
    assert not named(await examine(database))["schema is up to date"].is_good
    assert named(await examine(database))["engine"].is_good
