"""connections

Revision ID: a1c0de000008
Revises: a1c0de000007
"""

from __future__ import annotations

revision = "a1c0de000008"
down_revision = "a1c0de000007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
