"""Alembic's entry: runs the revisions on the connection that `jackfield.db.migrate` hands over."""

from __future__ import annotations

from typing import Literal

from alembic import context
from sqlalchemy.dialects import postgresql

from jackfield.db.migrate import VERSION_TABLE, is_ours, load_models
from jackfield.db.models import Base

load_models()


def render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """How a drafted revision writes a type. Alembic's own text for JSONB names `Text` without importing it."""
    return "postgresql.JSONB()" if kind == "type" and isinstance(item, postgresql.JSONB) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_name=lambda name, kind, _parents: is_ours(name, kind),
    compare_type=True,
    render_item=render_item,
    # SQLite cannot alter most of a table in place: Alembic copies it instead.
    render_as_batch=True,
    # One transaction around all revisions. Alembic takes SQLite for a database that commits each change of the schema
    # by itself; on our connections, which say BEGIN themselves, it does not.
    transaction_per_migration=False,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
