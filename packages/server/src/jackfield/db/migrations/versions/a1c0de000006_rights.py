"""Rights.

Revision a1c0de000006, after a1c0de000005; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import jackfield.db.models

revision = "a1c0de000006"
down_revision = "a1c0de000005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jf_installations", sa.Column("grant_filters", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("jf_installations", sa.Column("pending_update", sa.JSON(), nullable=True))
    op.create_table(
        "jf_permission_uses",
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("permission", sa.String(length=200), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", jackfield.db.models.UtcDateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("installation_id", "permission", "user_id", name=op.f("pk_jf_permission_uses")),
    )
    op.create_index("ix_jf_permission_uses_last_used_at", "jf_permission_uses", ["last_used_at"])
    op.create_index(op.f("ix_jf_permission_uses_tenant_id"), "jf_permission_uses", ["tenant_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("jf_permission_uses")
    op.drop_column("jf_installations", "pending_update")
    op.drop_column("jf_installations", "grant_filters")
