"""Tables of what happened. Rows are only ever added, and dropped when they are old."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["AuditEntry", "Counter", "InvocationRow", "LogRow"]

# SQLite numbers rows by itself only when the column's type is exactly INTEGER.
_Serial = BigInteger().with_variant(Integer(), "sqlite")


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


class AuditEntry(TenantOwned, Base):
    """Who did what to what. `tenant_id` is `PLATFORM` for what concerns no single tenant.

    Attributes:
        before, after: What changed, as plain data; secrets are masked.
    """

    __tablename__ = "jf_audit"
    __table_args__ = (Index("ix_jf_audit_tenant", "tenant_id", "id"),)

    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(255))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    ip: Mapped[str | None] = mapped_column(String(64))
