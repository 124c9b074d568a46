"""durable writes

Revision ID: a1c0de000019
Revises: a1c0de000018
"""

from __future__ import annotations

revision = "a1c0de000019"
down_revision = "a1c0de000018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
