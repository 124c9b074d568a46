"""Drops what is old from the beginning of a trail, and leaves a sealed checkpoint in its place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.records.models import AuditCheckpoint, AuditEntry
from jackfield.records.trail.chain import AuditKeys
from jackfield.records.trail.verifying import FaultError, Walk, checkpoints_of
from jackfield.records.trail.writing import audit, lock_head

__all__ = ["PRUNED", "prune_trail"]

_log = structlog.get_logger("jackfield.audit")

PRUNED: Final = "audit.prune"
_BATCH: Final = 500


async def prune_trail(database: Database, keys: AuditKeys, tenant_id: str, before: datetime, now: datetime) -> int:
    """Drop the entries of one trail from before a moment, in short transactions; how many.

    Nothing is dropped when there is nothing but entries about earlier times that this was done, nor where something
    was tampered with: a checkpoint would vouch for it.

    Raises:
        AuditKeyMissingError: There is no key to seal the checkpoint with.
    """
    dropped = 0
    while True:
        try:
            old = await _old(database, keys, tenant_id, before)
        except FaultError as error:
            _log.error("audit-not-pruned", tenant_id=tenant_id, kind=error.fault.kind, seq=error.fault.seq)
            return dropped
        if all(entry.action == PRUNED for entry in old):
            return dropped
        async with database.write(tenant_id) as session:
            await _drop(session, keys, old, now)
        dropped += len(old)
        if len(old) < _BATCH:
            return dropped


async def _old(database: Database, keys: AuditKeys, tenant_id: str, before: datetime) -> list[AuditEntry]:
    """Some entries from the beginning on, all as they should be; the first one that is new ends it. Times of several
    nodes may be out of order by a little."""
    walk = Walk(keys, {})
    query = select(AuditEntry).where(AuditEntry.tenant_id == tenant_id).order_by(AuditEntry.seq).limit(_BATCH)
    async with database.read(tenant_id) as session:
        walk.begin(await checkpoints_of(session, tenant_id))
        entries = (await session.scalars(query)).all()
    old: list[AuditEntry] = []
    for entry in entries:
        if entry.at >= before:
            break
        walk.step(entry)
        old.append(entry)
    return old


async def _drop(session: AsyncSession, keys: AuditKeys, old: Sequence[AuditEntry], now: datetime) -> None:
    tenant_id, seq, hash_ = old[-1].tenant_id, old[-1].seq, old[-1].hash
    connection = await session.connection()
    await connection.run_sync(lock_head, tenant_id)
    summed = select(func.coalesce(func.max(AuditCheckpoint.removed), 0)).where(AuditCheckpoint.tenant_id == tenant_id)
    removed = int(await session.scalar(summed) or 0) + len(old)
    session.add(
        AuditCheckpoint(
            tenant_id=tenant_id, kind="prune", seq=seq, hash=hash_, removed=removed, at=now, key_id=keys.current,
            seal=keys.seal_checkpoint(tenant_id, "prune", seq, hash_, removed, now),
        )
    )  # fmt: skip
    await session.flush()
    mine = AuditEntry.tenant_id == tenant_id
    await session.execute(
        delete(AuditEntry).where(mine, AuditEntry.seq <= seq).execution_options(synchronize_session=False)
    )
    told = {"through": seq, "hash": hash_, "removed": len(old)}
    audit(session, tenant_id, "platform:retention", PRUNED, "audit", after=told)
