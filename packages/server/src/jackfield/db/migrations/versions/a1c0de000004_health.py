"""Health checks, and development releases.

Revision a1c0de000004, after a1c0de000003; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000004"
down_revision = "a1c0de000003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_health_checks",
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("code", sa.String(128)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(timezone=True)),
        sa.Column("checked_at", UtcDateTime(timezone=True)),
        sa.Column("consecutive_failures", sa.Integer(), nullable=False),
        sa.Column("next_check_at", UtcDateTime(timezone=True)),
        sa.Column("lease_until", UtcDateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["installation_id"],
            ["jf_installations.id"],
            name=op.f("fk_jf_health_checks_installation_id_jf_installations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("installation_id", name=op.f("pk_jf_health_checks")),
    )
    op.create_index(op.f("ix_jf_health_checks_next_check_at"), "jf_health_checks", ["next_check_at"])
    op.create_index(op.f("ix_jf_health_checks_tenant_id"), "jf_health_checks", ["tenant_id"])
    op.create_table(
        "jf_development_releases",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("slug", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("uploaded_by", sa.String(200), nullable=False),
        sa.Column("uploaded_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_development_releases")),
        sa.UniqueConstraint("slug", "version", name=op.f("uq_jf_development_releases_slug_version")),
        sa.UniqueConstraint(
            "tenant_id", "slug", "sequence", name=op.f("uq_jf_development_releases_tenant_id_slug_sequence")
        ),
    )
    op.create_index(op.f("ix_jf_development_releases_tenant_id"), "jf_development_releases", ["tenant_id"])
    op.create_index(op.f("ix_jf_development_releases_digest"), "jf_development_releases", ["digest"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("jf_development_releases")
    op.drop_table("jf_health_checks")
