"""The database: engine, sessions opened for a tenant, the base of all models, migrations.

SQLite (WAL, every commit synced) is the embedded default. One writer at a time is the rule there, so write sessions
queue in this process instead of spinning on the file's lock. PostgreSQL serves many nodes: it keeps tenants apart
itself (`row_security`), and carries what nodes tell one another (`notices`).
"""

from __future__ import annotations

from jackfield.db.engine import Database
from jackfield.db.errors import (
    DATABASE_FAILURES,
    DatabaseBusyError,
    DatabaseFullError,
    DatabaseUnavailableError,
    DiskFullError,
    TextInvalidError,
    is_disk_full,
    is_no_text,
    is_unavailable,
    unavailable,
)
from jackfield.db.figures import database_figures
from jackfield.db.models import SEALED, Base, TenantOwned, UtcDateTime
from jackfield.db.notices import Notices, tell
from jackfield.db.room import full_since

__all__ = [
    "DATABASE_FAILURES",
    "SEALED",
    "Base",
    "Database",
    "DatabaseBusyError",
    "DatabaseFullError",
    "DatabaseUnavailableError",
    "DiskFullError",
    "Notices",
    "TenantOwned",
    "TextInvalidError",
    "UtcDateTime",
    "database_figures",
    "full_since",
    "is_disk_full",
    "is_no_text",
    "is_unavailable",
    "tell",
    "unavailable",
]
