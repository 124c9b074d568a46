"""Channels, the plugins on them, and what was said there.

Revision a1c0de000016, after a1c0de000015; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000016"
down_revision = "a1c0de000015"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, UtcDateTime(timezone=True), nullable=nullable)


def _of(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_channels",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(300), nullable=True),
        sa.Column("identity", sa.String(200), nullable=False),
        sa.Column("hook_hash", sa.String(64), nullable=True),
        sa.Column("hook_secret_hash", sa.String(64), nullable=True),
        sa.Column("token_hash", sa.String(64), nullable=True),
        sa.Column("public_key", sa.String(64), nullable=True),
        sa.Column("next_update", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(64), nullable=True),
        _time("lease_until", nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        _time("created_at"),
        sa.Column("created_by", sa.String(200), nullable=False),
        _time("changed_at"),
        _time("checked_at", nullable=True),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_channels")),
        sa.UniqueConstraint("hook_hash", name=op.f("uq_jf_channels_hook_hash")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_jf_channels_tenant_id_name")),
    )
    op.create_index(op.f("ix_jf_channels_tenant_id"), "jf_channels", ["tenant_id"])
    op.create_table(
        "jf_channel_assignments",
        sa.Column("channel_id", sa.String(64), nullable=False),
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        _time("created_at"),
        _time("changed_at"),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        _of("jf_channel_assignments", "channel_id", "jf_channels"),
        _of("jf_channel_assignments", "installation_id", "jf_installations"),
        sa.PrimaryKeyConstraint("channel_id", "installation_id", name=op.f("pk_jf_channel_assignments")),
    )
    op.create_index(op.f("ix_jf_channel_assignments_installation_id"), "jf_channel_assignments", ["installation_id"])
    op.create_index(op.f("ix_jf_channel_assignments_tenant_id"), "jf_channel_assignments", ["tenant_id"])
    op.create_table(
        "jf_channel_messages",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("channel_id", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("chat_id", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        _time("created_at"),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        _of("jf_channel_messages", "channel_id", "jf_channels"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_channel_messages")),
        sa.UniqueConstraint(
            "channel_id", "direction", "key", name=op.f("uq_jf_channel_messages_channel_id_direction_key")
        ),
    )
    op.create_index("ix_jf_channel_messages_chat", "jf_channel_messages", ["channel_id", "chat_id", "sequence"])
    op.create_index("ix_jf_channel_messages_created_at", "jf_channel_messages", ["created_at"])
    op.create_index(op.f("ix_jf_channel_messages_tenant_id"), "jf_channel_messages", ["tenant_id"])


def downgrade() -> None:
    """Take back."""
    for table in ("jf_channel_messages", "jf_channel_assignments", "jf_channels"):
        op.drop_table(table)
