"""The audit trail: each change that somebody makes leaves an entry in the same transaction as the change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.records.models import AuditEntry
from jackfield.telemetry import redact

__all__ = ["PLATFORM", "audit"]

PLATFORM = "-"
"""Stands for the tenant in entries about the platform itself. No tenant can have this id."""


def audit(
    session: AsyncSession,
    tenant_id: str | None,
    actor: str,
    action: str,
    target: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    ip: str | None = None,
) -> None:
    """Add an entry to the caller's transaction: it is there exactly when the change is.

    Args:
        actor: `Caller.subject`, or the part of the platform that acted.
        action: `noun.verb`, as `plugin.install`.
        before, after: Plain data. What looks like a secret is masked.
    """
    session.add(
        AuditEntry(
            tenant_id=tenant_id or PLATFORM,
            at=datetime.now(UTC),
            actor=actor,
            action=action,
            target=target,
            before=None if before is None else redact(before),
            after=None if after is None else redact(after),
            ip=ip,
        )
    )
