"""secret keys

Revision ID: a1c0de000009
Revises: a1c0de000008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jackfield.db import UtcDateTime

revision = "a1c0de000009"
down_revision = "a1c0de000008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Data keys of tenants, what is known of master keys, who set and used secrets, where secrets leaked."""
    op.create_table(
        "jf_master_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_master_keys")),
    )
    op.create_table(
        "jf_data_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("wrapped", sa.String(200), nullable=False),
        sa.Column("master_key_id", sa.String(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jf_data_keys")),
    )
    op.create_index(op.f("ix_jf_data_keys_tenant_id"), "jf_data_keys", ["tenant_id"])
    op.create_index("ix_jf_data_keys_master_key_id", "jf_data_keys", ["master_key_id"])
    op.create_table(
        "jf_secret_leaks",
        sa.Column("installation_id", sa.String(64), nullable=False),
        sa.Column("place", sa.String(16), nullable=False),
        sa.Column("handler", sa.String(300), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("is_masked", sa.Boolean(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("invocation_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("installation_id", "place", "handler", name=op.f("pk_jf_secret_leaks")),
    )
    with op.batch_alter_table("jf_secrets") as batch:
        batch.add_column(sa.Column("set_at", UtcDateTime(), nullable=True))
        batch.add_column(sa.Column("set_by", sa.String(200), nullable=True))
        batch.add_column(sa.Column("last_used_at", UtcDateTime(), nullable=True))
        batch.add_column(sa.Column("last_used_by", sa.String(300), nullable=True))


def downgrade() -> None:
    """Only before the first secret was sealed with a data key: those can be read no more."""
    with op.batch_alter_table("jf_secrets") as batch:
        for name in ("last_used_by", "last_used_at", "set_by", "set_at"):
            batch.drop_column(name)
    op.drop_table("jf_secret_leaks")
    op.drop_table("jf_data_keys")
    op.drop_table("jf_master_keys")
