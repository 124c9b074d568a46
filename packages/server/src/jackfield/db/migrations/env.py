"""Alembic's entry: runs the revisions on the connection that `jackfield.db.migrate` hands over."""

from __future__ import annotations

from alembic import context

from jackfield.db.migrate import VERSION_TABLE, is_ours, load_models
from jackfield.db.models import Base

load_models()

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_name=lambda name, kind, _parents: is_ours(name, kind),
    compare_type=True,
    # SQLite cannot alter most of a table in place: Alembic copies it instead.
    render_as_batch=True,
    # One transaction around all revisions, ours: it is committed when the last of them is through.
    transaction_per_migration=False,
)
context.run_migrations()
