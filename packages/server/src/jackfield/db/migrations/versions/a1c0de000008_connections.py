"""Connections.

Revision a1c0de000008, after a1c0de000007; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import jackfield.db.models

revision = "a1c0de000008"
down_revision = "a1c0de000007"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, jackfield.db.models.UtcDateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_connections",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("adapter", sa.String(length=16), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("credentials", sa.JSON(), nullable=False),
        sa.Column("broken", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        _moment("renewing_until", nullable=True),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        _moment("created_at"),
        _moment("changed_at"),
        _moment("tested_at", nullable=True),
        _moment("connected_at", nullable=True),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_connections")),
        sa.UniqueConstraint("installation_id", "name", name=op.f("uq_jf_connections_installation_id_name")),
    )
    op.create_index(op.f("ix_jf_connections_tenant_id"), "jf_connections", ["tenant_id"])
    op.create_table(
        "jf_connection_authorizations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("connection_id", sa.String(length=64), nullable=False),
        sa.Column("connection_version", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("browser", sa.String(length=64), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.String(length=500), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("confirmation", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("expires_at"),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_connection_authorizations")),
    )
    for column in ("connection_id", "expires_at", "tenant_id"):
        op.create_index(op.f(f"ix_jf_connection_authorizations_{column}"), "jf_connection_authorizations", [column])
    op.create_table(
        "jf_connection_revocations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("credentials", sa.JSON(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("tokens", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("due_at"),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_connection_revocations")),
    )
    for column in ("due_at", "tenant_id"):
        op.create_index(op.f(f"ix_jf_connection_revocations_{column}"), "jf_connection_revocations", [column])


def downgrade() -> None:
    """Take back."""
    op.drop_table("jf_connection_revocations")
    op.drop_table("jf_connection_authorizations")
    op.drop_table("jf_connections")
