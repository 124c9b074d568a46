"""Looks through a trail from its first entry to its end, and says where it was tampered with first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.records.models import AuditCheckpoint, AuditEntry, AuditHead
from jackfield.records.trail.chain import ADOPTED, FIELDS, AuditKeys, Head, digest

__all__ = ["Fault", "FaultError", "FaultKind", "Verdict", "Walk", "checkpoints_of", "verify"]

FaultKind = Literal["changed", "forged", "removed", "reordered", "replaced", "truncated", "checkpoint"]
_PAGE: Final = 200
_TURN: Final = 50
"""Entries that are looked at before calls have their turn."""
_NEARBY: Final = 1_000
"""How far an entry is looked for that stands in the place of another."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong.

    Attributes:
        kind: `changed`: it does not say what it said. `forged`: it was written by somebody who has no key. `removed`:
            entries are missing before it. `reordered`: it belongs in another place. `replaced`: it is genuine, and so
            was another one in its place. `truncated`: the end is missing. `checkpoint`: what stands for entries that
            were dropped is not ours.
        seq: The number of the entry, or of the first one that is missing.
    """

    kind: FaultKind
    seq: int
    says: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trail is found to be.

    Attributes:
        entries: How many are there and are in order.
        first: Number of the first entry that is there.
        removed: How many were dropped because they were old, as a sealed checkpoint says.
        adopted: Up to which entry the trail is older than the chain: that they are as they were when the chain began is
            all that is known of them.
        anchor: Number of the farthest end known from elsewhere that was found in its place; 0 without one.
        head: The signed end; None when something is wrong, or nothing is there.
    """

    tenant_id: str
    entries: int
    first: int
    removed: int
    adopted: int
    anchor: int
    head: Head | None
    fault: Fault | None

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None


class FaultError(Exception):
    """Ends a walk."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.says)
        self.fault = fault


@dataclass(slots=True)
class Walk:
    """Goes through a trail, entry by entry.

    Attributes:
        anchors: Ends known from elsewhere, number → hash.
        vouched: The same of what was there before the chain.
    """

    keys: AuditKeys
    anchors: dict[int, str]
    vouched: dict[int, str] = field(default_factory=dict[int, str])
    seq: int = 0
    hash: str = ""
    first: int = 1
    entries: int = 0
    removed: int = 0
    adopted: int = 0
    anchor: int = 0

    def begin(self, checkpoints: Sequence[AuditCheckpoint]) -> None:
        """Go on from what was dropped, if anything was.

        Raises:
            FaultError: A checkpoint is not ours.
        """
        for row in checkpoints:
            if not self.keys.has_sealed_checkpoint(row):
                says = "What should stand for entries that were dropped has a seal that is not ours."
                raise FaultError(Fault("checkpoint", row.seq, says))
            if row.kind == "adopt":
                self.adopted = max(self.adopted, row.seq)
                self.vouched[row.seq] = row.hash
            elif row.seq > self.seq:
                self.seq, self.hash, self.removed = row.seq, row.hash, row.removed
                self.first = row.seq + 1
                self._compare(row.seq, row.hash)

    def step(self, entry: AuditEntry) -> None:
        """Look at the next entry.

        Raises:
            FaultError: It is not what should be there.
        """
        if entry.seq != self.seq + 1:
            says = f"{entry.seq - self.seq - 1} entries are missing before {entry.seq}."
            raise FaultError(Fault("removed", self.seq + 1, says))
        if digest(_values(entry)) != entry.hash:
            raise FaultError(self._altered(entry))
        if entry.key_id == ADOPTED:
            if entry.seq > self.adopted:
                says = "It says that it is older than the chain, and no checkpoint of ours says so."
                raise FaultError(Fault("forged", entry.seq, says))
            if self.vouched.get(entry.seq, entry.hash) != entry.hash:
                says = "It, or one before it, is not as it was when the chain began."
                raise FaultError(Fault("changed", entry.seq, says))
        elif not self.keys.has_sealed(entry.key_id, entry.hash, entry.seal):
            unknown = "" if entry.key_id in self.keys else f"; its key {entry.key_id[:64]} is not known here"
            says = f"It has no seal of ours: it was put there or written anew by somebody without the key{unknown}."
            raise FaultError(Fault("forged", entry.seq, says))
        if entry.previous != self.hash:
            says = "It is genuine, and when it was written another entry stood before it."
            raise FaultError(Fault("replaced", entry.seq, says))
        self.seq, self.hash, self.entries = entry.seq, entry.hash, self.entries + 1
        self._compare(entry.seq, entry.hash)

    def end(self, head: AuditHead | None) -> None:
        """Look at what is known of the end.

        Raises:
            FaultError: It is not where the walk has ended.
        """
        farthest = max([head.seq if head else 0, *self.anchors])
        if farthest > self.seq:
            says = f"Entries up to {farthest} were written, and none is there after {self.seq}."
            raise FaultError(Fault("truncated", self.seq + 1, says))
        if head is None and self.seq:
            raise FaultError(Fault("truncated", self.seq + 1, "The end of the chain is not recorded any more."))
        if head is not None and (head.seq, head.hash) != (self.seq, self.hash):
            says = f"The recorded end is {head.seq}, and there are entries up to {self.seq}."
            raise FaultError(Fault("forged", head.seq + 1, says))

    def _compare(self, seq: int, hash_: str) -> None:
        known = self.anchors.get(seq)
        if known is None:
            return
        if known != hash_:
            says = "It is genuine, and not the entry that stood here when its end was noted elsewhere."
            raise FaultError(Fault("replaced", seq, says))
        self.anchor = max(self.anchor, seq)

    def _altered(self, entry: AuditEntry) -> Fault:
        values = _values(entry)
        if self.keys.has_sealed(entry.key_id, entry.hash, entry.seal):
            for other in range(max(1, entry.seq - _NEARBY), entry.seq + _NEARBY):
                if digest(values | {"seq": other}) == entry.hash:
                    return Fault("reordered", entry.seq, f"It is the entry {other}, and stands at {entry.seq}.")
        return Fault("changed", entry.seq, "It does not say what it said when it was written.")


async def verify(
    database: Database, tenant_id: str, keys: AuditKeys, anchors: Sequence[Head] = (), now: datetime | None = None
) -> Verdict:
    """Look through one trail, a part at a time.

    Args:
        tenant_id: Or `PLATFORM`.
        anchors: Signed ends from elsewhere. Those of other tenants, and those with signatures of others, do not count.
    """
    ours = set(keys.public_keys)
    known = {
        head.seq: head.hash
        for head in anchors
        if head.tenant_id == tenant_id and head.public_key in ours and head.is_genuine()
    }
    walk = Walk(keys, known)
    fault: Fault | None = None
    try:
        await _walk_through(database, tenant_id, walk)
    except FaultError as error:
        fault = error.fault
    head = keys.sign(tenant_id, walk.seq, walk.hash, now or datetime.now(UTC)) if walk.seq and fault is None else None
    return Verdict(
        tenant_id=tenant_id, entries=walk.entries, first=walk.first, removed=walk.removed, adopted=walk.adopted,
        anchor=walk.anchor, head=head, fault=fault,
    )  # fmt: skip


async def _walk_through(database: Database, tenant_id: str, walk: Walk) -> None:
    async with database.read(tenant_id) as session:
        walk.begin(await checkpoints_of(session, tenant_id))
    expected = 0
    while True:
        async with database.read(tenant_id) as session:
            page = await _page(session, tenant_id, walk.seq)
            # After the entries: it is never older than they are.
            head = await session.get(AuditHead, tenant_id)
            if page and page[0].seq != walk.seq + 1:
                # What is dropped while we look is covered by a checkpoint.
                before = walk.seq
                walk.begin(await checkpoints_of(session, tenant_id))
                if walk.seq != before:
                    continue
        for number, entry in enumerate(page, 1):
            walk.step(entry)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        if page or (head is not None and head.seq > max(walk.seq, expected)):
            # There is more, or there was more by the time that the head was read: once again, and then it is missing.
            expected = head.seq if head is not None and not page else expected
            continue
        walk.end(head)
        return


async def checkpoints_of(session: AsyncSession, tenant_id: str) -> Sequence[AuditCheckpoint]:
    """All of a trail, in order."""
    query = select(AuditCheckpoint).where(AuditCheckpoint.tenant_id == tenant_id).order_by(AuditCheckpoint.seq)
    return (await session.scalars(query)).all()


async def _page(session: AsyncSession, tenant_id: str, after: int) -> Sequence[AuditEntry]:
    query = (
        select(AuditEntry)
        .where(AuditEntry.tenant_id == tenant_id, AuditEntry.seq > after)
        .order_by(AuditEntry.seq)
        .limit(_PAGE)
    )
    return (await session.scalars(query)).all()


def _values(entry: AuditEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in FIELDS}
