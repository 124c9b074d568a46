"""The schema's version: bring a database up to date, and draft the next revision.

Alembic does the work through its API; there is no ini file, and the revisions are inside the package, so an installed
platform can upgrade itself. Alembic's own table is named apart (`VERSION_TABLE`), so that a host may use Alembic in the
same database.

To draft a revision: `python -m jackfield.db.migrate <URL of a scratch database> "<what changes>"`.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, FromClause, Table, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

import jackfield
from jackfield.db import row_security
from jackfield.db.engine import Database
from jackfield.db.models import Base
from jackfield.db.scopes import scope_of

__all__ = [
    "VERSION_TABLE",
    "admit",
    "current",
    "differences",
    "downgrade",
    "draft",
    "head",
    "knows",
    "load_models",
    "upgrade",
    "verify",
]

VERSION_TABLE = "jf_schema_version"
_FOLDER = Path(__file__).parent / "migrations"
# Any number will do, as long as no other program locks the same one.
_POSTGRESQL_LOCK = 0x6A61636B
# Alembic keeps its present context in a global of the process.
_alembic_in_use = threading.Lock()


def load_models() -> None:
    """Import every `models.py` of the platform, so that `Base.metadata` is whole.

    By name: this folder is at the bottom and may not import those that have models.
    """
    for folder in pkgutil.iter_modules(jackfield.__path__):
        if (Path(jackfield.__path__[0]) / folder.name / "models.py").exists():
            importlib.import_module(f"jackfield.{folder.name}.models")


def head() -> str | None:
    """The newest revision that this version of the platform has; None when it has none."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def knows(revision: str) -> bool:
    """Whether this version of the platform can bring a database of that revision to `head()`."""
    try:
        ScriptDirectory.from_config(_config(None)).get_revision(revision)
    except CommandError:
        return False
    return True


async def current(database: Database) -> str | None:
    """The database's revision; None for an empty one."""
    async with database.administer() as connection:
        return await connection.run_sync(lambda sync: _context(sync).get_current_revision())


async def upgrade(database: Database) -> None:
    """Bring the database to `head()`: all of it or, after an error, nothing. Nodes that start together take turns.

    On PostgreSQL, tables of tenants' rows that have no forced row-level security get it, whatever revision made them.

    Raises:
        DatabaseRoleError: The role that serves is not there and cannot be made.
    """
    load_models()

    def run(config: Config) -> None:
        connection = config.attributes["connection"]
        if not database.is_sqlite:
            # Data that a revision moves is all tenants'.
            connection.execute(text(scope_of(None)))
        command.upgrade(config, "head")
        if not database.is_sqlite:
            row_security.secure(connection, database.settings.role or None, _logins(database))

    await _with_alembic(database, run)


async def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to an earlier revision, or to `base`. What later ones added is lost."""
    load_models()
    await _with_alembic(database, lambda config: command.downgrade(config, revision))


async def admit(database: Database, tables: Sequence[FromClause]) -> None:
    """Let the role that serves use the host's own tables, as far as they are there. Nothing on SQLite."""
    hosts: list[Table[Any]] = [table for table in tables if isinstance(table, Table)]
    role = database.settings.role or next(iter(_logins(database)), None)
    if database.is_sqlite or not hosts or not role:
        return
    async with database.administer() as connection:
        await connection.run_sync(row_security.grant, hosts, role)
        await connection.commit()


async def verify(database: Database) -> None:
    """Refuse to serve from a database that would not keep tenants apart. SQLite cannot; there, sessions do.

    Raises:
        RowSecurityMissingError: It would not.
    """
    if database.is_sqlite:
        return
    load_models()
    async with database.engine.connect() as connection:
        await row_security.verify(connection)


async def draft(database: Database, message: str) -> Path:
    """Write a revision that leads from the database's schema to the models', to be read and corrected by its author."""
    paths: list[Path] = []

    def run(config: Config) -> None:
        script = command.revision(config, message, autogenerate=True)
        paths.extend(Path(item.path) for item in (script if isinstance(script, list) else [script]) if item)

    load_models()
    await _with_alembic(database, run)
    return paths[0]


async def differences(database: Database) -> list[Any]:
    """What only the models have, or only the database, in Alembic's words. Empty when they agree."""
    load_models()
    async with database.administer() as connection:
        return await connection.run_sync(lambda sync: list(compare_metadata(_context(sync), Base.metadata)))


def is_ours(name: str | None, kind: str) -> bool:
    """Whether a table belongs to the platform: the host's tables beside ours are not our business."""
    return kind != "table" or (name is not None and name.startswith("jf_") and name != VERSION_TABLE)


def _context(connection: Connection) -> MigrationContext:
    def include_name(name: str | None, kind: str, _parents: object) -> bool:
        return is_ours(name, kind)

    return MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "include_name": include_name, "compare_type": True}
    )


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def _with_alembic(database: Database, run: Callable[[Config], None]) -> None:
    # An asyncio lock would belong to one loop, and a thread that waits for a lock cannot be cancelled.
    while not _alembic_in_use.acquire(blocking=False):  # noqa: ASYNC110  # so we ask again
        await asyncio.sleep(0.01)
    try:
        await _run_locked(database, run)
    finally:
        _alembic_in_use.release()


async def _run_locked(database: Database, run: Callable[[Config], None]) -> None:
    async with database.administer() as connection:
        if database.is_sqlite:
            # To alter a table, Alembic copies and drops it, and a drop would take the rows that refer to it along. The
            # pragma counts only outside a transaction, so it goes to the driver, before the first statement begins one.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("PRAGMA foreign_keys=OFF")
            try:
                await connection.execution_options(jackfield_immediate=True)
                await _run(connection, run)
            finally:
                await connection.rollback()
                await driver.execute("PRAGMA foreign_keys=ON")
        else:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRESQL_LOCK})
            await _run(connection, run)


async def _run(connection: AsyncConnection, run: Callable[[Config], None]) -> None:
    await connection.run_sync(lambda sync: run(_config(sync)))
    await connection.commit()


def _logins(database: Database) -> tuple[str, ...]:
    """Who connects to serve, as the URL says."""
    user = make_url(database.url).username
    return (user,) if user else ()


async def _main(url: str, message: str) -> None:
    database = Database(url)
    try:
        await upgrade(database)
        sys.stdout.write(f"{await draft(database, message)}\n")
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
