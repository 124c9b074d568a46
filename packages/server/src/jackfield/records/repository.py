"""Queries on the tables of records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.records.models import AuditEntry, Counter, InvocationRow, LogRow

__all__ = [
    "audit_before",
    "counter",
    "failures",
    "inventory",
    "invocations_before",
    "logs_before",
    "prune",
    "purge",
]

_PRUNE_BATCH = 2_000


async def counter(session: AsyncSession, installation_id: str) -> Counter | None:
    """Totals of an installation; None when it has never run."""
    return await session.scalar(select(Counter).where(Counter.installation_id == installation_id))


async def failures(session: AsyncSession, installation_id: str, limit: int) -> Sequence[InvocationRow]:
    """The latest failed invocations."""
    query = (
        select(InvocationRow)
        .where(InvocationRow.installation_id == installation_id, InvocationRow.is_failure.is_(True))
        .order_by(InvocationRow.started_at.desc(), InvocationRow.id.desc())
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def invocations_before(
    session: AsyncSession, installation_id: str, before: tuple[datetime, str] | None, limit: int
) -> Sequence[InvocationRow]:
    """Invocations, the latest first."""
    query = (
        select(InvocationRow)
        .where(InvocationRow.installation_id == installation_id)
        .order_by(InvocationRow.started_at.desc(), InvocationRow.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(InvocationRow.started_at, InvocationRow.id) < before)
    return (await session.scalars(query)).all()


async def logs_before(
    session: AsyncSession, installation_id: str, levels: Sequence[str] | None, before: int | None, limit: int
) -> Sequence[LogRow]:
    """Log lines, the latest first."""
    query = select(LogRow).where(LogRow.installation_id == installation_id).order_by(LogRow.id.desc()).limit(limit)
    if levels is not None:
        query = query.where(LogRow.level.in_(levels))
    if before is not None:
        query = query.where(LogRow.id < before)
    return (await session.scalars(query)).all()


async def audit_before(
    session: AsyncSession, tenant_id: str, target: str | None, before: int | None, limit: int
) -> Sequence[AuditEntry]:
    """Audit entries, the latest first."""
    query = select(AuditEntry).where(AuditEntry.tenant_id == tenant_id).order_by(AuditEntry.id.desc()).limit(limit)
    if target is not None:
        query = query.where(AuditEntry.target == target)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    return (await session.scalars(query)).all()


async def inventory(session: AsyncSession, installation_id: str) -> dict[str, int]:
    """How much there is of an installation."""
    counts: dict[str, int] = {}
    for name, model in (("invocations", InvocationRow), ("logs", LogRow)):
        query = select(func.count()).select_from(model).where(model.installation_id == installation_id)
        counts[name] = await session.scalar(query) or 0
    return counts


async def purge(session: AsyncSession, installation_id: str) -> None:
    """Delete all records of an installation, totals too; the audit trail stays.

    Stop its isolates and call `Recorder.flush` before the transaction, or a record on its way arrives after it.
    """
    for model in (InvocationRow, LogRow, Counter):
        await session.execute(delete(model).where(model.installation_id == installation_id))


async def prune(database: Database, before: datetime) -> int:
    """Drop old invocations and log lines, in short transactions.

    Returns:
        How many rows went.
    """
    dropped = 0
    for model, moment in ((InvocationRow, InvocationRow.started_at), (LogRow, LogRow.logged_at)):
        while True:
            old = select(model.id).where(moment < before).limit(_PRUNE_BATCH)
            async with database.write(None) as session:
                gone = (await session.scalars(delete(model).where(model.id.in_(old)).returning(model.id))).all()
            dropped += len(gone)
            if len(gone) < _PRUNE_BATCH:
                break
    return dropped
