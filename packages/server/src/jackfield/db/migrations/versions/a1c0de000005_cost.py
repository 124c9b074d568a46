"""Cost.

Revision a1c0de000005, after a1c0de000004; written on 2026-11-25.
"""

from __future__ import annotations

revision = "a1c0de000005"
down_revision = "a1c0de000004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""


def downgrade() -> None:
    """Take back."""
