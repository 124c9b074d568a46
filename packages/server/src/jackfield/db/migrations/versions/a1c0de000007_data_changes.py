"""data changes

Revision ID: a1c0de000007
Revises: a1c0de000006
"""

from __future__ import annotations

revision = "a1c0de000007"
down_revision = "a1c0de000006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
