"""Looks at the database as a node will use it, and says what is not as it should be."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.db import migrate, row_security
from jackfield.db.engine import Database
from jackfield.db.errors import is_full
from jackfield.db.notices import Notices, tell

__all__ = ["SCHEMA", "DatabaseFinding", "examine"]

SCHEMA: Final = "schema is up to date"
"""Name of the finding that says whether there are the tables of this version."""
OLDEST: Final = 140_000
"""The oldest PostgreSQL that is tried, as the server writes its version."""
_SKEW_S = 1.0
_NOTICE_S = 0.1
_PATIENCE_S = 5.0

_HALF_MEBIBYTE: Final = "SELECT md5(n::text) AS filler FROM generate_series(1, 8192) AS n"
_SERVER = text(
    """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
           pg_is_in_recovery() AS is_standby, current_setting('transaction_isolation') AS isolation,
           current_setting('server_encoding') AS encoding, extract(epoch FROM clock_timestamp())::float AS now,
           current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
           current_setting('synchronous_commit') AS commits, current_setting('max_connections')::int AS connections,
           current_setting('standard_conforming_strings') AS strings, current_user AS role
    """
)


@dataclass(frozen=True, slots=True)
class DatabaseFinding:
    """One thing that was looked at."""

    name: str
    is_good: bool
    says: str


async def examine(database: Database) -> list[DatabaseFinding]:
    """Everything that can be told without changing anything."""
    try:
        revision, newest = await migrate.current(database), migrate.head()
        found = [DatabaseFinding(SCHEMA, revision == newest, f"{revision or 'empty'}, head {newest}")]
        if database.is_sqlite:
            return [*found, DatabaseFinding("engine", True, "SQLite: one node, which keeps tenants apart itself")]
        async with database.engine.connect() as connection:
            found += await _server(database, connection)
            found.append(await _room(connection))
            if revision is not None:
                migrate.load_models()
                faults = await row_security.faults(connection)
                tables = len(row_security.tenant_tables())
                says = "; ".join(faults) or f"forced on all {tables} tables of tenants' rows"
                found.append(DatabaseFinding("row-level security", not faults, says))
        return [*found, await _notices(database)]
    except Exception as error:
        return [DatabaseFinding("database answers", False, f"{type(error).__name__}: {str(error)[:300]}")]


async def _server(database: Database, connection: AsyncConnection) -> list[DatabaseFinding]:
    asked = time.time()
    row = (await connection.execute(_SERVER)).one()
    skew_s = row.now - (asked + time.time()) / 2
    wanted = database.settings.pool_size + database.settings.pool_overflow + 1
    return [
        DatabaseFinding("version", row.number >= OLDEST, f"PostgreSQL {row.version}"),
        DatabaseFinding("takes writes", not row.is_standby, "a standby" if row.is_standby else "primary"),
        DatabaseFinding("serves as", True, row.role),
        DatabaseFinding("isolation level", row.isolation == "read committed", row.isolation),
        DatabaseFinding("encoding", row.encoding == "UTF8", row.encoding),
        DatabaseFinding("texts", row.strings == "on", f"standard_conforming_strings {row.strings}"),
        DatabaseFinding("clock", abs(skew_s) < _SKEW_S, f"{skew_s * 1000:+.0f} ms from this machine's"),
        DatabaseFinding(
            "what is committed stays", (row.fsync, row.pages, row.commits != "off") == ("on", "on", True),
            f"fsync {row.fsync}, full_page_writes {row.pages}, synchronous_commit {row.commits}",
        ),
        DatabaseFinding(
            "connections", row.connections >= wanted,
            f"{row.connections} for all; a node like this one takes up to {wanted}",
        ),
    ]  # fmt: skip


async def _room(connection: AsyncConnection) -> DatabaseFinding:
    """Have half a mebibyte written that nobody sees and that does not stay."""
    try:
        await connection.execute(text(f"CREATE TEMPORARY TABLE jf_room ON COMMIT DROP AS {_HALF_MEBIBYTE}"))
    except DBAPIError as error:
        if is_full(error):
            return DatabaseFinding("room", False, f"refuses writes: {str(error.orig)[:200]}")
        # A standby, or a role that may not: other findings say so where it is a fault.
        return DatabaseFinding("room", True, "was not tried")
    finally:
        await connection.rollback()
    return DatabaseFinding("room", True, "takes half a mebibyte")


async def _notices(database: Database) -> DatabaseFinding:
    """Have one that plays another node tell something."""
    heard = asyncio.Event()
    notices, other = Notices(database), Database(database.url, database.settings)
    notices.on("doctor", lambda subject: heard.set() if subject == other.node_id else None)
    try:
        await notices.start()
        async with other.write(None) as session:
            await tell(session, "doctor", other.node_id)
        committed = time.monotonic()
        async with asyncio.timeout(_PATIENCE_S):
            await heard.wait()
        took_s = time.monotonic() - committed
        return DatabaseFinding("nodes hear one another", took_s < _NOTICE_S, f"after {took_s * 1000:.1f} ms")
    except TimeoutError:
        return DatabaseFinding("nodes hear one another", False, "a notice did not arrive: is a pooler in between?")
    finally:
        await notices.close()
        await other.close()
