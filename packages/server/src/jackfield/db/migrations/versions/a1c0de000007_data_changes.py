"""data changes

Revision ID: a1c0de000007
Revises: a1c0de000006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import jackfield.db.models

revision = "a1c0de000007"
down_revision = "a1c0de000006"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_jf_data_changes_tenant": ["tenant_id", "id"],
    "ix_jf_data_changes_entity": ["tenant_id", "entity", "key", "id"],
    "ix_jf_data_changes_invocation": ["invocation_id"],
    "ix_jf_data_changes_at": ["at"],
}


def upgrade() -> None:
    """What plugins did to entities."""
    op.create_table(
        "jf_data_changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("slug", sa.String(length=128), nullable=False),
        sa.Column("invocation_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("place", sa.String(length=128), nullable=False),
        sa.Column("entity", sa.String(length=96), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("operation", sa.String(length=16), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("at", jackfield.db.models.UtcDateTime(timezone=True), nullable=False),
        sa.Column("reverts", sa.BigInteger(), nullable=True),
        sa.Column("reverted_by", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_data_changes")),
        sqlite_autoincrement=True,
    )
    for name, columns in _INDEXES.items():
        op.create_index(name, "jf_data_changes", columns)


def downgrade() -> None:
    """Take back."""
    op.drop_table("jf_data_changes")
