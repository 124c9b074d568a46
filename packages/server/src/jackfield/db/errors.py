"""What the database can do to us, and how to tell that it is merely away."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from jackfield.errors import InvalidError, JackfieldError, UnavailableError

__all__ = [
    "DATABASE_FAILURES",
    "DatabaseBusyError",
    "DatabaseFullError",
    "DatabaseRoleError",
    "DatabaseUnavailableError",
    "DiskFullError",
    "RowSecurityMissingError",
    "TextInvalidError",
    "is_disk_full",
    "is_full",
    "is_no_text",
    "is_unavailable",
    "sqlstate",
    "unavailable",
]

DATABASE_FAILURES = (DBAPIError, PoolTimeoutError, OSError)
"""What work on the database may raise that is not our own: who waits for the database to come back catches these."""
_AWAY = ("08", "53", "57P", "57014", "25006", "40001", "40P01", "55P03", "3D000")
"""SQLSTATEs, or their beginnings: connection lost, no resources, shutting down, time is up, a standby, a serialization
failure, a deadlock, a lock not to be had in time, no such database."""
_FULL = ("53100",)
_NO_TEXT = ("22021", "22P05")
"""A character that is none in the database's encoding, and one that it does not keep: NUL."""
_BUSY = ("53300", "53400", "57014", "55P03", "40001", "40P01")
"""Too many connections, a limit of the configuration, time is up, a lock not to be had, met by others."""
_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_AWAY = _SQLITE_BUSY | {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
}  # fmt: skip


class DatabaseUnavailableError(UnavailableError):
    """The database did not answer."""

    code = "database-unavailable"
    default_hint = "Try again; if it stays, an operator has to look at the database."


class DatabaseFullError(DatabaseUnavailableError):
    """The database, or the disk it lies on, has no room. What was committed stays; nothing more is taken."""

    code = "database-full"
    default_hint = "Reading goes on. An operator has to make room on the database's disk; then it is taken again."


class DatabaseBusyError(DatabaseUnavailableError):
    """There was no free connection in time, or the statement took too long."""

    code = "database-busy"
    default_hint = "Try again in a moment; if it stays, an operator has to look at what keeps the database."


class DiskFullError(UnavailableError):
    """The node's own disk has no room for a file."""

    code = "disk-full"
    default_hint = "An operator has to make room in the node's data folder; then try again."


class TextInvalidError(InvalidError):
    """A text has a character that the database cannot keep."""

    code = "text-invalid"
    default_hint = "Leave out the character NUL (U+0000); no database keeps it."


class RowSecurityMissingError(JackfieldError):
    """PostgreSQL would not keep tenants apart by itself.

    Attributes:
        faults: What is wrong, table by table.
    """

    code = "row-security-missing"
    default_hint = (
        "Start once with JACKFIELD_DATABASE_ADMIN_URL, as the owner of the tables: what is missing is put right then. "
        "Serve as a role that owns nothing, is no superuser, and has no BYPASSRLS."
    )

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"row-level security does not hold: {'; '.join(faults)}", faults=list(faults))


class DatabaseRoleError(JackfieldError):
    """The role that the platform works as is not there, and could not be made."""

    code = "database-role-missing"
    default_hint = (
        "As a superuser: CREATE ROLE jackfield_app NOLOGIN; GRANT jackfield_app TO the user of the database's URL. "
        "Another name is set with JACKFIELD_DATABASE_ROLE."
    )


def unavailable(error: BaseException, says: str) -> DatabaseUnavailableError:
    """A failure of the database as our error: without room, too busy, or away."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseBusyError(says, retry_after_s=1)
    if isinstance(error, DBAPIError) and is_unavailable(error):
        state = sqlstate(error)
        if is_full(error):
            return DatabaseFullError(says, retry_after_s=30)
        if state is not None and state.startswith(_BUSY):
            return DatabaseBusyError(says, retry_after_s=1)
        if _sqlite_code(error) in _SQLITE_BUSY:
            return DatabaseBusyError(says, retry_after_s=1)
    return DatabaseUnavailableError(says, retry_after_s=1)


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written for want of room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether the database refused a write for want of room."""
    if not isinstance(error, DBAPIError) or not is_unavailable(error):
        return False
    state = sqlstate(error)
    return state in _FULL or _sqlite_code(error) == sqlite3.SQLITE_FULL


def is_no_text(error: BaseException) -> bool:
    """Whether what was asked or written has a character that PostgreSQL does not take."""
    return isinstance(error, DBAPIError) and sqlstate(error) in _NO_TEXT


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is away, or too busy, rather than that a statement is wrong."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(getattr(error.orig, "jackfield_connecting", None), BaseException):
        return True
    state = sqlstate(error)
    if state is not None:
        return state.startswith(_AWAY)
    return _sqlite_code(error) in _SQLITE_AWAY


def sqlstate(error: SQLAlchemyError) -> str | None:
    """The code that the SQL standard has for what went wrong; None from SQLite."""
    orig = getattr(error, "orig", None)
    return getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None)


def _sqlite_code(error: SQLAlchemyError) -> int | None:
    """SQLite's own, without what it says more exactly; not its text, in which names of tables and columns stand."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
