"""Quotas.

Revision a1c0de000003, after 94bc87522692; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000003"
down_revision = "94bc87522692"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_quota_windows",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("cpu_us", sa.BigInteger(), nullable=False),
        sa.Column("host_calls", sa.BigInteger(), nullable=False),
        sa.Column("egress_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "installation_id", "minute", name=op.f("pk_jf_quota_windows")),
    )
    op.create_index("ix_jf_quota_windows_minute", "jf_quota_windows", ["minute"], unique=False)
    op.create_table(
        "jf_quota_running",
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("until", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "tenant_id", "installation_id", name=op.f("pk_jf_quota_running")),
    )
    op.create_table(
        "jf_quota_rules",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("value", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_jf_quota_rules")),
    )
    op.create_index("ix_jf_quota_rules_revision", "jf_quota_rules", ["revision"], unique=False)

    # How many rows an installation has was not counted before.
    op.add_column("jf_storage_usage", sa.Column("used_rows", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE jf_storage_usage SET used_rows = (SELECT count(*) FROM jf_table_rows"
        " WHERE jf_table_rows.installation_id = jf_storage_usage.installation_id)"
    )
    with op.batch_alter_table("jf_storage_usage") as batch:
        batch.alter_column("used_rows", server_default=None, existing_type=sa.BigInteger(), existing_nullable=False)
        batch.create_index("ix_jf_storage_usage_tenant_id", ["tenant_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("jf_storage_usage") as batch:
        batch.drop_index("ix_jf_storage_usage_tenant_id")
        batch.drop_column("used_rows")
    op.drop_index("ix_jf_quota_rules_revision", table_name="jf_quota_rules")
    op.drop_table("jf_quota_rules")
    op.drop_table("jf_quota_running")
    op.drop_index("ix_jf_quota_windows_minute", table_name="jf_quota_windows")
    op.drop_table("jf_quota_windows")
