"""cache and files

Revision ID: a1c0de000010
Revises: a1c0de000009
"""

from __future__ import annotations

revision = "a1c0de000010"
down_revision = "a1c0de000009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
