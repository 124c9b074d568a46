"""rights

Revision ID: a1c0de000006
Revises: a1c0de000005
"""

from __future__ import annotations

revision = "a1c0de000006"
down_revision = "a1c0de000005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
