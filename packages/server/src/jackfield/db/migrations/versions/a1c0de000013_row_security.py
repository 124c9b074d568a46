"""row security

Revision ID: a1c0de000013
Revises: a1c0de000012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db import row_security

revision = "a1c0de000013"
down_revision = "a1c0de000012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Policies are made after all revisions, for whatever tables of tenants' rows there are: `migrate.upgrade`."""
    op.create_table(
        "jf_package_contents",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("package", sa.LargeBinary(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        sa.Column("image_digest", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_jf_package_contents")),
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        row_security.release(op.get_bind())
    op.drop_table("jf_package_contents")
