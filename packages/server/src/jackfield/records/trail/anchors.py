"""Keeps the signed ends of all trails out of reach of who has the database: in a file of the node's, in its log.

A trail alone cannot show that its end was cut off. With an end that was noted elsewhere it can: the entry must still
be there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import and_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock, SystemClock
from jackfield.db import DATABASE_FAILURES, Database
from jackfield.records.errors import AuditHeadInvalidError, AuditKeyMissingError
from jackfield.records.models import AuditCheckpoint, AuditEntry, AuditHead
from jackfield.records.trail.chain import ADOPTED, FIELDS, AuditKeys, Head, digest, parse_head
from jackfield.records.trail.writing import PLATFORM, audit

__all__ = ["Anchors", "sign_end"]

_log = structlog.get_logger("jackfield.audit")
_FILE: Final = "audit-heads"
_ROUND_S: Final = 24 * 3_600.0
_PAGE: Final = 1_000


class Anchors:
    """One per node.

    Args:
        folder: The node's data folder.
    """

    def __init__(self, database: Database, keys: AuditKeys, folder: Path, clock: Clock | None = None) -> None:
        self._database = database
        self._keys = keys
        self._path = folder / _FILE
        self._clock = clock or SystemClock()

    async def adopt(self) -> int:
        """Vouch for entries that were there before the chain; of how many trails. It is told in the platform's."""
        sealed = select(AuditCheckpoint.tenant_id).where(AuditCheckpoint.kind == "adopt")
        query = select(AuditHead).where(AuditHead.adopted > 0, AuditHead.tenant_id.not_in(sealed)).limit(_PAGE)
        adopted = 0
        while True:
            async with self._database.read(None) as session:
                heads = list(await session.scalars(query))
            for head in heads:
                await self._adopt(head.tenant_id, head.adopted)
            adopted += len(heads)
            if len(heads) < _PAGE:
                return adopted

    async def keep(self) -> int:
        """Note the ends of all trails; how many have moved since the last time.

        An end that is behind the one that was noted stays as it was noted, and is told in the log.

        Raises:
            OSError: The file cannot be written.
        """
        await self._keys.refresh()
        known = {head.tenant_id: head for head in await asyncio.to_thread(self.read)}
        moved, after = 0, ""
        while True:
            query = select(AuditHead).where(AuditHead.tenant_id > after).order_by(AuditHead.tenant_id).limit(_PAGE)
            async with self._database.read(None) as session:
                heads = list(await session.scalars(query))
                moving = [row for row in heads if self._has_moved(row, known.get(row.tenant_id))]
                signed = [await sign_end(session, self._keys, row.tenant_id, self._clock.now()) for row in moving]
            for row, head in zip(moving, signed, strict=True):
                if head is None:
                    _log.error("audit-head-not-ours", tenant_id=row.tenant_id, seq=row.seq)
                    continue
                known[row.tenant_id] = head
                _log.info("audit-head", tenant_id=row.tenant_id, seq=head.seq, head=head.token)
                moved += 1
            if len(heads) < _PAGE:
                break
            after = heads[-1].tenant_id
        if moved:
            await asyncio.to_thread(self._write, known)
        return moved

    def read(self) -> list[Head]:
        """The ends that were noted, whoever has signed them. Lines that are none are told in the log."""
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").split()
        except FileNotFoundError:
            return []
        found: list[Head] = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(parse_head(line))
            except AuditHeadInvalidError:
                _log.warning("audit-head-unreadable", line=number)
        return found

    def of(self, tenant_id: str) -> list[Head]:
        """Those of one trail that are signed."""
        return [head for head in self.read() if head.tenant_id == tenant_id and head.is_genuine()]

    async def run(self) -> None:
        """Note them once a day until cancelled."""
        while True:
            try:
                await self.keep()
            except (*DATABASE_FAILURES, AuditKeyMissingError) as error:
                _log.error("audit-heads-not-kept", error=str(error))
            await asyncio.sleep(_ROUND_S)

    def _has_moved(self, row: AuditHead, before: Head | None) -> bool:
        if before is not None and before.seq > row.seq:
            _log.error("audit-trail-cut", tenant_id=row.tenant_id, noted=before.seq, there=row.seq)
        return before is None or before.seq < row.seq

    def _write(self, heads: Mapping[str, Head]) -> None:
        part = self._path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("\n".join(_lines(heads.values())) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)

    async def _adopt(self, tenant_id: str, seq: int) -> None:
        async with self._database.write(None) as session:
            found = await session.scalar(
                select(AuditEntry.hash).where(AuditEntry.tenant_id == tenant_id, AuditEntry.seq == seq)
            )
            now, hash_ = self._clock.now(), found or ""
            seal = self._keys.seal_checkpoint(tenant_id, "adopt", seq, hash_, 0, now)
            dialect: Any = sqlite if self._database.is_sqlite else postgresql
            made = (
                dialect.insert(AuditCheckpoint)
                .values(
                    tenant_id=tenant_id, kind="adopt", seq=seq, hash=hash_, removed=0, at=now,
                    key_id=self._keys.current, seal=seal,
                )
                .on_conflict_do_nothing()
                .returning(AuditCheckpoint.seq)
            )  # fmt: skip
            if await session.scalar(made) is None:
                # Another node that starts as well was quicker.
                return
            told = {"tenant": tenant_id, "through": seq, "hash": hash_}
            audit(session, None, "platform", "audit.adopt", tenant_id if tenant_id != PLATFORM else "platform",
                  after=told)  # fmt: skip
            _log.warning("audit-trail-adopted", tenant_id=tenant_id, entries=seq)


async def sign_end(session: AsyncSession, keys: AuditKeys, tenant_id: str, now: datetime) -> Head | None:
    """The signed end of a chain as it is recorded; None when there is none, or the entry there is not ours.

    Whoever can write the database would have anything signed otherwise.
    """
    query = (
        select(AuditEntry)
        .join(AuditHead, and_(AuditHead.tenant_id == AuditEntry.tenant_id, AuditHead.seq == AuditEntry.seq))
        .where(AuditEntry.tenant_id == tenant_id, AuditHead.hash == AuditEntry.hash)
    )
    entry = await session.scalar(query)
    if entry is None or digest({name: getattr(entry, name) for name in FIELDS}) != entry.hash:
        return None
    if entry.key_id == ADOPTED:
        checkpoint = await session.get(AuditCheckpoint, (tenant_id, "adopt", entry.seq))
        is_ours = checkpoint is not None and checkpoint.hash == entry.hash and keys.has_sealed_checkpoint(checkpoint)
    else:
        is_ours = keys.has_sealed(entry.key_id, entry.hash, entry.seal)
    return keys.sign(tenant_id, entry.seq, entry.hash, now) if is_ours else None


def _lines(heads: Iterable[Head]) -> list[str]:
    return [head.token for head in heads]
