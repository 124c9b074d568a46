"""Schedules.

Revision a1c0de000014, after a1c0de000013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import jackfield.db.models

revision = "a1c0de000014"
down_revision = "a1c0de000013"
branch_labels = None
depends_on = None

_TIMES = ("paused_at", "next_at", "due_at", "fired_for", "last_fired_at")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_schedules",
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("handler", sa.String(length=64), nullable=False),
        sa.Column("cron", sa.String(length=120), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("jitter_s", sa.Integer(), nullable=False),
        sa.Column("catch_up", sa.String(length=8), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("paused_by", sa.String(length=200), nullable=True),
        sa.Column("skipped", sa.Integer(), nullable=False),
        *(sa.Column(name, jackfield.db.models.UtcDateTime(), nullable=True) for name in _TIMES),
        sa.PrimaryKeyConstraint("installation_id", "name", name=op.f("pk_jf_schedules")),
    )
    op.create_index("ix_jf_schedules_next_at", "jf_schedules", ["next_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("jf_schedules")
