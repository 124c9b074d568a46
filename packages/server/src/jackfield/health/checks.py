"""Asking plugins how they are, each by one node, at its own moment, and never so that it matters to anybody else.

What has run since its last check is asked within its interval; what was not well is asked again; all others rest, and
are asked once in a long while, so that thousands of sleeping plugins are not woken to say that they are well.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import structlog
from sqlalchemy.exc import IntegrityError

from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.health import repository
from jackfield.health.models import HealthCheckRow
from jackfield.health.watch import Watch
from jackfield.invocation import ActiveInstallation, Invocation, Outcome
from jackfield.lifecycle import ActiveInstallations, Runner
from jackfield.settings import HealthSettings
from jackfield_sdk.wire import Caller

__all__ = ["Answer", "Checks"]

_log = structlog.get_logger("jackfield.health")

_BATCH = 50
_LEASE_EXTRA = timedelta(seconds=60)
_ADOPT_EVERY_S = 3600.0
_ADOPT_BATCH = 200
_MESSAGE_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking."""

    status: Literal["ok", "failing"]
    message: str = ""
    code: str | None = None
    duration_ms: float | None = None


class Checks:
    """Runs health checks.

    Args:
        is_busy: Whether calls are waiting; checks then wait too.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        watch: Watch,
        active: ActiveInstallations,
        runner: Runner,
        settings: HealthSettings,
        is_busy: Callable[[], bool],
    ) -> None:
        self._database = database
        self._clock = clock
        self._watch = watch
        self._active = active
        self._runner = runner
        self._settings = settings
        self._is_busy = is_busy
        self._adopt_at = 0.0
        self._random = random.Random()  # noqa: S311  # spreads work, guards nothing

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await asyncio.sleep(self._settings.check_round_s * self._random.uniform(0.8, 1.2))
            if not self._is_busy():
                await self.ask_due()

    async def ask_due(self) -> int:
        """Ask those whose time has come; how many there were."""
        await self._adopt()
        found = dict.fromkeys(self._watch.take_due(_BATCH))
        async with self._database.read(None) as session:
            found |= dict.fromkeys(await repository.due(session, self._clock.now(), _BATCH))
        few = asyncio.Semaphore(self._settings.check_concurrency)

        async def one(tenant_id: str, installation_id: str) -> None:
            async with few:
                try:
                    await self._ask_alone(tenant_id, installation_id)
                except Exception as error:  # one tenant's trouble must not hold up the others
                    _log.error("health.check_failed", tenant=tenant_id, installation=installation_id, exc_info=error)

        async with asyncio.TaskGroup() as group:
            for tenant_id, installation_id in found:
                group.create_task(one(tenant_id, installation_id))
        return len(found)

    async def ask(self, installation: ActiveInstallation, caller: Caller | None = None) -> Answer | None:
        """Ask one now and keep what it says; None when it could not be asked, or has no check."""
        check = installation.manifest.health
        if check is None:
            return None
        outcome = await self._runner.run(
            Invocation(installation, "health", "health", check.handler, None, check.timeout_ms, caller)
        )
        if outcome.status in ("refused", "overloaded"):
            return None
        answer = _answer(outcome)
        await self._keep(installation, answer)
        return answer

    async def _ask_alone(self, tenant_id: str, installation_id: str) -> None:
        installation = await self._active.by_id(tenant_id, installation_id)
        check = None if installation is None else installation.manifest.health
        now = self._clock.now()
        # A node that has just asked on its own account is fresh enough for the others.
        interval_s = 0.0 if check is None else max(check.interval_s, self._settings.check_interval_s)
        until = now + _LEASE_EXTRA + timedelta(milliseconds=0 if check is None else check.timeout_ms)
        try:
            async with self._database.write(tenant_id) as session:
                is_ours = await repository.claim(
                    session, tenant_id, installation_id, now=now, until=until,
                    fresh=timedelta(seconds=interval_s * 0.4),
                )  # fmt: skip
        except IntegrityError:
            return
        if not is_ours:
            return
        if installation is None or check is None:
            # Nothing to ask, until it runs again or has another release.
            await self._release(tenant_id, installation_id, None)
        elif await self.ask(installation) is None:
            await self._release(tenant_id, installation_id, now + timedelta(seconds=interval_s))

    async def _keep(self, installation: ActiveInstallation, answer: Answer) -> None:
        now = self._clock.now()
        try:
            async with self._database.write(installation.tenant_id) as session:
                row = await session.get(HealthCheckRow, installation.id)
                if row is None:
                    row = repository.fresh_row(installation.tenant_id, installation.id)
                    session.add(row)
                if row.status != answer.status:
                    if row.status != "unknown" or answer.status == "failing":
                        _log.info(
                            "health.changed", tenant=installation.tenant_id, plugin=installation.slug,
                            was=row.status, now=answer.status,
                        )  # fmt: skip
                    row.since = now
                row.status, row.code, row.message = answer.status, answer.code, answer.message
                row.checked_at, row.lease_until = now, None
                row.consecutive_failures = 0 if answer.status == "ok" else row.consecutive_failures + 1
                row.next_check_at = self._next(installation, answer, now)
        except IntegrityError:
            return  # it was uninstalled while it was asked

    def _next(self, installation: ActiveInstallation, answer: Answer, now: datetime) -> datetime:
        check = installation.manifest.health
        interval_s = self._settings.rest_interval_s
        if answer.status == "failing" and check is not None:
            interval_s = max(check.interval_s, self._settings.check_interval_s)
        return now + timedelta(seconds=interval_s * self._random.uniform(0.8, 1.2))

    async def _release(self, tenant_id: str, installation_id: str, next_check_at: datetime | None) -> None:
        async with self._database.write(tenant_id) as session:
            row = await session.get(HealthCheckRow, installation_id)
            if row is not None:
                row.lease_until, row.next_check_at = None, next_check_at

    async def _adopt(self) -> None:
        """Installations that nobody has heard of yet get their moment, somewhere in the long interval, not at once."""
        now = self._clock.monotonic()
        if now < self._adopt_at:
            return
        self._adopt_at = now + _ADOPT_EVERY_S
        after = ""
        while True:
            async with self._database.read(None) as session:
                found = await repository.unknown_installations(session, _ADOPT_BATCH, after)
            if not found:
                return
            after = found[-1][1]
            try:
                async with self._database.write(None) as session:
                    session.add_all(
                        repository.fresh_row(
                            tenant_id, installation_id,
                            next_check_at=self._clock.now()
                            + timedelta(seconds=self._settings.rest_interval_s * self._random.uniform(0.25, 1.0)),
                        )
                        for tenant_id, installation_id in found
                    )  # fmt: skip
            except IntegrityError:
                return  # another node is at it


def _answer(outcome: Outcome) -> Answer:
    if not outcome.is_ok:
        failure = outcome.failure
        message = failure.message if failure else outcome.status
        return Answer("failing", message[:_MESSAGE_CHARS], failure.code if failure else None, outcome.duration_ms)
    # A plugin may return anything; whatever is no `Health` says at least that the check ran.
    value: Any = outcome.value
    told = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    is_ok, message = told.get("ok", True) is not False, told.get("message", "")
    text = message[:_MESSAGE_CHARS] if isinstance(message, str) else ""
    return Answer("ok" if is_ok else "failing", text, None, outcome.duration_ms)
