"""`Health`: asks plugins how they are, takes those from work that only die, and answers for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import structlog

from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.health import repository
from jackfield.health.announcing import Announcing
from jackfield.health.breaker_book import BreakerBook
from jackfield.health.checks import Checks
from jackfield.health.crash_loops import Condemned, Restarting
from jackfield.health.models import HealthCheckRow
from jackfield.health.repository import OpenBreaker
from jackfield.health.watch import Watch
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.lifecycle import ActiveInstallations, Actor, HealthNote, Installed, LeftAlone, Lifecycle, Runner, State
from jackfield.notifications import Notifications
from jackfield.settings import HealthSettings
from jackfield_sdk.wire import Caller

__all__ = ["Crash", "Health", "HealthReport", "Quarantine"]

_log = structlog.get_logger("jackfield.health")

_CRASHES = 10
_CRASHES_WITHIN = timedelta(days=1)
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Crash:
    """A call that took its process with it."""

    at: datetime
    status: str
    kind: str
    name: str
    handler: str
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why the platform took an installation from work."""

    since: datetime
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How an installation is.

    Attributes:
        status: `unchecked`: it is at work and has no check, or could not be asked; `inactive`: it was not asked.
        note: What is kept of its checks.
        breakers: Those that are not closed, as this node knows them: within a second of the others.
        restarting: It rests before another process is started, on this node.
        crashes: Within the last day, the latest first.
    """

    status: Literal["ok", "failing", "unchecked", "inactive", "quarantined"]
    message: str = ""
    code: str | None = None
    duration_ms: float | None = None
    note: HealthNote | None = None
    breakers: tuple[LeftAlone, ...] = ()
    restarting: Restarting | None = None
    crashes: tuple[Crash, ...] = ()
    quarantine: Quarantine | None = None


class Health:
    """How plugins are.

    Args:
        watch: What stands before the door.
        flush_records: `Recorder.flush`.
        is_busy: Whether calls wait for isolates; checks then wait too.
        notifications: How owners and admins hear of breakers.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        watch: Watch,
        lifecycle: Lifecycle,
        active: ActiveInstallations,
        runner: Runner,
        settings: HealthSettings,
        flush_records: Callable[[], Awaitable[None]],
        is_busy: Callable[[], bool],
        notifications: Notifications | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._watch = watch
        self._lifecycle = lifecycle
        self._active = active
        self._flush_records = flush_records
        self.book = BreakerBook(database, watch.breakers, clock, Announcing(notifications))
        self.checks = Checks(database, clock, watch, active, runner, settings, is_busy)

    async def run(self) -> None:
        """Ask, and take from work, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.checks.run())
            group.create_task(self._quarantine_for_ever())
            group.create_task(self.book.run())

    async def notes(self, tenant_id: str, installation_ids: Iterable[str]) -> Mapping[str, HealthNote]:
        """What was last heard of these installations."""
        async with self._database.read(tenant_id) as session:
            rows = await repository.of(session, installation_ids)
        found = {row.installation_id: _note(row) for row in rows}
        return {id: note for id, note in found.items() if note is not None}

    def left_alone(self, installation_id: str, revision: int) -> Sequence[LeftAlone]:
        """Handlers of an installation, as it is now, that are left alone, as this node knows it."""
        return self._watch.breakers.report(installation_id, revision)

    async def every_breaker(
        self, page: PageRequest, *, tenant_id: str | None = None
    ) -> Slice[OpenBreaker]:  # fmt: skip
        """Handlers of all tenants that are left alone, by tenant, or those of one; for operators."""
        after = decode_cursor(page.cursor, str, str, str) if page.cursor else ("", "", "")
        async with self._database.read(None) as session:
            rows = await repository.open_breakers(session, tenant_id, tuple(after), page.limit + 1)
        return cut(rows, page.limit, lambda row: (row.tenant_id, row.installation_id, row.handler))

    async def report(
        self, tenant_id: str, slug: str, *, instance: str = "default", actor: Actor | None = None, check: bool = True
    ) -> HealthReport:
        """How one installation is.

        Args:
            check: Ask it now; otherwise tell what is known.

        Raises:
            NotInstalledError: The tenant does not have it.
        """
        seen = await self._lifecycle.get(tenant_id, slug, instance=instance)
        status, message, code, duration_ms = "inactive", "", None, None
        if seen.state is State.QUARANTINED:
            status = "quarantined"
        elif seen.state is State.ACTIVE:
            status = "unchecked"
            installation = await self._active.by_id(tenant_id, seen.id) if check else None
            answer = None
            if installation is not None:
                answer = await self.checks.ask(installation, Caller(actor.id, actor.role) if actor else None)
            if answer is not None:
                status, message, code, duration_ms = answer.status, answer.message, answer.code, answer.duration_ms
        note = (await self.notes(tenant_id, [seen.id])).get(seen.id)
        if status == "unchecked" and note is not None and seen.manifest.health is not None:
            status, message = _status(note), note.message
        return HealthReport(
            status, message, code, duration_ms, note if seen.manifest.health else None,
            tuple(self.left_alone(seen.id, seen.revision)),
            self._watch.crash_loops.report(seen.id, seen.revision),
            await self._crashes(tenant_id, seen.id), _quarantine(seen),
        )  # fmt: skip

    async def _crashes(self, tenant_id: str, installation_id: str) -> tuple[Crash, ...]:
        await self._flush_records()
        async with self._database.read(tenant_id) as session:
            rows = await repository.deaths(
                session, installation_id, self._clock.now() - _CRASHES_WITHIN, _CRASHES
            )  # fmt: skip
        return tuple(
            Crash(row.started_at, row.status, row.kind, row.name, row.handler, row.error_code, row.error_message)
            for row in rows
        )

    async def _quarantine_for_ever(self) -> None:
        while True:
            await self._watch.has_condemned.wait()
            while (condemned := self._watch.take_condemned()) is not None:
                if not await self._quarantined(condemned):
                    self._watch.put_back(condemned)
                    await asyncio.sleep(_AGAIN_S)

    async def _quarantined(self, condemned: Condemned) -> bool:
        """Whether that is settled; when something else is being done to the plugin, it has to be tried again."""
        try:
            done = await self._lifecycle.quarantine(
                condemned.tenant_id, condemned.installation_id, condemned.reason, revision=condemned.revision
            )
        except JackfieldError as error:
            _log.warning("quarantine put off", plugin=condemned.slug, tenant=condemned.tenant_id, reason=str(error))
            return False
        if done:
            _log.warning("quarantined", plugin=condemned.slug, tenant=condemned.tenant_id, reason=condemned.reason[1])
        self._watch.crash_loops.forget(condemned.installation_id)
        return True


def _note(row: HealthCheckRow) -> HealthNote | None:
    if row.checked_at is None or row.since is None:
        return None
    return HealthNote(row.status, row.message, row.since, row.checked_at, row.consecutive_failures)


def _status(note: HealthNote) -> Literal["ok", "failing"]:
    return "ok" if note.status == "ok" else "failing"


def _quarantine(seen: Installed) -> Quarantine | None:
    if seen.state is not State.QUARANTINED:
        return None
    code, message = seen.reason or ("crash-loop", "")
    return Quarantine(seen.updated_at, code, message)
