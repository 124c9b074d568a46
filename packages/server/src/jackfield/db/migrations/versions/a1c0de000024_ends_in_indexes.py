"""Deliveries are written into the indexes of what has ended when they have ended, and not before as well.

Revision a1c0de000024, after a1c0de000023; written on 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "a1c0de000024"
down_revision = "a1c0de000023"
branch_labels = None
depends_on = None

_TABLE = "jf_deliveries"
_KEYS = {"installation": ["installation_id", "sequence"], "tenant": ["tenant_id", "sequence"]}
_NUMBERS = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
_ONCE = "uq_jf_deliveries_event_id_installation_id_handler"


@contextmanager
def _changing() -> Iterator[BatchOperations]:
    """On SQLite the table is made anew; its numbers go on where they were, though the last of them be gone."""
    connection = op.get_bind()
    last = None
    if connection.dialect.name == "sqlite":
        last = connection.scalar(sa.select(_NUMBERS.c.seq).where(_NUMBERS.c.name == _TABLE))
    with op.batch_alter_table(_TABLE, table_kwargs={"sqlite_autoincrement": True}) as batch:
        yield batch
    if last is not None:
        connection.execute(sa.delete(_NUMBERS).where(_NUMBERS.c.name == _TABLE))
        connection.execute(sa.insert(_NUMBERS).values(name=_TABLE, seq=last))


def upgrade() -> None:
    """Apply."""
    ended = sa.text("place IS NULL")
    for name, columns in _KEYS.items():
        op.drop_index(f"ix_jf_deliveries_{name}", table_name=_TABLE)
        op.create_index(f"ix_jf_deliveries_{name}", _TABLE, columns, sqlite_where=ended, postgresql_where=ended)
    with _changing() as batch:
        batch.drop_constraint(op.f(_ONCE), type_="unique")
        batch.drop_constraint(op.f("uq_jf_deliveries_id"), type_="unique")
    op.create_index("ix_jf_deliveries_id", _TABLE, ["id"], sqlite_where=ended, postgresql_where=ended)
    op.create_index("ix_jf_deliveries_event", _TABLE, ["event_id"], postgresql_where=ended)


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_jf_deliveries_event", table_name=_TABLE)
    op.drop_index("ix_jf_deliveries_id", table_name=_TABLE)
    with _changing() as batch:
        batch.create_unique_constraint(op.f("uq_jf_deliveries_id"), ["id"])
        batch.create_unique_constraint(op.f(_ONCE), ["event_id", "installation_id", "handler"])
    for name, columns in _KEYS.items():
        op.drop_index(f"ix_jf_deliveries_{name}", table_name=_TABLE)
        op.create_index(f"ix_jf_deliveries_{name}", _TABLE, columns)
