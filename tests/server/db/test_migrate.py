"""A database is brought up to date from inside the package, whatever else is in it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from jackfield.db import Base, Database, migrate

FIRST = """
from __future__ import annotations
import sqlalchemy as sa
from alembic import op
revision = "0001"
down_revision = None
def upgrade() -> None:
    op.create_table("jf_things", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    op.create_table(
        "jf_parts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("thing_id", sa.Integer, sa.ForeignKey("jf_things.id", ondelete="CASCADE")),
    )
    op.execute("INSERT INTO jf_things VALUES (1, 'one')")
    op.execute("INSERT INTO jf_parts VALUES (1, 1)")
"""

SECOND = """
from __future__ import annotations
import sqlalchemy as sa
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade() -> None:
    with op.batch_alter_table("jf_things") as batch:
        batch.alter_column("name", nullable=False)
"""

BROKEN = SECOND.replace(
    "def upgrade() -> None:", "def upgrade() -> None:\n    op.execute('CREATE TABLE jf_half (id INTEGER)')"
) + ("    raise ZeroDivisionError\n")


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite3'}")
    yield database
    await database.close()


@pytest.fixture
def revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's environment, in a folder where a test may put revisions of its own."""
    folder = tmp_path / "100% migrations"
    shutil.copytree(Path(migrate.__file__).parent / "migrations", folder, ignore=shutil.ignore_patterns("versions"))
    (folder / "versions").mkdir(exist_ok=True)
    monkeypatch.setattr(migrate, "_FOLDER", folder)
    return folder / "versions"


async def tables(database: Database) -> set[str]:
    async with database.engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    async with database.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(statement))]


async def test_upgrading_goes_through_all_revisions_and_again_changes_nothing(empty: Database, revisions: Path) -> None:
    (revisions / "0001_first.py").write_text(FIRST)
    await migrate.upgrade(empty)
    assert await migrate.current(empty) == "0001"
    (revisions / "0002_second.py").write_text(SECOND)
    assert migrate.head() == "0002"
    await migrate.upgrade(empty)
    await migrate.upgrade(empty)
    assert await migrate.current(empty) == "0002"
    assert await tables(empty) == {"jf_things", "jf_parts", migrate.VERSION_TABLE}


async def test_altering_a_table_does_not_take_the_rows_that_refer_to_it_along(empty: Database, revisions: Path) -> None:
    (revisions / "0001_first.py").write_text(FIRST)
    (revisions / "0002_second.py").write_text(SECOND)
    await migrate.upgrade(empty)
    assert await rows(empty, "SELECT * FROM jf_parts") == [(1, 1)]
    assert await rows(empty, "PRAGMA foreign_keys") == [(1,)]


async def test_a_revision_that_fails_leaves_nothing_behind(empty: Database, revisions: Path) -> None:
    (revisions / "0001_first.py").write_text(FIRST)
    (revisions / "0002_broken.py").write_text(BROKEN)
    with pytest.raises(ZeroDivisionError):
        await migrate.upgrade(empty)
    assert await migrate.current(empty) is None
    assert await tables(empty) <= {migrate.VERSION_TABLE}
    assert await rows(empty, "PRAGMA foreign_keys") == [(1,)]


async def test_two_that_start_together_upgrade_once(empty: Database, revisions: Path) -> None:
    (revisions / "0001_first.py").write_text(FIRST)
    other = Database(empty.url)
    await asyncio.gather(migrate.upgrade(empty), migrate.upgrade(other))
    assert await rows(empty, "SELECT * FROM jf_things") == [(1, "one")]
    await other.close()


async def test_a_draft_makes_the_models_tables_and_leaves_the_hosts_alone(empty: Database, revisions: Path) -> None:
    async with empty.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE shop_sales (id INTEGER PRIMARY KEY)"))
        await connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))  # the host's own
        await connection.execute(text("INSERT INTO alembic_version VALUES ('host-7')"))
    path = await migrate.draft(empty, "the first")
    drafted = await asyncio.to_thread(path.read_text)
    assert "shop_sales" not in drafted
    assert "alembic_version" not in drafted
    await migrate.upgrade(empty)
    assert set(Base.metadata.tables) <= await tables(empty)
    assert await migrate.differences(empty) == []
    assert await rows(empty, "SELECT * FROM alembic_version") == [("host-7",)]


async def test_a_difference_between_models_and_database_is_told(database: Database) -> None:
    assert await migrate.differences(database) == []
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE jf_tenants DROP COLUMN plan"))
    (difference,) = await migrate.differences(database)
    assert "plan" in repr(difference)


async def test_the_revisions_of_the_package_make_exactly_the_models_tables(empty: Database) -> None:
    assert migrate.head() is not None
    await migrate.upgrade(empty)
    assert await migrate.differences(empty) == []
