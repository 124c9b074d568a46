"""Nodes that work on the database.

Revision a1c0de000020, after a1c0de000019; written on 2026-11-26.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000020"
down_revision = "a1c0de000019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_nodes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_nodes")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("jf_nodes")
