"""Quotas.

Revision a1c0de000003, after 94bc87522692; written on 2026-11-25.
"""

from __future__ import annotations

revision = "a1c0de000003"
down_revision = "94bc87522692"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""


def downgrade() -> None:
    """Take back."""
