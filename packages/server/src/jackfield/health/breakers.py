"""Circuit breakers: a handler that fails and fails is left alone for a while, then tried with one call.

One for each handler of each installation, in this node's memory; `breaker_book` keeps them and tells other nodes. A
handler that works has none: the usual call costs one look into a dictionary.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from jackfield.clock import Clock
from jackfield.invocation import Invocation, Outcome
from jackfield.jobs import LEFT_ALONE
from jackfield.lifecycle import LeftAlone
from jackfield.settings import BreakerSettings
from jackfield_sdk.wire import Failure

__all__ = ["KINDS", "BreakerChange", "Breakers", "is_blameless"]

_log = structlog.get_logger("jackfield.health")

KINDS = frozenset({"filter", "event", "function", "route", "schedule", "webhook", "widget"})
"""Triggers that are watched. What an administrator does to a plugin must go through to it whatever it did before."""

_FAILURES = frozenset({"error", "timeout", "cpu", "memory", "crashed", "violation"})
"""Ends that a plugin is to blame for. An error for the user, a veto and a wish to be asked later are answers; a refusal
and an overload are ours."""
_NEUTRAL = frozenset({"refused", "overloaded"})
_BLAMELESS = frozenset({("timeout", "caller-gone"), ("crashed", "isolate-lost")})
"""Status and code of ends that say nothing about the plugin: somebody hung up, or our own process took it along."""
_INSTALLATIONS = 20_000
_PROBE_S = 1.0
_REASON_CHARS = 300


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A breaker opened, once more or for the first time, or closed, or lets one call through.

    Attributes:
        is_probe: It is open, and one call was let through.
        left_s: Until the next call is let through.
        wait_s: Of which this is the rest.
        failures: Within the window in which it opened.
        code, message: Of the last one.
    """

    tenant_id: str
    installation_id: str
    slug: str
    handler: str
    revision: int
    is_open: bool
    opened_at: datetime
    left_s: float
    wait_s: float
    failures: int
    code: str
    message: str
    is_probe: bool = False


@dataclass(slots=True)
class _Breaker:
    window_ends: float
    in_a_row: int = 0
    failures: int = 0
    calls: int = 0
    is_open: bool = False
    until: float = 0.0
    wait_s: float = 0.0
    probe: Invocation | None = None
    opened_at: datetime | None = None
    changed_at: datetime | None = None
    code: str = ""
    message: str = ""


@dataclass(slots=True)
class _Known:
    """The breakers of one installation. Another revision, that is another release or configuration, begins anew."""

    revision: int
    breakers: dict[str, _Breaker] = field(default_factory=dict[str, _Breaker])


class Breakers:
    """All breakers of this node.

    Attributes:
        has_changed: Set when there is something for `take_changes`.
    """

    def __init__(self, settings: BreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._changes: deque[BreakerChange] = deque(maxlen=_INSTALLATIONS)
        self.has_changed = asyncio.Event()

    def admit(self, invocation: Invocation) -> Failure | None:
        """Nothing, or why the handler is left alone."""
        known = self._known.get(invocation.installation.id)
        if known is None or invocation.kind not in KINDS:
            return None
        if invocation.installation.revision != known.revision:
            return None
        breaker = known.breakers.get(invocation.handler)
        if breaker is None or not breaker.is_open:
            return None
        left_s = breaker.until - self._clock.monotonic()
        if left_s > 0:
            return _refusal(breaker, left_s if breaker.probe is None else min(left_s, _PROBE_S))
        if breaker.probe is None:
            breaker.probe = invocation
            # Its own time-out ends it; should nobody tell us, another one goes after that.
            breaker.until = self._clock.monotonic() + invocation.timeout_ms / 1000 + _PROBE_S
            self._changed(invocation, breaker, is_probe=True)
            return None
        breaker.probe = None
        return self.admit(invocation)

    def settle(self, invocation: Invocation, outcome: Outcome) -> None:
        """How a call ended that was let through."""
        is_failure = outcome.status in _FAILURES
        known = self._known.get(invocation.installation.id)
        if (known is None and not is_failure) or invocation.kind not in KINDS:
            return
        if is_failure and is_blameless(outcome):
            is_failure, is_neutral = False, True
        else:
            is_neutral = outcome.status in _NEUTRAL
        known = self._of(known, invocation, create=is_failure)
        if known is None:
            return
        breaker = known.breakers.get(invocation.handler)
        now = self._clock.monotonic()
        if breaker is None:
            if not is_failure:
                return
            breaker = known.breakers[invocation.handler] = _Breaker(now + self._settings.window_s)
        if breaker.is_open:
            self._settle_open(known, breaker, invocation, outcome, now, is_failure=is_failure, is_neutral=is_neutral)
        elif not is_neutral:
            self._settle_closed(known, breaker, invocation, outcome, now, is_failure=is_failure)

    def report(self, installation_id: str, revision: int) -> list[LeftAlone]:
        """Breakers of an installation, as it is now, that are not closed; by handler."""
        known = self._known.get(installation_id)
        if known is None or known.revision != revision:
            return []
        now, moment = self._clock.monotonic(), self._clock.now()
        found: list[LeftAlone] = []
        for handler, breaker in sorted(known.breakers.items()):
            if breaker.is_open and breaker.opened_at is not None:
                is_trying = breaker.probe is not None or breaker.until <= now
                left_s = 0.0 if is_trying else round(breaker.until - now, 1)
                found.append(
                    LeftAlone(
                        handler, "half-open" if is_trying else "open", breaker.opened_at,
                        moment + timedelta(seconds=left_s), left_s, breaker.failures, breaker.code, breaker.message,
                    )
                )  # fmt: skip
        return found

    def take_changes(self, limit: int) -> list[BreakerChange]:
        """What has changed here and was not taken yet, the oldest first."""
        found = [self._changes.popleft() for _ in range(min(limit, len(self._changes)))]
        if not self._changes:
            self.has_changed.clear()
        return found

    def put_back(self, changes: Iterable[BreakerChange]) -> None:
        """They could not be written down now."""
        self._changes.extendleft(reversed(list(changes)))
        self.has_changed.set()

    def written(self, change: BreakerChange, at: datetime) -> None:
        """A change was written down, at this time by the row: what is read of that row is known here."""
        known = self._known.get(change.installation_id)
        breaker = None if known is None or known.revision != change.revision else known.breakers.get(change.handler)
        if breaker is not None and breaker.is_open:
            breaker.changed_at = at

    def adopt(self, change: BreakerChange, left_s: float, *, changed_at: datetime) -> None:
        """What another node, or this one before it was started anew, has seen."""
        known = self._known.get(change.installation_id)
        if known is not None and known.revision > change.revision:
            return
        breaker = None
        if known is not None and known.revision == change.revision:
            breaker = known.breakers.get(change.handler)
        if breaker is not None and breaker.changed_at is not None and breaker.changed_at >= changed_at:
            return  # what is known here is as late, or later
        if not change.is_open:
            if known is not None and breaker is not None and breaker.is_open:
                self._drop(known, change.installation_id, change.handler)
            return
        if known is None or known.revision < change.revision:
            known = self._remember(change.installation_id, change.revision)
        now = self._clock.monotonic()
        breaker = known.breakers.setdefault(change.handler, _Breaker(now + self._settings.window_s))
        # A call that was let through here still decides.
        breaker.is_open, breaker.opened_at = True, change.opened_at
        breaker.until, breaker.wait_s = now + min(max(left_s, 0.0), self._settings.longest_s), change.wait_s
        breaker.failures, breaker.code, breaker.message = change.failures, change.code, change.message
        breaker.changed_at = changed_at

    def _of(self, known: _Known | None, invocation: Invocation, *, create: bool) -> _Known | None:
        """The installation's breakers; None when the call is one of an older revision, or there are none."""
        installation = invocation.installation
        if known is not None and installation.revision == known.revision:
            return known
        if known is not None and installation.revision < known.revision:
            return None
        if known is not None:
            del self._known[installation.id]
        return self._remember(installation.id, installation.revision) if create else None

    def _remember(self, installation_id: str, revision: int) -> _Known:
        known = self._known[installation_id] = _Known(revision)
        self._known.move_to_end(installation_id)
        if len(self._known) > _INSTALLATIONS:
            self._known.popitem(last=False)
        return known

    def _settle_closed(
        self, known: _Known, breaker: _Breaker, invocation: Invocation, outcome: Outcome, now: float, *,
        is_failure: bool,
    ) -> None:  # fmt: skip
        if now >= breaker.window_ends:
            if not is_failure:
                self._forget(known, invocation)
                return
            breaker.window_ends = now + self._settings.window_s
            breaker.in_a_row = breaker.failures = breaker.calls = 0
        breaker.calls += 1
        if not is_failure:
            breaker.in_a_row = 0
            return
        breaker.in_a_row += 1
        breaker.failures += 1
        settings = self._settings
        is_often = breaker.failures >= settings.minimum and breaker.failures >= settings.rate * breaker.calls
        if is_often or (settings.in_a_row is not None and breaker.in_a_row >= settings.in_a_row):
            self._open(breaker, invocation, outcome, now, settings.open_s)

    def _settle_open(
        self, known: _Known, breaker: _Breaker, invocation: Invocation, outcome: Outcome, now: float, *,
        is_failure: bool, is_neutral: bool,
    ) -> None:  # fmt: skip
        if breaker.probe is not invocation:
            return  # it began before the breaker opened, and says nothing new
        breaker.probe = None
        if is_neutral:
            breaker.until = now  # it never ran: the next one is the probe
        elif is_failure:
            self._open(breaker, invocation, outcome, now, min(breaker.wait_s * 2, self._settings.longest_s))
        else:
            self._forget(known, invocation)
            _log.info("breaker closed", **_where(invocation))

    def _open(self, breaker: _Breaker, invocation: Invocation, outcome: Outcome, now: float, wait_s: float) -> None:
        failure = outcome.failure
        breaker.is_open, breaker.until, breaker.wait_s = True, now + wait_s, wait_s
        breaker.opened_at = breaker.opened_at or self._clock.now()
        breaker.code = failure.code if failure else outcome.status
        breaker.message = failure.message[:_REASON_CHARS] if failure else ""
        breaker.changed_at = self._clock.now()
        self._changed(invocation, breaker)
        _log.warning("breaker open", **_where(invocation), code=breaker.code, for_s=wait_s)

    def _forget(self, known: _Known, invocation: Invocation) -> None:
        breaker = known.breakers[invocation.handler]
        self._drop(known, invocation.installation.id, invocation.handler)
        if breaker.is_open:
            breaker.is_open = False
            self._changed(invocation, breaker)

    def _drop(self, known: _Known, installation_id: str, handler: str) -> None:
        del known.breakers[handler]
        if not known.breakers:
            del self._known[installation_id]

    def _changed(self, invocation: Invocation, breaker: _Breaker, *, is_probe: bool = False) -> None:
        installation = invocation.installation
        self._changes.append(
            BreakerChange(
                installation.tenant_id, installation.id, installation.slug, invocation.handler, installation.revision,
                breaker.is_open, breaker.opened_at or self._clock.now(),
                max(0.0, breaker.until - self._clock.monotonic()), breaker.wait_s, breaker.failures, breaker.code[:128],
                breaker.message, is_probe,
            )
        )  # fmt: skip
        self.has_changed.set()


def _refusal(breaker: _Breaker, left_s: float) -> Failure:
    return Failure(
        LEFT_ALONE,
        f"it failed too often and is left alone for a while; the last time: {breaker.message or breaker.code}",
        "It is tried again by itself. The plugin's health says more: GET /api/plugins/{slug}/health.",
        kind="retry",
        retry_after_s=max(round(left_s, 1), 0.1),
    )


def _where(invocation: Invocation) -> dict[str, str]:
    installation = invocation.installation
    return {"tenant": installation.tenant_id, "plugin": installation.slug, "handler": invocation.handler}


def is_blameless(outcome: Outcome) -> bool:
    """Whether a call ended badly through no doing of the plugin. Its own failures, whatever their code, never do."""
    return outcome.failure is not None and (outcome.status, outcome.failure.code) in _BLAMELESS
