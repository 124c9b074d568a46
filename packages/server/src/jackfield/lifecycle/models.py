"""Tables: installations, and the journal of what is being done to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["ExportRow", "InstallationRow", "LockRow", "OperationRow", "PastRelease", "StepRow"]


class InstallationRow(TenantOwned, Base):
    """One plugin in one tenant.

    Attributes:
        instance: Tells several installations of one plugin apart; `default` unless the tenant names one.
        state: A value of `states.State`; only `states.move` says what comes next.
        reason_code: Why it is in that state when nobody asked for it; None otherwise. One that is activated out
            of quarantine keeps it until it is active.
        grants: Sorted permissions that the tenant gave.
        grant_filters: Grant → the rows that the tenant narrowed it to.
        pending_update: An update that waits for consent: see `pending.Pending`.
        config: As given by the tenant, without secrets and without defaults.
        revision: Grows with each change of configuration or grants, and never repeats, so that no isolate that was
            loaded with other values is ever taken for a current one.
    """

    __tablename__ = "jf_installations"
    __table_args__ = (UniqueConstraint("tenant_id", "slug", "instance"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slug: Mapped[str] = mapped_column(String(64))
    instance: Mapped[str] = mapped_column(String(40))
    version: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(24))
    reason_code: Mapped[str | None] = mapped_column(String(64))
    reason_message: Mapped[str | None] = mapped_column(Text)
    grants: Mapped[list[str]]
    grant_filters: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    pending_update: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    config: Mapped[dict[str, Any]]
    revision: Mapped[int] = mapped_column(Integer, default=1)
    installed_by: Mapped[str | None] = mapped_column(String(200))
    installed_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]


class OperationRow(TenantOwned, Base):
    """One operation on installations; `steps.KINDS` has all kinds.

    Attributes:
        state: `running`; `undoing`; then `done`, `failed` (undone, nothing is left of it) or `stuck` (undoing failed
            too).
        data: All that is needed to go on or to undo it after a crash. Never a secret in plain text.
        owner: The node at work.
        lease_until: Until then no other node may take it over.
    """

    __tablename__ = "jf_lifecycle_operations"
    __table_args__ = (Index("ix_jf_lifecycle_operations_state", "state"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(24))
    slug: Mapped[str] = mapped_column(String(64))
    instance: Mapped[str] = mapped_column(String(40))
    installation_id: Mapped[str | None] = mapped_column(String(64), index=True)
    state: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    actor_id: Mapped[str | None] = mapped_column(String(64))
    actor_role: Mapped[str | None] = mapped_column(String(24))
    actor_subject: Mapped[str | None] = mapped_column(String(200))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(64))
    lease_until: Mapped[datetime]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class StepRow(TenantOwned, Base):
    """One step of an operation.

    Attributes:
        state: `started`; `done`, `failed`; `undone`.
        result: Plain data that later steps or the undoing need.
    """

    __tablename__ = "jf_lifecycle_steps"
    __table_args__ = (UniqueConstraint("operation_id", "name"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    operation_id: Mapped[str] = mapped_column(String(64), ForeignKey("jf_lifecycle_operations.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16))
    result: Mapped[dict[str, Any]]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    undone_at: Mapped[datetime | None]


class LockRow(TenantOwned, Base):
    """A plugin of a tenant that an open operation holds; the primary key lets one operation have it at a time."""

    __tablename__ = "jf_lifecycle_locks"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), primary_key=True)
    operation_id: Mapped[str] = mapped_column(String(64), ForeignKey("jf_lifecycle_operations.id", ondelete="CASCADE"))


class ExportRow(TenantOwned, Base):
    """A file with the data of an uninstalled plugin; `path` is relative to the data directory."""

    __tablename__ = "jf_lifecycle_exports"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slug: Mapped[str] = mapped_column(String(64))
    instance: Mapped[str] = mapped_column(String(40))
    installation_id: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(300))
    size_bytes: Mapped[int] = mapped_column(Integer)
    lines: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]


class PastRelease(TenantOwned, Base):
    """A release that an installation had, and what it takes to go back to it.

    Attributes:
        next_version: What came after it, by `ended_by` (`update` or `rollback`).
        note: What became of the data, in a sentence.
        held: Configuration, grants and what belongs to them, as they were; empty when there is no way back any more.
        migrations: Names of those that led to the next one.
        copy_id: In place of the installation's id in the tables of secrets, storage and rows, for what was kept of
            them. None when there is no way back any more.
        has_data: Rows and storage were kept as well; otherwise the update did not touch them.
        rows, storage_keys, size_bytes: What was kept.
    """

    __tablename__ = "jf_lifecycle_releases"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    installation_id: Mapped[str] = mapped_column(String(64), index=True)
    slug: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    next_version: Mapped[str] = mapped_column(String(64))
    ended_by: Mapped[str] = mapped_column(String(16))
    ended_at: Mapped[datetime]
    actor: Mapped[str | None] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(Text)
    held: Mapped[dict[str, Any]]
    migrations: Mapped[list[str]]
    copy_id: Mapped[str | None] = mapped_column(String(64))
    has_data: Mapped[bool]
    rows: Mapped[int] = mapped_column(BigInteger)
    storage_keys: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
