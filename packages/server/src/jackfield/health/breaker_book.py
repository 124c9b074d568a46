"""Breakers outlive their node and are known to all: each change is written down, and what others wrote is read.

The door itself never waits: it looks into memory, and this follows as soon as a notice is heard. When the time has
come to try a handler with one call, the node that wrote last comes first, and says that it tries; the others would have
done so a moment later. Should two try all the same, the first that works closes it for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock
from jackfield.db import DATABASE_FAILURES, Database, tell
from jackfield.health.breakers import BreakerChange, Breakers
from jackfield.health.models import BreakerRow
from jackfield.jobs import hasten

__all__ = ["BREAKERS", "Announcer", "BreakerBook"]

BREAKERS = "breakers"
"""Topic of the notice that one has opened or closed."""

_log = structlog.get_logger("jackfield.health")

_LOOK_S = 15.0
"""Looked at without a notice."""
_AGAIN_S = 0.5
_SKEW = timedelta(seconds=60)
"""By how much the clocks of nodes may differ, and how long a transaction may take: so far back is looked each time."""
_KEEP_CLOSED = timedelta(minutes=10)
_AT_ONCE = 1_000
_LATER_S = (0.5, 1.5)
"""By how much later others try than the node that wrote: longer than a notice takes, and each another time."""


class Announcer(Protocol):
    """Says what has become of breakers; `announcing.Announcing` in a node."""

    async def announce(self, session: AsyncSession, change: BreakerChange, until: datetime) -> None:
        """In the transaction in which one opened or closed. Of all nodes, the first that writes comes here."""
        ...

    def sent(self) -> None:
        """That transaction is committed."""
        ...


class BreakerBook:
    """Keeps the breakers of this node and those in the database alike."""

    def __init__(
        self,
        database: Database,
        breakers: Breakers,
        clock: Clock,
        announcer: Announcer,
    ) -> None:
        self._database = database
        self._breakers = breakers
        self._clock = clock
        self._announcer = announcer
        self._seen: datetime | None = None
        self._closed: deque[BreakerChange] = deque()
        self._random = random.Random()  # noqa: S311  # spreads work, guards nothing

    async def run(self) -> None:
        """Write and read, for ever."""
        await self._patiently(self.read)
        while True:
            # Alone on its database, a node has nothing to read: it sleeps until there is something to write.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._database.is_sqlite else _LOOK_S):
                    await self._breakers.has_changed.wait()
            await self._patiently(self.write)
            if not self._database.is_sqlite:
                await self._patiently(self.read)

    def hear(self, _subject: str = "") -> None:
        """Another node has written."""
        self._breakers.has_changed.set()

    async def write(self) -> None:
        """Write down what has changed here, and let what waited for a handler that works again go to it."""
        while (changes := self._breakers.take_changes(_AT_ONCE)) != []:
            for number, change in enumerate(changes):
                try:
                    await self._write(change)
                except IntegrityError:
                    continue  # the plugin is gone, and its breakers with it
                except BaseException:
                    self._breakers.put_back(changes[number:])
                    raise
        while self._closed:
            change = self._closed[0]
            try:
                await hasten(
                    self._database, change.tenant_id, change.installation_id, change.handler, self._clock.now()
                )  # fmt: skip
            except BaseException:
                self._breakers.has_changed.set()
                raise
            self._closed.popleft()

    async def read(self) -> None:
        """Take over what others have written since the last look."""
        now = self._clock.now()
        query = select(BreakerRow)
        if self._seen is not None:
            query = query.where(BreakerRow.changed_at >= self._seen - _SKEW)
        async with self._database.read(None) as session:
            rows: Sequence[BreakerRow] = (await session.scalars(query)).all()
        for row in rows:
            left_s = (row.until - now).total_seconds() + self._random.uniform(*_LATER_S)
            self._breakers.adopt(_change(row), left_s, changed_at=row.changed_at)
        self._seen = max([now, *(row.changed_at for row in rows)]) if self._seen is None else max(self._seen, now)

    async def _write(self, change: BreakerChange) -> None:
        if change.is_probe:
            await self._tell_probe(change)
            return
        make = insert_sqlite if self._database.is_sqlite else insert_postgresql
        now = self._clock.now()
        until = now + timedelta(seconds=change.left_s)
        values: dict[str, Any] = {
            "revision": change.revision, "is_open": change.is_open, "opened_at": change.opened_at,
            "until": until, "wait_s": change.wait_s, "failures": change.failures,
            "code": change.code, "message": change.message, "changed_at": now,
        }  # fmt: skip
        # Made, closed, when there is none, and held in any case: what it was, no other node changes meanwhile.
        make_row = make(BreakerRow).values(
            tenant_id=change.tenant_id, installation_id=change.installation_id, handler=change.handler,
            **(values | {"is_open": False}),
        )  # fmt: skip
        held = make_row.on_conflict_do_update(
            index_elements=["installation_id", "handler"], set_={"handler": make_row.excluded.handler}
        ).returning(BreakerRow.is_open, BreakerRow.revision, BreakerRow.opened_at, BreakerRow.changed_at)
        old = delete(BreakerRow).where(
            BreakerRow.installation_id == change.installation_id,
            BreakerRow.is_open.is_(False),
            BreakerRow.changed_at < now - _KEEP_CLOSED,
        )
        async with self._database.write(change.tenant_id) as session:
            was_open, revision, opened_at, changed_at = (await session.execute(held)).one()
            if revision > change.revision:
                return  # a node that has not heard of an update yet must not undo what is known of the new release
            was_open = was_open and revision == change.revision
            at = values["changed_at"] = _later(now, changed_at)
            if was_open:
                values["opened_at"] = opened_at
            put = update(BreakerRow).where(
                BreakerRow.installation_id == change.installation_id, BreakerRow.handler == change.handler
            )
            await session.execute(put.values(**values).execution_options(synchronize_session=False))
            await session.execute(old.execution_options(synchronize_session=False))
            await tell(session, BREAKERS)
            if was_open != change.is_open:
                await self._announcer.announce(session, change, until)
        self._breakers.written(change, at)
        if was_open != change.is_open:
            self._announcer.sent()
            if was_open:
                self._closed.append(change)

    async def _tell_probe(self, change: BreakerChange) -> None:
        """Others leave the handler alone while one call is on its way, unless one of them has closed it meanwhile."""
        now = self._clock.now()
        query = select(BreakerRow).where(
            BreakerRow.installation_id == change.installation_id,
            BreakerRow.handler == change.handler,
            BreakerRow.revision == change.revision,
            BreakerRow.is_open.is_(True),
        )
        async with self._database.write(change.tenant_id) as session:
            row = await session.scalar(query.with_for_update())
            if row is None:
                return
            at = row.changed_at = _later(now, row.changed_at)
            row.until = now + timedelta(seconds=change.left_s)
            await tell(session, BREAKERS)
        self._breakers.written(change, at)

    async def _patiently(self, action: Callable[[], Awaitable[None]]) -> None:
        """A database that is away is waited for: the door goes on with what is in memory."""
        try:
            await action()
        except DATABASE_FAILURES as error:
            _log.warning("breakers not kept", error=type(error).__name__)
            await asyncio.sleep(_AGAIN_S)


def _later(now: datetime, before: datetime) -> datetime:
    """When a row is changed: after the last time, which may be that of a node whose clock is fast."""
    return max(now, before + timedelta(microseconds=1))


def _change(row: BreakerRow) -> BreakerChange:
    return BreakerChange(
        row.tenant_id, row.installation_id, "", row.handler, row.revision, row.is_open, row.opened_at, 0.0, row.wait_s,
        row.failures, row.code, row.message,
    )  # fmt: skip
