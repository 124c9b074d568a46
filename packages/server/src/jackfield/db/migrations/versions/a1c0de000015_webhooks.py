"""Webhooks: addresses where they come in, what came in, endpoints where they go out, attempts at those.

Revision a1c0de000015, after a1c0de000014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000015"
down_revision = "a1c0de000014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_webhook_addresses",
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("old_hash", sa.String(64), nullable=True),
        sa.Column("old_until", UtcDateTime(timezone=True), nullable=True),
        sa.Column("made_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("received_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("refused_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("refusal", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("installation_id", "name", name=op.f("pk_jf_webhook_addresses")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_jf_webhook_addresses_token_hash")),
        sa.UniqueConstraint("old_hash", name=op.f("uq_jf_webhook_addresses_old_hash")),
    )
    op.create_table(
        "jf_webhook_receipts",
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("delivery_id", sa.String(64), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("installation_id", "name", "key", name=op.f("pk_jf_webhook_receipts")),
    )
    op.create_index("ix_jf_webhook_receipts_expires_at", "jf_webhook_receipts", ["expires_at"])
    op.create_table(
        "jf_webhook_endpoints",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("description", sa.String(500), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("old_secret", sa.Text(), nullable=True),
        sa.Column("old_until", UtcDateTime(timezone=True), nullable=True),
        sa.Column("failing_since", UtcDateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("disabled_because", sa.String(64), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_webhook_endpoints")),
    )
    op.create_index(op.f("ix_jf_webhook_endpoints_tenant_id"), "jf_webhook_endpoints", ["tenant_id"])
    op.create_table(
        "jf_webhook_attempts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("delivery_id", sa.String(64), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(128), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_webhook_attempts")),
    )
    op.create_index("ix_jf_webhook_attempts_endpoint", "jf_webhook_attempts", ["endpoint_id", "id"])
    op.create_index("ix_jf_webhook_attempts_delivery", "jf_webhook_attempts", ["delivery_id", "id"])
    op.create_index("ix_jf_webhook_attempts_at", "jf_webhook_attempts", ["at"])


def downgrade() -> None:
    """Take back."""
    for table in ("jf_webhook_attempts", "jf_webhook_endpoints", "jf_webhook_receipts", "jf_webhook_addresses"):
        op.drop_table(table)
