"""cache and files

The cache is in the nodes' memory and has no table; storage gets expiry and versions.

Revision ID: a1c0de000010
Revises: a1c0de000009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db import UtcDateTime

revision = "a1c0de000010"
down_revision = "a1c0de000009"
branch_labels = None
depends_on = None

_PATH = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")


def upgrade() -> None:
    """Keys that expire, and files in chunks."""
    # Without a batch: to add columns at the end, neither database copies the table.
    op.add_column("jf_storage", sa.Column("version", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("jf_storage", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_jf_storage_expires_at",
        "jf_storage",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_table(
        "jf_files",
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("path", _PATH, nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("content_id", sa.String(64), nullable=False),
        sa.Column("content_type", sa.String(200), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("installation_id", "path", name=op.f("pk_jf_files")),
    )
    op.create_table(
        "jf_file_chunks",
        sa.Column("content_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("content_id", "number", name=op.f("pk_jf_file_chunks")),
    )
    op.create_index("ix_jf_file_chunks_installation", "jf_file_chunks", ["installation_id"])
    op.create_table(
        "jf_file_uploads",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("path", sa.String(256), nullable=False),
        sa.Column("content_type", sa.String(200), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("begun_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_file_uploads")),
    )
    op.create_index("ix_jf_file_uploads_installation", "jf_file_uploads", ["installation_id"])
    op.create_index("ix_jf_file_uploads_begun_at", "jf_file_uploads", ["begun_at"])


def downgrade() -> None:
    """Files, and the expiry of keys, are gone."""
    for table in ("jf_file_uploads", "jf_file_chunks", "jf_files"):
        op.drop_table(table)
    op.drop_index("ix_jf_storage_expires_at", "jf_storage")
    op.drop_column("jf_storage", "expires_at")
    op.drop_column("jf_storage", "version")
