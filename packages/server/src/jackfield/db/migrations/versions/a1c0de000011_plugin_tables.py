"""Plugin tables: index entries, who may write, and the releases that an installation had.

Revision a1c0de000011, after a1c0de000010; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import jackfield.db.models

revision = "a1c0de000011"
down_revision = "a1c0de000010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    by_code_point = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
    op.create_table(
        "jf_table_index",
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("table_name", sa.String(length=64), nullable=False),
        sa.Column("columns", sa.String(length=840), nullable=False),
        sa.Column("key", sa.LargeBinary(length=512), nullable=False),
        sa.Column("row_id", by_code_point, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint(
            "installation_id", "table_name", "columns", "key", "row_id", name=op.f("pk_jf_table_index")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_jf_table_index_row", "jf_table_index", ["installation_id", "row_id"])
    for name in ("layout", "closed_by"):
        op.add_column("jf_storage_usage", sa.Column(name, sa.String(length=64), nullable=True))
    op.create_table(
        "jf_lifecycle_releases",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("next_version", sa.String(length=64), nullable=False),
        sa.Column("ended_by", sa.String(length=16), nullable=False),
        sa.Column("ended_at", jackfield.db.models.UtcDateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("held", sa.JSON(), nullable=False),
        sa.Column("migrations", sa.JSON(), nullable=False),
        sa.Column("copy_id", sa.String(length=64), nullable=True),
        sa.Column("has_data", sa.Boolean(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("storage_keys", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_lifecycle_releases")),
    )
    for name in ("installation_id", "tenant_id"):
        op.create_index(op.f(f"ix_jf_lifecycle_releases_{name}"), "jf_lifecycle_releases", [name])


def downgrade() -> None:
    """Take back."""
    copies = sa.text("SELECT copy_id FROM jf_lifecycle_releases WHERE copy_id IS NOT NULL")
    for table in ("jf_table_rows", "jf_storage", "jf_secrets"):
        op.execute(sa.text(f"DELETE FROM {table} WHERE installation_id IN ({copies.text})"))  # noqa: S608  # names of ours
    op.drop_table("jf_lifecycle_releases")
    for name in ("closed_by", "layout"):
        op.drop_column("jf_storage_usage", name)
    op.drop_table("jf_table_index")
