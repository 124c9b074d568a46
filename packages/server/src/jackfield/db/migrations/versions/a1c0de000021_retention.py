"""For how long tenants have records kept, and when what is old was dropped.

Revision a1c0de000021, after a1c0de000020; written on 2026-11-26.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000021"
down_revision = "a1c0de000020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_retention",
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("set_by", sa.String(200), nullable=False),
        sa.Column("set_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "kind", name=op.f("pk_jf_retention")),
    )
    op.create_table(
        "jf_retention_runs",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("node_id", sa.String(64), nullable=True),
        sa.Column("lease_until", UtcDateTime(timezone=True), nullable=True),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("finished_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(300), nullable=True),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_jf_retention_runs")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("jf_retention_runs")
    op.drop_table("jf_retention")
