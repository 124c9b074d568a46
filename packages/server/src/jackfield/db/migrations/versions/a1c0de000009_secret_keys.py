"""secret keys

Revision ID: a1c0de000009
Revises: a1c0de000008
"""

from __future__ import annotations

revision = "a1c0de000009"
down_revision = "a1c0de000008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
