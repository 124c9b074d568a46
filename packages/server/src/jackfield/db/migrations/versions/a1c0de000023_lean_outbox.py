"""On PostgreSQL, when deliveries were made of an event is in an index that costs next to nothing to write.

Revision a1c0de000023, after a1c0de000022; written on 2026-11-26.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a1c0de000023"
down_revision = "a1c0de000022"
branch_labels = None
depends_on = None

_NAME = "ix_jf_outbox_fanned_out_at"


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index(_NAME, table_name="jf_outbox")
        op.create_index(
            _NAME, "jf_outbox", ["fanned_out_at"], postgresql_using="brin", postgresql_with={"autosummarize": "on"}
        )


def downgrade() -> None:
    """Take back."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index(_NAME, table_name="jf_outbox")
        where = sa.text("fanned_out_at IS NOT NULL")
        op.create_index(_NAME, "jf_outbox", ["fanned_out_at"], postgresql_where=where)
