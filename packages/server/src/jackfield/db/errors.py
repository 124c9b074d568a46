"""What the database can do to us, and how to tell that it is merely away."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from jackfield.errors import JackfieldError, UnavailableError

__all__ = [
    "DatabaseRoleError",
    "DatabaseUnavailableError",
    "RowSecurityMissingError",
    "is_unavailable",
    "sqlstate",
]

_AWAY = ("08", "53", "57P", "57014", "25006", "40001", "40P01", "55P03", "3D000")
"""SQLSTATEs, or their beginnings: connection lost, no resources, shutting down, time is up, a standby, a serialization
failure, a deadlock, a lock not to be had in time, no such database."""
_SQLITE_AWAY = ("locked", "busy", "full", "unable to open", "disk i/o", "readonly")


class DatabaseUnavailableError(UnavailableError):
    """The database did not answer."""

    code = "database-unavailable"
    default_hint = "Try again; if it stays, an operator has to look at the database."


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
    text = str(error.orig).lower()
    return "operational" in type(error).__name__.lower() and any(word in text for word in _SQLITE_AWAY)


def sqlstate(error: SQLAlchemyError) -> str | None:
    """The code that the SQL standard has for what went wrong; None from SQLite."""
    orig = getattr(error, "orig", None)
    return getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None)
