"""`Watch`: sees every call before and after it. It never waits; a plugin that is well costs it a few look-ups."""

from __future__ import annotations

import asyncio
import random
from collections import deque

from jackfield.clock import Clock
from jackfield.health.breakers import Breakers
from jackfield.health.crash_loops import Condemned, CrashLoops
from jackfield.invocation import Invocation, Outcome
from jackfield.settings import HealthSettings
from jackfield_sdk.wire import Failure

__all__ = ["Watch"]

_NOTED = 50_000


class Watch:
    """An `invocation.Admission`.

    Attributes:
        has_condemned: Set when there is something to be taken from work.
    """

    def __init__(self, settings: HealthSettings, clock: Clock) -> None:
        self.breakers = Breakers(settings.breaker, clock)
        self.crash_loops = CrashLoops(settings.crashes, clock)
        self.has_condemned = asyncio.Event()
        self._settings = settings
        self._clock = clock
        self._condemned: deque[Condemned] = deque()
        self._due: dict[str, tuple[float, str]] = {}
        self._random = random.Random()  # noqa: S311  # spreads work, guards nothing

    def admit(self, invocation: Invocation) -> Failure | None:
        """Nothing, or why the plugin is left alone."""
        if invocation.is_dry_run:
            return None
        # The breaker comes last: it may make this call its probe, and will hear how that ended.
        return self.crash_loops.admit(invocation) or self.breakers.admit(invocation)

    def settle(self, invocation: Invocation, outcome: Outcome) -> None:
        """How it ended."""
        if invocation.is_dry_run:
            return
        self.breakers.settle(invocation, outcome)
        condemned = self.crash_loops.settle(invocation, outcome)
        if condemned is not None:
            self._condemned.append(condemned)
            self.has_condemned.set()
        installation = invocation.installation
        check = installation.manifest.health
        if check is not None and installation.id not in self._due and invocation.kind != "health":
            self.note(installation.id, installation.tenant_id, check.interval_s)

    def take_condemned(self) -> Condemned | None:
        """The next one to be taken from work."""
        if self._condemned:
            return self._condemned.popleft()
        self.has_condemned.clear()
        return None

    def put_back(self, condemned: Condemned) -> None:
        """It could not be done now."""
        self._condemned.append(condemned)

    def note(self, installation_id: str, tenant_id: str, interval_s: float) -> None:
        """Have an installation checked within its interval, at some moment, so that not all are asked at once."""
        if len(self._due) < _NOTED:  # beyond that, the long interval of those at rest has to do
            interval_s = max(interval_s, self._settings.check_interval_s)
            due = self._clock.monotonic() + interval_s * self._random.uniform(0.5, 1.0)
            self._due[installation_id] = (due, tenant_id)

    def take_due(self, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of installations that ran since their last check and are due for one."""
        now = self._clock.monotonic()
        found = [(tenant_id, id) for id, (due, tenant_id) in self._due.items() if due <= now][:limit]
        for _, installation_id in found:
            del self._due[installation_id]
        return found
