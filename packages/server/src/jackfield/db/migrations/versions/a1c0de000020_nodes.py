"""nodes

Revision ID: a1c0de000020
Revises: a1c0de000019
"""

from __future__ import annotations

revision = "a1c0de000020"
down_revision = "a1c0de000019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
