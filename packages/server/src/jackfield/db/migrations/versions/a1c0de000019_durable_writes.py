"""durable writes

Revision ID: a1c0de000019
Revises: a1c0de000018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000019"
down_revision = "a1c0de000018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Deliveries of a tenant in order, whatever they are for; and breakers that outlive their node."""
    op.create_index("ix_jf_deliveries_tenant", "jf_deliveries", ["tenant_id", "sequence"])
    op.create_table(
        "jf_breakers",
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("opened_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("until", UtcDateTime(timezone=True), nullable=False),
        sa.Column("wait_s", sa.Double(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(128), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("changed_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["installation_id"], ["jf_installations.id"],
            name=op.f("fk_jf_breakers_installation_id_jf_installations"), ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("installation_id", "handler", name=op.f("pk_jf_breakers")),
    )  # fmt: skip
    op.create_index(op.f("ix_jf_breakers_tenant_id"), "jf_breakers", ["tenant_id"])
    op.create_index(op.f("ix_jf_breakers_changed_at"), "jf_breakers", ["changed_at"])


def downgrade() -> None:
    """Without. What was settled and not let go yet is let go: its end is written down."""
    op.drop_table("jf_breakers")
    op.drop_index("ix_jf_deliveries_tenant", table_name="jf_deliveries")
    op.execute("UPDATE jf_deliveries SET place = NULL, lease_owner = NULL WHERE place = 'settled'")
