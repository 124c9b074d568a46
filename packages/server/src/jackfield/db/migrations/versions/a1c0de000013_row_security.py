"""row security

Revision ID: a1c0de000013
Revises: a1c0de000012
"""

from __future__ import annotations

revision = "a1c0de000013"
down_revision = "a1c0de000012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
