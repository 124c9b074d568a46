"""audit chain

Revision ID: a1c0de000017
Revises: a1c0de000016
"""

from __future__ import annotations

revision = "a1c0de000017"
down_revision = "a1c0de000016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
