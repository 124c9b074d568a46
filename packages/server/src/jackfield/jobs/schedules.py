"""Schedules: when each is due, and who fires it. A firing is a delivery, with all that deliveries have: a lease,
retries, a log, replay.

A time fires once, on whatever node: the row of the schedule says for which time it fires next, and it moves on in the
transaction that makes the delivery, whose event is named after the time. The clock may jump. Forward, what was missed
is caught up once or skipped, as the release says; back, no time fires again that has fired.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import structlog
from sqlalchemy import delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from jackfield import ids
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.jobs import outbox, repository
from jackfield.jobs.cron import Cron, jitter
from jackfield.jobs.errors import ScheduleMissingError, SchedulePausedError
from jackfield.jobs.models import Delivery, OutboxEvent, ScheduleRow
from jackfield.jobs.transactions import Transactions

__all__ = [
    "EVENT_PREFIX",
    "Declared",
    "Firing",
    "Schedules",
    "purge_schedules",
    "rest_schedules",
    "schedule_inventory",
    "sync_schedules",
]

_log = structlog.stdlib.get_logger(__name__)

Told = Callable[[Session | AsyncSession, str, str, Mapping[str, Any]], None]
"""Session, tenant, installation, and plain data: `name`, `change` (`fired`, `skipped`, `paused`, `resumed`), `next_at`,
`skipped` so far."""
EVENT_PREFIX = "schedule:"
"""Deliveries of schedules are of the event `schedule:NAME`; no event of a host or plugin has such a name."""
MAX_ATTEMPTS = 3
_BATCH = 200
_POLL_S = 15.0
_LATE = timedelta(seconds=90)
"""A firing that is later than this has been missed: nodes were away, or the clock has jumped."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule as a release declares it."""

    name: str
    handler: str
    cron: str
    timezone: str = "UTC"
    jitter_s: int = 0
    catch_up: Literal["once", "skip"] = "skip"


class Firing(msgspec.Struct, frozen=True):
    """Payload of a firing's event.

    Attributes:
        due_at: The time by the expression, ISO 8601 in UTC.
        missed: Times before it that were missed and are caught up with this one.
        is_manual: Somebody asked for it.
    """

    name: str
    due_at: str
    missed: int = 0
    is_manual: bool = False


async def sync_schedules(
    session: AsyncSession, tenant_id: str, installation_id: str, declared: Sequence[Declared], now: datetime
) -> None:
    """Have an installation's schedules be those of its release, in the transaction that puts it to work.

    One that somebody has paused stays paused; times that passed while the plugin was not at work are not caught up.
    """
    rows = {
        row.name: row
        for row in await session.scalars(select(ScheduleRow).where(ScheduleRow.installation_id == installation_id))
    }
    for name in rows.keys() - {schedule.name for schedule in declared}:
        await session.delete(rows[name])
    for schedule in declared:
        row = rows.get(schedule.name)
        if row is None:
            row = ScheduleRow(
                installation_id=installation_id, name=schedule.name, tenant_id=tenant_id, paused_at=None,
                paused_by=None, next_at=None, due_at=None, fired_for=None, last_fired_at=None, skipped=0,
                is_active=False, cron="", timezone="", jitter_s=0, catch_up="skip", handler="",
            )  # fmt: skip
            session.add(row)
        is_other = (row.cron, row.timezone, row.jitter_s) != (schedule.cron, schedule.timezone, schedule.jitter_s)
        row.cron, row.timezone, row.jitter_s = schedule.cron, schedule.timezone, schedule.jitter_s
        row.catch_up, row.handler = schedule.catch_up, schedule.handler
        if is_other or not row.is_active:
            row.is_active = True
            _plan(row, now)
    await session.flush()
    if declared:
        outbox.wake_after_commit(session)


async def rest_schedules(session: AsyncSession, installation_id: str) -> None:
    """The plugin is not at work any more: nothing fires."""
    await session.execute(
        update(ScheduleRow)
        .where(ScheduleRow.installation_id == installation_id)
        .values(is_active=False, next_at=None, due_at=None)
        .execution_options(synchronize_session=False)
    )


async def schedule_inventory(session: AsyncSession, installation_id: str) -> int:
    """How many schedules an installation has."""
    query = select(func.count()).select_from(ScheduleRow).where(ScheduleRow.installation_id == installation_id)
    return await session.scalar(query) or 0


async def purge_schedules(session: AsyncSession, installation_id: str) -> None:
    """Remove an installation's schedules."""
    await session.execute(
        delete(ScheduleRow)
        .where(ScheduleRow.installation_id == installation_id)
        .execution_options(synchronize_session=False)
    )


class Schedules:
    """Fires what is due, and what tenants do with their schedules.

    Args:
        told: Is told of each change, in the transaction that makes it.
    """

    def __init__(self, database: Database, clock: Clock | None = None, told: Told | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._told = told or _nobody
        self._transactions = Transactions(database)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- firing --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fire until cancelled. Any number of nodes may run this on one database."""
        self._loop = asyncio.get_running_loop()
        forget = outbox.on_commit(self._rouse)
        try:
            while True:
                self._wake.clear()
                while await self.fire_due():
                    pass
                rest_s = await self._rest_s()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest_s):
                        await self._wake.wait()
        finally:
            forget()
            self._loop = None

    def close(self) -> None:
        """Give back what it holds."""
        self._transactions.close()

    async def fire_due(self) -> bool:
        """Make deliveries of what is due now; whether there may be more."""
        now = self._clock.now()
        if not await self._transactions.read(lambda session: _has_due(session, now)):
            return False
        return await self._transactions.write(lambda session: _fire(session, now, self._told))

    async def _rest_s(self) -> float:
        due = await self._transactions.read(_next_due)
        if due is None:
            return _POLL_S
        return min(_POLL_S, max(0.001, (due - self._clock.now()).total_seconds()))

    def _rouse(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed a moment ago: nobody is left to wake
                loop.call_soon_threadsafe(self._wake.set)

    # -- what tenants do -----------------------------------------------------------------------------------------------

    async def list(self, tenant_id: str, installation_id: str) -> list[ScheduleRow]:
        """An installation's schedules, by name."""
        query = select(ScheduleRow).where(ScheduleRow.installation_id == installation_id).order_by(ScheduleRow.name)
        async with self._database.read(tenant_id) as session:
            return list(await session.scalars(query))

    async def pause(self, tenant_id: str, installation_id: str, name: str, by: str) -> ScheduleRow:
        """Fire no more until it is resumed. Doing it again changes nothing.

        Raises:
            ScheduleMissingError: There is none of this name.
        """
        async with self._database.write(tenant_id) as session:
            row = await _one(session, installation_id, name)
            if row.paused_at is None:
                row.paused_at, row.paused_by = self._clock.now(), by
                row.next_at = row.due_at = None
                _tell(self._told, session, row, "paused")
        return row

    async def resume(self, tenant_id: str, installation_id: str, name: str) -> ScheduleRow:
        """Fire again, from the next time on.

        Raises:
            ScheduleMissingError: There is none of this name.
        """
        async with self._database.write(tenant_id) as session:
            row = await _one(session, installation_id, name)
            if row.paused_at is not None:
                row.paused_at = row.paused_by = None
                if row.is_active:
                    _plan(row, self._clock.now())
                _tell(self._told, session, row, "resumed")
                outbox.wake_after_commit(session)
        return row

    async def run_now(self, tenant_id: str, installation_id: str, name: str, *, cause: str | None = None) -> str:
        """Fire once, beside its times, also while it is paused; the delivery's id.

        Args:
            cause: As `outbox.add` takes it.

        Raises:
            ScheduleMissingError: There is none of this name.
            SchedulePausedError: Its plugin is not at work.
        """
        now = self._clock.now()
        async with self._database.write(tenant_id) as session:
            row = await _one(session, installation_id, name)
            if not row.is_active:
                raise SchedulePausedError(f"the plugin of `{name}` is not at work")
            firing = Firing(name, now.isoformat(), is_manual=True)
            made = await session.run_sync(lambda sync: _deliver(sync, row, firing, ids.new_id("evt"), now, cause))
            _tell(self._told, session, row, "fired", due_at=now.isoformat(), is_manual=True)
            outbox.wake_after_commit(session)
        return made

    async def coming(self, row: ScheduleRow, count: int = 5) -> list[datetime]:
        """The next times by the expression."""
        cron, moment, found = Cron(row.cron, row.timezone), self._clock.now(), list[datetime]()
        for _ in range(count):
            moment = cron.after(moment)
            found.append(moment)
        return found


async def _one(session: AsyncSession, installation_id: str, name: str) -> ScheduleRow:
    row = await session.scalar(
        select(ScheduleRow)
        .where(ScheduleRow.installation_id == installation_id, ScheduleRow.name == name)
        .with_for_update()
    )
    if row is None:
        raise ScheduleMissingError(f"there is no schedule `{name[:64]}`", name=name[:64])
    return row


def _has_due(session: Session, now: datetime) -> bool:
    return bool(session.scalar(select(exists().where(ScheduleRow.next_at <= now))))


def _next_due(session: Session) -> datetime | None:
    return session.scalar(select(func.min(ScheduleRow.next_at)))


def _nobody(*_told: Any) -> None:
    return None


def _tell(told: Told, session: Session | AsyncSession, row: ScheduleRow, change: str, **more: Any) -> None:
    next_at = None if row.next_at is None else row.next_at.isoformat()
    data = {"name": row.name, "change": change, "next_at": next_at, "skipped": row.skipped, **more}
    told(session, row.tenant_id, row.installation_id, data)


def _fire(session: Session, now: datetime, told: Told) -> bool:
    """One batch, in the caller's transaction; whether it was full."""
    repository.lock(session)
    due = select(ScheduleRow).where(ScheduleRow.next_at <= now).order_by(ScheduleRow.next_at).limit(_BATCH)
    rows = session.scalars(due.with_for_update(skip_locked=True)).all()
    fired = False
    for row in rows:
        fired |= _fire_one(session, row, now, told)
    if fired:
        outbox.wake_after_commit(session)
    return len(rows) == _BATCH


def _fire_one(session: Session, row: ScheduleRow, now: datetime, told: Told) -> bool:
    due = row.due_at or now
    cron = Cron(row.cron, row.timezone)
    latest, later = cron.last_before(now - jitter(row.installation_id, row.name, row.jitter_s), due)
    missed = 0
    is_late = now - (row.next_at or now) > _LATE
    if latest is not None or is_late:
        # Nobody was there when it was due, for longer than its next time or for minutes.
        missed = later if row.catch_up == "once" else later + 1
        if row.catch_up == "once":
            due = latest or due
        elif latest is not None and now - latest <= _LATE:
            row.skipped += later
            due = latest
        else:
            row.skipped += missed
            _log.info(
                "schedule-missed", tenant_id=row.tenant_id, installation_id=row.installation_id, schedule=row.name,
                times=missed,
            )  # fmt: skip
            _plan(row, now)
            _tell(told, session, row, "skipped")
            return False
    fires = not _is_open(session, row)
    if fires:
        firing = Firing(row.name, due.isoformat(), missed if row.catch_up == "once" else 0)
        fires = _deliver(session, row, firing, _event_id(row, due), now) != ""
    if fires:
        row.last_fired_at = now
    else:
        row.skipped += 1
    row.fired_for = max(due, row.fired_for or due)
    _plan(row, now)
    _tell(told, session, row, "fired" if fires else "skipped", due_at=due.isoformat())
    return fires


def _plan(row: ScheduleRow, now: datetime) -> None:
    """Its next time: after now, and after whatever it has fired for."""
    if row.paused_at is not None:
        row.next_at = row.due_at = None
        return
    base = max(now, row.fired_for) if row.fired_for is not None else now
    due = Cron(row.cron, row.timezone).after(base)
    row.due_at = due
    row.next_at = due + jitter(row.installation_id, row.name, row.jitter_s)


def _event_id(row: ScheduleRow, due: datetime) -> str:
    """The same for the same time: the database takes no second event of this id."""
    text = f"{row.installation_id}\0{row.name}\0{due.astimezone(UTC).isoformat()}"
    return f"evt_{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def _is_open(session: Session, row: ScheduleRow) -> bool:
    """Whether an earlier firing has not ended: two runs of one schedule never meet."""
    return bool(
        session.scalar(
            select(
                exists().where(
                    Delivery.installation_id == row.installation_id,
                    Delivery.event == EVENT_PREFIX + row.name,
                    or_(Delivery.place == "ready", Delivery.place == "waiting", Delivery.place == "running"),
                )
            )
        )
    )


def _deliver(
    session: Session, row: ScheduleRow, firing: Firing, event_id: str, now: datetime, cause: str | None = None
) -> str:
    """Make the event and its one delivery; the delivery's id, empty when this time has fired before."""
    if session.scalar(select(exists().where(OutboxEvent.id == event_id))):
        return ""
    name = EVENT_PREFIX + row.name
    session.execute(
        insert(OutboxEvent).values(
            id=event_id, tenant_id=row.tenant_id, name=name, payload=msgspec.json.encode(firing).decode(),
            source="schedule", cause=cause, created_at=now, fanned_out_at=now,
        )
    )  # fmt: skip
    delivery_id = ids.new_id("dlv")
    session.execute(
        insert(Delivery).values(
            id=delivery_id, event_id=event_id, event=name, tenant_id=row.tenant_id,
            installation_id=row.installation_id, handler=row.handler, ordered=False, state="pending", place="ready",
            attempt=0, failures=0, interruptions=0, max_attempts=MAX_ATTEMPTS, created_at=now,
        )
    )  # fmt: skip
    return delivery_id
