"""Cost.

Revision a1c0de000005, after a1c0de000004; written on 2026-11-25.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import jackfield.db.models

revision = "a1c0de000005"
down_revision = "a1c0de000004"
branch_labels = None
depends_on = None

_SUMS = (
    "calls", "failures", "wall_us", "maximum_us", "cpu_us", "peak_kb", "host_calls", "queries", "egress_bytes",
    "payload_bytes", "result_bytes", "cold_starts", "secret_leaks",
)  # fmt: skip
_COUNTS = ("payload_bytes", "result_bytes", "queries", "secret_leaks")


def _costs() -> list[sa.Column]:
    return [
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        sa.Column("durations", sa.Text(), nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
    ]


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "jf_handler_costs",
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("handler", sa.String(length=255), nullable=False),
        *_costs(),
        sa.PrimaryKeyConstraint("installation_id", "kind", "name", "handler", name=op.f("pk_jf_handler_costs")),
    )
    op.create_index(op.f("ix_jf_handler_costs_tenant_id"), "jf_handler_costs", ["tenant_id"])
    op.create_table(
        "jf_hour_costs",
        sa.Column("installation_id", sa.String(length=64), nullable=False),
        sa.Column("at", jackfield.db.models.UtcDateTime(timezone=True), nullable=False),
        sa.Column("plugin", sa.String(length=128), nullable=False),
        *_costs(),
        sa.PrimaryKeyConstraint("installation_id", "at", name=op.f("pk_jf_hour_costs")),
    )
    op.create_index("ix_jf_hour_costs_at", "jf_hour_costs", ["at"])
    op.create_index(op.f("ix_jf_hour_costs_tenant_id"), "jf_hour_costs", ["tenant_id"])
    # Not as a batch: on SQLite that would copy the table, which is the largest there is.
    for name in _COUNTS:
        op.add_column("jf_invocations", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    op.add_column("jf_invocations", sa.Column("egress_bytes", sa.BigInteger(), server_default="0", nullable=False))
    for table in ("jf_invocations", "jf_logs"):
        op.add_column(table, sa.Column("trace_id", sa.String(length=32), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("jf_logs", "trace_id")
    for name in ("trace_id", "egress_bytes", *_COUNTS):
        op.drop_column("jf_invocations", name)
    op.drop_table("jf_hour_costs")
    op.drop_table("jf_handler_costs")
