"""What happened a moment ago, for those who listen.

Revision a1c0de000018, after a1c0de000017; written on 2026-11-26.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000018"
down_revision = "a1c0de000017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_live_events",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("plugin", sa.String(128), nullable=True),
        sa.Column("member_id", sa.String(64), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_jf_live_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jf_live_events_tenant", "jf_live_events", ["tenant_id", "position"])
    op.create_index("ix_jf_live_events_created_at", "jf_live_events", ["created_at"])


def downgrade() -> None:
    """Take it back."""
    op.drop_table("jf_live_events")
