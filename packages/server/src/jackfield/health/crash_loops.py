"""Crash loops: an installation whose processes die and die rests longer and longer, and is then taken from work.

Deaths are counted by installation: whichever handler it was, what dies is a process of the plugin. Deaths that have
grown old do not count any more.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import structlog

from jackfield.clock import Clock
from jackfield.health.breakers import KINDS, is_blameless
from jackfield.invocation import Invocation, Outcome
from jackfield.settings import CrashSettings
from jackfield_sdk.wire import Failure

__all__ = ["DEATHS", "Condemned", "CrashLoops", "Restarting"]

_log = structlog.get_logger("jackfield.health")

DEATHS = ("crashed", "memory", "violation")
"""Ends of calls that are ends of their process, by its own doing. A time-out is not: there is a breaker for those."""

_KINDS = KINDS | {"health"}
_INSTALLATIONS = 20_000
_REASON_CHARS = 500


@dataclass(frozen=True, slots=True)
class Condemned:
    """An installation that is to be taken from work.

    Attributes:
        revision: The one that died; a later one has not.
        reason: Code and message, for the tenant.
    """

    tenant_id: str
    installation_id: str
    slug: str
    revision: int
    reason: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Restarting:
    """An installation that rests after its processes have died."""

    retry_after_s: float
    deaths: int


@dataclass(slots=True)
class _Loop:
    revision: int
    until: float = 0.0
    deaths: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    is_condemned: bool = False


class CrashLoops:
    """All installations of this node that have died lately."""

    def __init__(self, settings: CrashSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._loops: OrderedDict[str, _Loop] = OrderedDict()
        self._weights = {"crashed": 1, "memory": 1, "violation": settings.violation_weight}

    def admit(self, invocation: Invocation) -> Failure | None:
        """Nothing, or why no process is started for it now."""
        loop = self._loops.get(invocation.installation.id)
        if loop is None or invocation.kind not in _KINDS or loop.revision != invocation.installation.revision:
            return None
        left_s = loop.until - self._clock.monotonic()
        if loop.is_condemned:
            return Failure(
                "plugin-quarantined",
                "its processes died again and again; it is being taken from work",
                "An administrator activates it again.",
                kind="retry",
                retry_after_s=self._settings.longest_s,
            )
        if left_s <= 0:
            return None
        return Failure(
            "crash-backoff",
            "its processes died again and again; it rests before another one is started",
            "It is started again by itself. The plugin's health says more: GET /api/plugins/{slug}/health.",
            kind="retry",
            retry_after_s=max(round(left_s, 1), 0.1),
        )

    def settle(self, invocation: Invocation, outcome: Outcome) -> Condemned | None:
        """How a call ended; the installation, when that was one death too many."""
        weight = self._weights.get(outcome.status)
        if weight is None or invocation.kind not in _KINDS or is_blameless(outcome):
            return None
        loop = self._of(invocation)
        if loop is None or loop.is_condemned:
            return None
        now, settings = self._clock.monotonic(), self._settings
        loop.deaths.append((now, weight))
        while loop.deaths[0][0] < now - settings.window_s:
            loop.deaths.popleft()
        points = sum(weight for _, weight in loop.deaths)
        if points >= settings.limit:
            loop.is_condemned = True
            return self._condemned(invocation, outcome, len(loop.deaths))
        if points > settings.grace:
            wait_s = min(settings.first_s * 2.0 ** min(points - settings.grace - 1, 60), settings.longest_s)
            loop.until = now + wait_s
            installation = invocation.installation
            _log.warning("crash loop", tenant=installation.tenant_id, plugin=installation.slug, rests_s=wait_s)
        return None

    def report(self, installation_id: str, revision: int) -> Restarting | None:
        """Whether an installation, as it is now, rests."""
        loop = self._loops.get(installation_id)
        if loop is None or loop.revision != revision or loop.is_condemned:
            return None
        left_s = loop.until - self._clock.monotonic()
        return Restarting(round(left_s, 1), len(loop.deaths)) if left_s > 0 else None

    def forget(self, installation_id: str) -> None:
        """Begin anew: it is known by now, or was found to be nothing."""
        self._loops.pop(installation_id, None)

    def _of(self, invocation: Invocation) -> _Loop | None:
        """What is known of the installation's revision; None when the call is one of an older revision."""
        installation = invocation.installation
        loop = self._loops.get(installation.id)
        if loop is not None and installation.revision < loop.revision:
            return None
        if loop is None or installation.revision > loop.revision:
            loop = self._loops[installation.id] = _Loop(installation.revision)
            self._loops.move_to_end(installation.id)
            if len(self._loops) > _INSTALLATIONS:
                self._loops.popitem(last=False)
        return loop

    def _condemned(self, invocation: Invocation, outcome: Outcome, deaths: int) -> Condemned:
        installation, failure = invocation.installation, outcome.failure
        last = f"{failure.code}: {failure.message}" if failure else outcome.status
        message = (
            f"its processes died {deaths} times within {self._settings.window_s:g} s; "
            f"the last time in `{invocation.handler}`: {last}"
        )
        return Condemned(
            installation.tenant_id, installation.id, installation.slug, installation.revision,
            ("crash-loop", message[:_REASON_CHARS]),
        )  # fmt: skip
