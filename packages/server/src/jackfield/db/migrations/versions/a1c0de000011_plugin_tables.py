"""plugin tables

Revision ID: a1c0de000011
Revises: a1c0de000010
"""

from __future__ import annotations

revision = "a1c0de000011"
down_revision = "a1c0de000010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
