"""Health.

Revision a1c0de000004, after a1c0de000003; written on 2026-11-25.
"""

from __future__ import annotations

revision = "a1c0de000004"
down_revision = "a1c0de000003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""


def downgrade() -> None:
    """Take back."""
