"""live

Revision ID: a1c0de000018
Revises: a1c0de000017
"""

from __future__ import annotations

revision = "a1c0de000018"
down_revision = "a1c0de000017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
