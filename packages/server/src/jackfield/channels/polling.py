"""Fetches updates where nothing can be posted to us. One node at a time for each channel: whoever holds its lease."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from sqlalchemy import or_, select, update

from jackfield.channels import repository
from jackfield.channels.errors import ChannelBrokenError
from jackfield.channels.intake import Intake
from jackfield.channels.lines import Lines
from jackfield.channels.models import ChannelRow
from jackfield.channels.service import Channels
from jackfield.channels.telegram import UpdatesConflictError
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.ids import new_id

__all__ = ["Polling"]

_log = structlog.get_logger("jackfield.channels")
_LEASE = timedelta(seconds=60)
"""Longer than one request for updates may take."""
_ASK_S = 10
"""How long Telegram may think about it; egress gives up when nothing at all comes for longer."""
_LOOK_S = 2.0
_LONGEST_PAUSE_S = 60.0
_MOST = 64
"""Channels that one node fetches for; what is beyond is another node's, or waits."""


class Polling:
    """One per node."""

    def __init__(
        self,
        database: Database,
        channels: Channels,
        intake: Intake,
        lines: Lines,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._channels = channels
        self._intake = intake
        self._lines = lines
        self._clock = clock or SystemClock()
        self._node = new_id("node")
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for channels to fetch for, until cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(_LOOK_S)
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._running.clear()
            await self._release()

    async def _look(self) -> None:
        query = select(ChannelRow).where(
            ChannelRow.kind == "telegram",
            ChannelRow.state == "connected",
            ChannelRow.hook_hash.is_(None),
            or_(ChannelRow.lease_until.is_(None), ChannelRow.lease_until <= self._clock.now()),
        )
        async with self._database.read(None) as session:
            rows = (await session.scalars(query.limit(_MOST))).all()
        for row in rows:
            if row.id not in self._running and len(self._running) < _MOST and await self._lease(row):
                task = asyncio.create_task(self._fetch(row), name=f"fetch {row.id}")
                self._running[row.id] = task
                task.add_done_callback(lambda _task, id=row.id: self._running.pop(id, None))

    async def _fetch(self, row: ChannelRow) -> None:
        """Fetch for one channel until it is changed, or another node has it."""
        pause_s, first = 1.0, True
        while True:
            current = await self._mine(row)
            if current is None:
                return
            row = current
            try:
                line = await self._lines.open(row)
                # At once the first time: it may take long until there is one, and what waits is wanted now.
                found = await self._lines.telegram.updates(line, row.next_update, 0 if first else _ASK_S)
                for each in found:
                    await self._intake.take_update(row, each, is_fetched=True)
                pause_s, first = 1.0, False
                continue
            except ChannelBrokenError as error:
                await self._channels.broken(row, str(error))
                return
            except UpdatesConflictError:
                # A webhook of old may still be set; another program that fetches is not for us to stop.
                await self._unhook(row)
            except JackfieldError as error:
                _log.warning("fetching-failed", channel=row.id, code=error.code, again_in_s=pause_s)
            except Exception:
                _log.exception("fetching-failed", channel=row.id, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _unhook(self, row: ChannelRow) -> None:
        try:
            await self._lines.telegram.tear_down(await self._lines.open(row))
        except JackfieldError as error:
            _log.warning("unhooking-failed", channel=row.id, code=error.code)

    async def _mine(self, row: ChannelRow) -> ChannelRow | None:
        """The channel as it is now; None when it is not this node's any more, or is not to be fetched for."""
        if not await self._lease(row):
            return None
        async with self._database.read(row.tenant_id) as session:
            found = await repository.find(session, row.id)
        is_open = found is not None and found.state == "connected" and found.hook_hash is None
        return found if is_open else None

    async def _lease(self, row: ChannelRow) -> bool:
        now = self._clock.now()
        statement = (
            update(ChannelRow)
            .where(
                ChannelRow.id == row.id,
                or_(
                    ChannelRow.lease_owner == self._node, ChannelRow.lease_until.is_(None),
                    ChannelRow.lease_until <= now,
                ),
            )
            .values(lease_owner=self._node, lease_until=now + _LEASE)
            .returning(ChannelRow.id)
            .execution_options(synchronize_session=False)
        )  # fmt: skip
        async with self._database.write(row.tenant_id) as session:
            return await session.scalar(statement) is not None

    async def _release(self) -> None:
        """Let another node have them at once. Where that fails, the lease ends by itself."""
        statement = (
            update(ChannelRow)
            .where(ChannelRow.lease_owner == self._node)
            .values(lease_owner=None, lease_until=None)
            .execution_options(synchronize_session=False)
        )
        try:
            async with self._database.write(None) as session:
                await session.execute(statement)
        except Exception:
            _log.warning("leases-kept", exc_info=True)
