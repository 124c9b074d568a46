"""Notifications; what calls between plugins leave; languages of members and tenants.

Revision a1c0de000012, after a1c0de000011; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000012"
down_revision = "a1c0de000011"
branch_labels = None
depends_on = None


def _member(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_member_id_jf_members")
    return sa.ForeignKeyConstraint(["member_id"], ["jf_members.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    """Apply."""
    # Not as a batch: on SQLite that would copy tables, and some are large.
    op.add_column("jf_tenants", sa.Column("timezone", sa.String(64), server_default="UTC", nullable=False))
    op.add_column("jf_tenants", sa.Column("locale", sa.String(35), server_default="en", nullable=False))
    op.add_column("jf_members", sa.Column("locale", sa.String(35), nullable=True))
    op.add_column("jf_outbox", sa.Column("cause", sa.Text(), nullable=True))
    op.add_column("jf_invocations", sa.Column("parent_id", sa.String(64), nullable=True))
    op.add_column("jf_invocations", sa.Column("chain", sa.String(400), nullable=True))
    op.add_column("jf_invocations", sa.Column("metrics", sa.Text(), nullable=True))
    for table in ("jf_handler_costs", "jf_hour_costs"):
        op.add_column(table, sa.Column("called_cpu_us", sa.BigInteger(), server_default="0", nullable=False))
        op.add_column(table, sa.Column("metrics", sa.Text(), server_default="{}", nullable=False))
    op.create_table(
        "jf_notifications",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("plugin", sa.String(128), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("link", sa.String(2000), nullable=True),
        sa.Column("key", sa.String(200), nullable=True),
        sa.Column("more", sa.Integer(), nullable=False),
        sa.Column("in_app", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("read_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        _member("jf_notifications"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_notifications")),
        sa.UniqueConstraint(
            "member_id", "installation_id", "key", name=op.f("uq_jf_notifications_member_id_installation_id_key")
        ),
    )
    op.create_index(op.f("ix_jf_notifications_tenant_id"), "jf_notifications", ["tenant_id"])
    op.create_index("ix_jf_notifications_member", "jf_notifications", ["member_id", "id"])
    op.create_index(
        "ix_jf_notifications_unread",
        "jf_notifications",
        ["member_id"],
        sqlite_where=sa.text("read_at IS NULL"),
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.create_index("ix_jf_notifications_sender", "jf_notifications", ["installation_id", "member_id", "created_at"])
    op.create_index("ix_jf_notifications_created_at", "jf_notifications", ["created_at"])
    op.create_table(
        "jf_notification_deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("notification_id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("lease_owner", sa.String(64), nullable=True),
        sa.Column("lease_until", UtcDateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("finished_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["jf_notifications.id"],
            name=op.f("fk_jf_notification_deliveries_notification_id_jf_notifications"),
            ondelete="CASCADE",
        ),
        _member("jf_notification_deliveries"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_notification_deliveries")),
        sa.UniqueConstraint(
            "notification_id", "channel", name=op.f("uq_jf_notification_deliveries_notification_id_channel")
        ),
    )
    op.create_index(op.f("ix_jf_notification_deliveries_tenant_id"), "jf_notification_deliveries", ["tenant_id"])
    op.create_index("ix_jf_notification_deliveries_due", "jf_notification_deliveries", ["state", "due_at"])
    op.create_index(
        "ix_jf_notification_deliveries_way",
        "jf_notification_deliveries",
        ["member_id", "installation_id", "channel", "created_at"],
    )
    op.create_index("ix_jf_notification_deliveries_finished_at", "jf_notification_deliveries", ["finished_at"])
    op.create_table(
        "jf_notification_preferences",
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("plugin", sa.String(128), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        _member("jf_notification_preferences"),
        sa.PrimaryKeyConstraint("member_id", "plugin", "channel", name=op.f("pk_jf_notification_preferences")),
    )
    op.create_index(op.f("ix_jf_notification_preferences_tenant_id"), "jf_notification_preferences", ["tenant_id"])
    op.create_table(
        "jf_notification_endpoints",
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        _member("jf_notification_endpoints"),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_jf_notification_endpoints")),
    )
    op.create_index(op.f("ix_jf_notification_endpoints_tenant_id"), "jf_notification_endpoints", ["tenant_id"])
    op.create_table(
        "jf_notification_unsubscribes",
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("plugin", sa.String(128), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        _member("jf_notification_unsubscribes"),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_jf_notification_unsubscribes")),
        sa.UniqueConstraint("member_id", "plugin", name=op.f("uq_jf_notification_unsubscribes_member_id_plugin")),
    )
    op.create_index(op.f("ix_jf_notification_unsubscribes_tenant_id"), "jf_notification_unsubscribes", ["tenant_id"])


def downgrade() -> None:
    """Take back."""
    for table in (
        "jf_notification_unsubscribes", "jf_notification_endpoints", "jf_notification_preferences",
        "jf_notification_deliveries", "jf_notifications",
    ):  # fmt: skip
        op.drop_table(table)
    for table in ("jf_hour_costs", "jf_handler_costs"):
        op.drop_column(table, "metrics")
        op.drop_column(table, "called_cpu_us")
    for column in ("metrics", "chain", "parent_id"):
        op.drop_column("jf_invocations", column)
    op.drop_column("jf_outbox", "cause")
    op.drop_column("jf_members", "locale")
    op.drop_column("jf_tenants", "locale")
    op.drop_column("jf_tenants", "timezone")
