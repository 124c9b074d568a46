"""The database: engine, sessions opened for a tenant, the base of all models, migrations.

SQLite (WAL, every commit synced) is the embedded default. One writer at a time is the rule there, so write sessions
queue in this process instead of spinning on the file's lock.
"""

from __future__ import annotations

from jackfield.db.engine import Database
from jackfield.db.models import Base, TenantOwned, UtcDateTime

__all__ = ["Base", "Database", "TenantOwned", "UtcDateTime"]
