"""Deliveries have fewer index entries to write: those of what is waiting, dead or has ended are for these alone.

Revision a1c0de000022, after a1c0de000021; written on 2026-11-26.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a1c0de000022"
down_revision = "a1c0de000021"
branch_labels = None
depends_on = None

_TABLE = "jf_deliveries"


def _partial(name: str, columns: list[str], where: str, table: str = _TABLE) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    """Apply."""
    for name in ("due", "state", "finished_at"):
        op.drop_index(f"ix_jf_deliveries_{name}", table_name=_TABLE)
    # Only what waits has a time of its next attempt; a firing's row may have kept an old one.
    op.execute(
        "UPDATE jf_deliveries SET next_attempt_at = NULL WHERE next_attempt_at IS NOT NULL AND place <> 'waiting'"
    )
    _partial("ix_jf_deliveries_due", ["next_attempt_at"], "next_attempt_at IS NOT NULL")
    _partial("ix_jf_deliveries_dead", ["installation_id", "sequence"], "state = 'dead'")
    _partial("ix_jf_deliveries_finished_at", ["finished_at"], "finished_at IS NOT NULL")
    op.drop_index("ix_jf_outbox_fanned_out_at", table_name="jf_outbox")
    _partial("ix_jf_outbox_fanned_out_at", ["fanned_out_at"], "fanned_out_at IS NOT NULL", "jf_outbox")


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_jf_outbox_fanned_out_at", table_name="jf_outbox")
    op.create_index("ix_jf_outbox_fanned_out_at", "jf_outbox", ["fanned_out_at"])
    for name in ("due", "dead", "finished_at"):
        op.drop_index(f"ix_jf_deliveries_{name}", table_name=_TABLE)
    _partial("ix_jf_deliveries_due", ["place", "next_attempt_at"], "place IS NOT NULL")
    op.create_index("ix_jf_deliveries_state", _TABLE, ["installation_id", "state", "sequence"])
    op.create_index("ix_jf_deliveries_finished_at", _TABLE, ["finished_at"])
