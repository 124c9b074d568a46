"""notifications

Revision ID: a1c0de000012
Revises: a1c0de000011
"""

from __future__ import annotations

revision = "a1c0de000012"
down_revision = "a1c0de000011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
