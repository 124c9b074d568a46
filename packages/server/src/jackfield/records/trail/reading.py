"""Reading a trail: a page of it, all of it as a file, and whether it is whole."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

import msgspec
from sqlalchemy import ColumnElement, Text, cast, or_, select

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.records.errors import AuditFilterInvalidError
from jackfield.records.models import AuditCheckpoint, AuditEntry, AuditHead
from jackfield.records.trail.anchors import Anchors, sign_end
from jackfield.records.trail.chain import FIELDS, AuditKeys, Head, read_head, timestamp
from jackfield.records.trail.verifying import Verdict, verify
from jackfield.records.trail.writing import PLATFORM, audit

__all__ = ["AuditFilter", "ExportFormat", "Trail"]

ExportFormat = Literal["ndjson", "csv"]
EXPORT: Final = "jackfield-audit-1"
SIGNED: Final = b"jackfield-audit-export-1"
_COLUMNS: Final = (*FIELDS, "hash", "seal")
_PAGE: Final = 200
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are meant; what is None does not matter.

    Attributes:
        action: Or its beginning, when it ends in a dot: `plugin.` stands for all about plugins.
        since, until: From this moment on, up to before this one.
        text: Somewhere in who, what, on what, or in what changed; upper and lower case are one.
    """

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    plugin: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all entries are meant."""
        return all(getattr(self, field.name) is None for field in fields(self))

    def check(self) -> None:
        """Refuse what holds nothing.

        Raises:
            AuditFilterInvalidError: It ends before it begins.
        """
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise AuditFilterInvalidError("that time range is empty")

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a query."""
        found: list[ColumnElement[bool]] = [
            column == value
            for column, value in (
                (AuditEntry.actor, self.actor), (AuditEntry.target, self.target), (AuditEntry.plugin, self.plugin),
            )
            if value is not None
        ]  # fmt: skip
        if self.action is not None:
            is_group = self.action.endswith(".")
            action = AuditEntry.action
            found.append(action.startswith(self.action, autoescape=True) if is_group else action == self.action)
        if self.since is not None:
            found.append(AuditEntry.at >= self.since)
        if self.until is not None:
            found.append(AuditEntry.at < self.until)
        if self.text is not None:
            texts = (AuditEntry.actor, AuditEntry.action, AuditEntry.target, AuditEntry.actor_name, AuditEntry.plugin)
            # As JSON is stored: what is not ASCII stands there as escapes.
            escaped = json.dumps(self.text)[1:-1]
            found.append(
                or_(
                    *(column.icontains(self.text, autoescape=True) for column in texts),
                    *(
                        cast(column, Text).icontains(escaped, autoescape=True)
                        for column in (AuditEntry.before, AuditEntry.after)
                    ),
                )
            )
        return found

    def told(self) -> dict[str, str]:
        """As plain data."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {
            name: timestamp(value) if isinstance(value, datetime) else value
            for name, value in values
            if value is not None
        }


class Trail:
    """The trails of all tenants, and that of the platform itself (`PLATFORM`).

    Args:
        anchors: None where nothing is noted elsewhere.
    """

    def __init__(
        self,
        database: Database,
        keys: AuditKeys | None = None,
        anchors: Anchors | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.keys = keys or AuditKeys()
        self.anchors = anchors

    async def list(
        self, tenant_id: str | None, page: PageRequest, wanted: AuditFilter | None = None
    ) -> Slice[AuditEntry]:
        """Entries, the latest first; of the platform itself for `tenant_id=None`.

        Raises:
            AuditFilterInvalidError, CursorInvalidError: They cannot be used.
        """
        owner, wanted = tenant_id or PLATFORM, wanted or AuditFilter()
        wanted.check()
        query = (
            select(AuditEntry)
            .where(AuditEntry.tenant_id == owner, *wanted.conditions())
            .order_by(AuditEntry.seq.desc())
            .limit(page.limit + 1)
        )
        if page.cursor:
            query = query.where(AuditEntry.seq < decode_cursor(page.cursor, int)[0])
        async with self._database.read(owner) as session:
            rows = (await session.scalars(query)).all()
        return cut(rows, page.limit, lambda row: (row.seq,))

    async def verify(self, tenant_id: str | None, heads: Sequence[str] = ()) -> Verdict:
        """Look through all of a trail, once at a time: it takes as long as there are entries.

        Args:
            heads: Signed ends that were kept elsewhere, beside those that this node has noted.

        Raises:
            AuditHeadInvalidError: One of them is none.
        """
        owner = tenant_id or PLATFORM
        given = [read_head(token) for token in heads]
        turn = self._turns.setdefault(owner, asyncio.Lock())
        async with turn:
            await self.keys.refresh()
            noted = [] if self.anchors is None else await asyncio.to_thread(self.anchors.of, owner)
            return await verify(self._database, owner, self.keys, [*noted, *given], self._clock.now())

    async def tenants(self) -> Sequence[str]:
        """Whose trails there are, the platform's among them."""
        query = select(AuditHead.tenant_id).order_by(AuditHead.tenant_id)
        noted = [] if self.anchors is None else [head.tenant_id for head in await asyncio.to_thread(self.anchors.read)]
        async with self._database.read(None) as session:
            return sorted({*await session.scalars(query), *noted})

    async def export(
        self, tenant_id: str | None, form: ExportFormat, wanted: AuditFilter, actor: str
    ) -> AsyncGenerator[bytes]:
        """Entries as a file, the oldest first, up to the end of this moment. That it was asked for is an entry too.

        NDJSON begins with a line about the file and ends with one that is signed, so that whoever has it can see that
        it is whole. Nothing is held in memory but a part of it, and no database session while somebody takes it.

        Raises:
            AuditFilterInvalidError: The time range is empty.
        """
        owner = tenant_id or PLATFORM
        wanted.check()
        await self.keys.refresh()
        async with self._database.write(owner) as session:
            audit(session, tenant_id, actor, "audit.export", "audit", after={"format": form, "filter": wanted.told()})
        async with self._database.read(owner) as session:
            head = await session.get_one(AuditHead, owner)
            end = await sign_end(session, self.keys, owner, now := self._clock.now())
            checkpoint = await session.scalar(
                select(AuditCheckpoint)
                .where(AuditCheckpoint.tenant_id == owner, AuditCheckpoint.kind == "prune")
                .order_by(AuditCheckpoint.seq.desc())
                .limit(1)
            )
        pages = self._pages(owner, head.seq if end is None else end.seq, wanted)
        if form == "csv":
            return _csv(pages)
        dropped = None if checkpoint is None else {"seq": checkpoint.seq, "hash": checkpoint.hash}
        about = {
            "format": EXPORT, "tenant_id": owner, "at": timestamp(now), "filter": wanted.told(), "dropped": dropped,
        }  # fmt: skip
        return _ndjson(pages, self.keys, about, end)

    async def _pages(self, owner: str, through: int, wanted: AuditFilter) -> AsyncGenerator[Sequence[AuditEntry]]:
        after = 0
        while True:
            query = (
                select(AuditEntry)
                .where(
                    AuditEntry.tenant_id == owner, AuditEntry.seq > after, AuditEntry.seq <= through,
                    *wanted.conditions(),
                )
                .order_by(AuditEntry.seq)
                .limit(_PAGE)
            )  # fmt: skip
            async with self._database.read(owner) as session:
                rows = (await session.scalars(query)).all()
            if rows:
                yield rows
                after = rows[-1].seq
            if len(rows) < _PAGE:
                return


async def _ndjson(
    pages: AsyncGenerator[Sequence[AuditEntry]],
    keys: AuditKeys,
    about: dict[str, Any],
    end: Head | None,
) -> AsyncGenerator[bytes]:
    """Ends with what is signed: how many lines of entries there are, and the SHA-256 of all lines before.

    When the recorded end of the chain is not ours, nothing is signed: `end` is null.
    """
    summed, entries = hashlib.sha256(), 0
    part = _line(about)
    summed.update(part)
    yield part
    async for rows in pages:
        part = b"".join(_line(_told(row)) for row in rows)
        entries += len(rows)
        summed.update(part)
        yield part
    told: dict[str, Any] = {"entries": entries, "sha256": summed.hexdigest(), "end": None}
    if end is not None:
        signature = keys.sign_bytes(SIGNED, f"{summed.hexdigest()} {entries}".encode())
        told |= {"end": msgspec.to_builtins(end), "signature": signature}
    yield _line(told)


async def _csv(pages: AsyncGenerator[Sequence[AuditEntry]]) -> AsyncGenerator[bytes]:
    yield _row(_COLUMNS)
    async for rows in pages:
        yield b"".join(_row([_cell(_told(row)[name]) for name in _COLUMNS]) for row in rows)


def _told(row: AuditEntry) -> dict[str, Any]:
    return {name: timestamp(row.at) if name == "at" else getattr(row, name) for name in _COLUMNS}


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _cell(value: Any) -> str:
    """A value that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(cells: Sequence[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue().encode()
