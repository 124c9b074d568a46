"""Tables of what happened. Rows are only ever added, and dropped when they are old."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import msgspec
from sqlalchemy import DDL, JSON, BigInteger, Dialect, Index, Integer, String, Table, Text, UniqueConstraint, event
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from jackfield.db import Base, TenantOwned
from jackfield.records.guards import GUARDS

__all__ = [
    "AuditCheckpoint",
    "AuditEntry",
    "AuditHead",
    "CostColumns",
    "Counter",
    "HandlerCost",
    "HourCost",
    "InvocationRow",
    "LogRow",
    "PermissionUse",
    "RetentionRow",
    "RetentionRun",
]

# SQLite numbers rows by itself only when the column's type is exactly INTEGER.
_Serial = BigInteger().with_variant(Integer(), "sqlite")


class Counts(TypeDecorator[dict[str, int]]):
    """Numbers by name, as JSON in a text: SQLAlchemy's own type takes ten times as long, and no query looks inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, int] | None, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, int] | None:
        return None if value is None else _counts.decode(value)


_counts = msgspec.json.Decoder(dict[str, int])


class InvocationRow(TenantOwned, Base):
    """One invocation."""

    __tablename__ = "jf_invocations"
    __table_args__ = (
        Index("ix_jf_invocations_installation_started", "installation_id", "started_at", "id"),
        Index("ix_jf_invocations_installation_failure", "installation_id", "is_failure", "started_at", "id"),
        Index("ix_jf_invocations_started_at", "started_at"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    installation_id: Mapped[str] = mapped_column(String(64))
    plugin: Mapped[str] = mapped_column(String(128))
    version: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(255))
    handler: Mapped[str] = mapped_column(String(255))
    caller_id: Mapped[str | None] = mapped_column(String(64))
    caller_role: Mapped[str | None] = mapped_column(String(16))
    started_at: Mapped[datetime]
    duration_us: Mapped[int] = mapped_column(BigInteger)
    cpu_us: Mapped[int] = mapped_column(BigInteger)
    host_calls: Mapped[int]
    memory_kb: Mapped[int]
    status: Mapped[str] = mapped_column(String(32))
    is_failure: Mapped[bool]
    error_code: Mapped[str | None] = mapped_column(String(128))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_trace: Mapped[str | None] = mapped_column(Text)
    delivery_id: Mapped[str | None] = mapped_column(String(64))
    payload_bytes: Mapped[int] = mapped_column(server_default="0")
    result_bytes: Mapped[int] = mapped_column(server_default="0")
    queries: Mapped[int] = mapped_column(server_default="0")
    egress_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    secret_leaks: Mapped[int] = mapped_column(server_default="0")
    trace_id: Mapped[str | None] = mapped_column(String(32))
    parent_id: Mapped[str | None] = mapped_column(String(64))
    chain: Mapped[str | None] = mapped_column(String(400))
    metrics: Mapped[dict[str, int] | None] = mapped_column(Counts)


class LogRow(TenantOwned, Base):
    """One line that a plugin logged."""

    __tablename__ = "jf_logs"
    __table_args__ = (
        Index("ix_jf_logs_installation", "installation_id", "id"),
        Index("ix_jf_logs_logged_at", "logged_at"),
    )

    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    invocation_id: Mapped[str] = mapped_column(String(64))
    installation_id: Mapped[str] = mapped_column(String(64))
    plugin: Mapped[str] = mapped_column(String(128))
    logged_at: Mapped[datetime]
    """When the invocation began."""
    level: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    fields: Mapped[dict[str, Any]]
    trace_id: Mapped[str | None] = mapped_column(String(32))


class PermissionUse(TenantOwned, Base):
    """How often a grant let a capability call through.

    Attributes:
        permission: The grant as it was given; one with a wildcard stands for all that it gives.
        user_id: On whose behalf; empty in the row of all uses together, which outlives those of single users.
    """

    __tablename__ = "jf_permission_uses"
    __table_args__ = (Index("ix_jf_permission_uses_last_used_at", "last_used_at"),)

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    permission: Mapped[str] = mapped_column(String(200), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    uses: Mapped[int] = mapped_column(BigInteger)
    last_used_at: Mapped[datetime]


class Counter(TenantOwned, Base):
    """Totals of one installation. They outlive the rows that they were counted from."""

    __tablename__ = "jf_invocation_counters"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    calls: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(BigInteger)
    total_us: Mapped[int] = mapped_column(BigInteger)
    maximum_us: Mapped[int] = mapped_column(BigInteger)
    cpu_us: Mapped[int] = mapped_column(BigInteger)
    last_run_at: Mapped[datetime]
    last_error_at: Mapped[datetime | None]
    last_error_code: Mapped[str | None] = mapped_column(String(128))
    last_error_message: Mapped[str | None] = mapped_column(Text)


class CostColumns:
    """What calls cost together: `costs.Cost` as columns.

    Attributes:
        durations: Bucket of `histogram` → calls.
        capabilities: Capability → calls.
        called_cpu_us: Processor time of other plugins' functions that were called.
        metrics: What handlers counted of their own, summed.
    """

    calls: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(BigInteger)
    wall_us: Mapped[int] = mapped_column(BigInteger)
    maximum_us: Mapped[int] = mapped_column(BigInteger)
    cpu_us: Mapped[int] = mapped_column(BigInteger)
    peak_kb: Mapped[int] = mapped_column(BigInteger)
    host_calls: Mapped[int] = mapped_column(BigInteger)
    queries: Mapped[int] = mapped_column(BigInteger)
    egress_bytes: Mapped[int] = mapped_column(BigInteger)
    payload_bytes: Mapped[int] = mapped_column(BigInteger)
    result_bytes: Mapped[int] = mapped_column(BigInteger)
    cold_starts: Mapped[int] = mapped_column(BigInteger)
    secret_leaks: Mapped[int] = mapped_column(BigInteger)
    durations: Mapped[dict[str, int]] = mapped_column(Counts)
    capabilities: Mapped[dict[str, int]] = mapped_column(Counts)
    called_cpu_us: Mapped[int] = mapped_column(BigInteger, server_default="0")
    metrics: Mapped[dict[str, int]] = mapped_column(Counts, server_default="{}")


class HandlerCost(TenantOwned, CostColumns, Base):
    """What one handler of an installation has cost since it was installed."""

    __tablename__ = "jf_handler_costs"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    handler: Mapped[str] = mapped_column(String(255), primary_key=True)


class HourCost(TenantOwned, CostColumns, Base):
    """What an installation cost in one hour. Dropped when it is old.

    Attributes:
        at: When the hour began.
    """

    __tablename__ = "jf_hour_costs"
    __table_args__ = (Index("ix_jf_hour_costs_at", "at"),)

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    plugin: Mapped[str] = mapped_column(String(128))


class AuditEntry(TenantOwned, Base):
    """Who did what to what. `tenant_id` is `PLATFORM` for what concerns no single tenant.

    The rows of a tenant are a chain: `seq` counts without a gap, and `hash` is over all that an entry says and the hash
    of the one before (`trail.chain`). The database refuses to change one, and to delete one that no checkpoint covers.

    Attributes:
        actor: `Caller.subject`, or the part of the platform that acted.
        actor_name: What the token of the actor is called.
        on_behalf_of: Who had asked for what the platform or a plugin did.
        plugin: Whose installation, connection or data it was about, or who acted.
        before, after: What changed, as plain data; secrets are masked.
        previous: Hash of the entry before; empty in the first one.
        key_id: Names the key of `seal`, which nobody can make who has the database alone.
    """

    __tablename__ = "jf_audit"
    __table_args__ = (
        UniqueConstraint("tenant_id", "seq"),
        Index("ix_jf_audit_target", "tenant_id", "target", "seq"),
        Index("ix_jf_audit_actor", "tenant_id", "actor", "seq"),
        Index("ix_jf_audit_at", "at"),
    )

    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    actor_name: Mapped[str | None] = mapped_column(String(200))
    token_id: Mapped[str | None] = mapped_column(String(64))
    on_behalf_of: Mapped[str | None] = mapped_column(String(200))
    plugin: Mapped[str | None] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(255))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    ip: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str | None] = mapped_column(String(256))
    trace_id: Mapped[str | None] = mapped_column(String(32))
    node_id: Mapped[str | None] = mapped_column(String(64))
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(64))
    seal: Mapped[str] = mapped_column(String(64))


class AuditHead(TenantOwned, Base):
    """The end of a tenant's chain. Whoever adds an entry holds this row until the entry is there.

    Attributes:
        adopted: Up to which entry the trail is older than the chain; 0 when it is not.
    """

    __tablename__ = "jf_audit_heads"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
    adopted: Mapped[int] = mapped_column(BigInteger, server_default="0")


class AuditCheckpoint(TenantOwned, Base):
    """What stands for entries that are not there to speak for themselves.

    Attributes:
        kind: `prune`: all up to `seq` were old and are gone. `adopt`: all up to `seq` were there before the chain.
        hash: Of the entry `seq`.
        removed: How many entries all checkpoints of the tenant have removed, this one included.
    """

    __tablename__ = "jf_audit_checkpoints"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    hash: Mapped[str] = mapped_column(String(64))
    removed: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(String(64))
    seal: Mapped[str] = mapped_column(String(64))


class RetentionRow(TenantOwned, Base):
    """For how long a tenant wishes to have a kind of record kept.

    Attributes:
        set_by: As in the audit trail.
    """

    __tablename__ = "jf_retention"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    days: Mapped[int]
    set_by: Mapped[str] = mapped_column(String(200))
    set_at: Mapped[datetime]


class RetentionRun(Base):
    """When a kind of record was last gone through, in all tenants, and by whom.

    Attributes:
        lease_until: Until then no other node goes through it; None when it is done.
        removed: Rows that went the last time; `total` since the beginning.
    """

    __tablename__ = "jf_retention_runs"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    node_id: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    removed: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(String(300))


_HEADS = cast(Table, AuditHead.__table__)
# The guards refer to all three, so the last one to be made brings them.
_HEADS.add_is_dependent_on(cast(Table, AuditEntry.__table__))
_HEADS.add_is_dependent_on(cast(Table, AuditCheckpoint.__table__))
for _dialect, _statements in GUARDS.items():
    for _statement in _statements:
        event.listen(_HEADS, "after_create", DDL(_statement).execute_if(dialect=_dialect))
