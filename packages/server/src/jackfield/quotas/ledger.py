"""What this node knows of what was used, in memory: an account for each tenant and each installation.

An account has what was used on all nodes as far as the database told, and what was used here since. From both it works
out, four times a second, how far its own counters may go; a call then costs comparisons and additions alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, cast

from jackfield.quotas.windows import WINDOW_S, used, wait_s
from jackfield.settings import QuotaSettings
from jackfield_sdk import wire

__all__ = ["QUOTAS", "RATES", "Account", "Key", "Quota", "QuotaFailure", "Rate", "Spent", "Used"]

Rate = Literal["calls", "cpu_us", "host_calls", "egress_bytes"]
Quota = Literal[
    "calls_per_minute", "cpu_ms_per_minute", "host_calls_per_minute", "egress_bytes_per_minute", "concurrency",
    "storage_bytes", "rows", "plugins",
]  # fmt: skip

RATES: Final[tuple[Quota, ...]] = (
    "calls_per_minute", "cpu_ms_per_minute", "host_calls_per_minute", "egress_bytes_per_minute"
)  # fmt: skip
"""In the order of the counters."""
QUOTAS: Final[tuple[Quota, ...]] = (*RATES, "concurrency", "storage_bytes", "rows")
_UNITS: Final = (1, 1000, 1, 1)
"""Of a counter in one of its quota: processor time is counted in microseconds."""
_NO_LIMIT: Final = sys.maxsize
_ROLL_S = 0.25
_IDLE_S = 3 * WINDOW_S

Key = tuple[str, str]
"""Tenant and installation; an empty installation stands for the tenant."""
Used = tuple[int, int, int, int]
"""Calls, microseconds of processor time, host calls, bytes sent out."""
_NOTHING: Final[Used] = (0, 0, 0, 0)


class QuotaFailure(wire.Failure, frozen=True, array_like=True):
    """Why a call was not let in. Its type says so: a plugin can choose a code, and it cannot make one of these.

    Attributes:
        scope: `tenant` or `plugin`: whose quota.
    """

    quota: str = ""
    scope: str = ""
    limit: int = 0
    used: int = 0


class Spent(NamedTuple):
    """What was used in a minute and is to be told to the other nodes."""

    key: Key
    minute: int
    used: Used


class Account:
    """Of one tenant, or of one installation.

    Attributes:
        calls, cpu_us, host_calls, egress_bytes: Used here, in this minute, and not told to the database yet.
        calls_cap: Where `calls` has to stop.
        is_spent: A quota that is counted afterwards (processor time, host calls, egress) is used up.
        running: Calls at work here.
        room: How many calls may be.
        elsewhere: Calls at work on other nodes.
        barred: Why nobody is let in, until it is `due`; None when that is not known.
        due: When the caps have to be worked out anew; seconds since 1970.
        is_dirty: It waits for the next exchange with the database.
        is_stale: The database has not been asked for the minute before this one.
        warnings: Bit by quota: near its limit at this time.
    """

    __slots__ = (
        "_before", "_carried", "_egress_cap", "_host_calls_cap", "_known", "_limits", "_warn_from", "barred", "calls",
        "calls_cap", "cpu_cap", "cpu_us", "due", "egress_bytes", "elsewhere", "host_calls", "is_dirty", "is_spent",
        "is_stale", "key", "last_used", "minute", "quotas", "room", "running", "told", "told_running", "warnings",
    )  # fmt: skip

    def __init__(self, key: Key, quotas: QuotaSettings, warn_from: float) -> None:
        self.key = key
        self._warn_from = warn_from
        self.calls = self.cpu_us = self.host_calls = self.egress_bytes = 0
        self.minute = 0
        self.due = self.last_used = 0.0
        self.is_dirty = self.is_spent = False
        self.is_stale = True
        self.running = self.elsewhere = self.told_running = 0
        self.warnings = self.told = 0
        self._known: Used = _NOTHING
        self._before: Used = _NOTHING
        self._carried: list[Spent] = []
        self.barred: QuotaFailure | None = None
        self.allow(quotas)

    @property
    def scope(self) -> str:
        """Whose it is, in words."""
        return "plugin" if self.key[1] else "tenant"

    def allow(self, quotas: QuotaSettings) -> None:
        """From now on this is allowed."""
        self.quotas = quotas
        self._limits = cast(
            "tuple[float, float, float, float]",
            tuple(
                math.inf if (limit := getattr(quotas, name)) is None else limit * unit
                for name, unit in zip(RATES, _UNITS, strict=True)
            ),
        )
        self.due = 0.0
        self._make_room()

    def roll(self, now: float) -> None:
        """Work out the caps as of now, and begin a new minute when it is time."""
        minute = int(now // WINDOW_S)
        if minute != self.minute:
            self._begin(minute)
        part = 1 - now % WINDOW_S / WINDOW_S
        known, before, limits = self._known, self._before, self._limits
        # Written out: this runs four times a second for each account.
        self.calls_cap = _cap(limits[0] - known[0] - before[0] * part)
        self.cpu_cap = _cap(limits[1] - known[1] - before[1] * part)
        self._host_calls_cap = _cap(limits[2] - known[2] - before[2] * part)
        self._egress_cap = _cap(limits[3] - known[3] - before[3] * part)
        self.barred = None
        self._look()
        self.warnings = self._near(now)
        if self.calls or self.running:
            self.last_used = now
        self.due = min(now + _ROLL_S, (minute + 1) * WINDOW_S)

    def end(self, cpu_us: int, host_calls: int) -> None:
        """A call has ended, at this cost."""
        self.running -= 1
        self.cpu_us += cpu_us
        self.host_calls += host_calls
        if self.cpu_us >= self.cpu_cap or self.host_calls >= self._host_calls_cap:
            self.is_spent = True

    def pay(self, cpu_us: int, host_calls: int) -> None:
        """It has had another plugin work for it."""
        self.cpu_us += cpu_us
        self.host_calls += host_calls
        self._look()

    def send(self, size: int) -> None:
        """So many bytes went out."""
        self.egress_bytes += size
        self._look()

    def is_idle(self, now: float) -> bool:
        """Whether it can be forgotten: what it knows is in the database, and matters no more."""
        return not (self.is_dirty or self.running) and now - self.last_used > _IDLE_S

    # -- exchange with the database ------------------------------------------------------------------------------------

    def take(self) -> list[Spent]:
        """What the database has not been told. It counts as known from here on."""
        spent, self._carried = self._carried, []
        mine = self._unsent()
        if any(mine):
            spent.append(Spent(self.key, self.minute, mine))
            self._known = _sum(self._known, mine)
            self.last_used = self.minute * WINDOW_S
            self.calls = self.cpu_us = self.host_calls = self.egress_bytes = 0
            self.due = 0.0
        return spent

    def learn(self, minute: int, total: Used) -> None:
        """All nodes together have used so much in a minute."""
        # Never less than is known here: what could not be written yet is missing in the database's total.
        if minute == self.minute:
            self._known = _most(self._known, total)
        elif minute == self.minute - 1:
            self._before = _most(self._before, total)
        self.due = 0.0

    def hear(self, elsewhere: int) -> None:
        """So many calls are at work on other nodes."""
        self.elsewhere = elsewhere
        self._make_room()

    # -- answers -------------------------------------------------------------------------------------------------------

    def refusal(self, now: float, *, is_nested: bool = False) -> QuotaFailure | None:
        """Why no call can be let in; None when one can.

        Args:
            is_nested: It is made within another one, which waits for it and holds a place already: to make it wait for
                a place could be to make it wait for itself.
        """
        limit = None if is_nested else self.quotas.concurrency
        if limit is not None and self.running + self.elsewhere >= limit:
            return self._failure("concurrency", limit, self.running + self.elsewhere, 1.0)
        for at, quota in enumerate(RATES):
            if (failure := self._refusal_of(at, quota, now)) is not None:
                self.barred = failure
                return failure
        return None

    def refusal_of_egress(self, now: float) -> QuotaFailure | None:
        """Why nothing can be sent out; None when something can."""
        return self._refusal_of(3, "egress_bytes_per_minute", now)

    def rates(self, now: float) -> Iterator[tuple[Quota, int | None, int, float, float]]:
        """Each rate's name, limit, use within the last minute, and its two counters, in the quota's own unit."""
        total = _sum(self._known, self._unsent())
        for at, quota in enumerate(RATES):
            unit = _UNITS[at]
            current, before = total[at] / unit, self._before[at] / unit
            yield quota, getattr(self.quotas, quota), math.ceil(used(current, before, now)), current, before

    def _refusal_of(self, at: int, quota: Quota, now: float) -> QuotaFailure | None:
        limit = self._limits[at]
        current, before = self._known[at] + self._unsent()[at], self._before[at]
        count = used(current, before, now)
        if count + 1 <= limit:
            return None
        wait = min(wait_s(current, before, now, limit), 2.0 * WINDOW_S)
        unit = _UNITS[at]
        return self._failure(quota, int(limit) // unit, math.ceil(count / unit), wait)

    def _failure(self, quota: Quota, limit: int, count: int, wait: float) -> QuotaFailure:
        whose = "this plugin" if self.key[1] else "the tenant"
        return QuotaFailure(
            "quota-exceeded",
            f"{quota.replace('_', ' ')} of {whose}: {count} of {limit} are used",
            "Try again later; `GET /api/usage` shows what is left.",
            retry_after_s=round(wait, 2),
            quota=quota,
            scope=self.scope,
            limit=limit,
            used=count,
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    def _begin(self, minute: int) -> None:
        mine = self._unsent()
        if any(mine):
            self._carried.append(Spent(self.key, self.minute, mine))
        # Other nodes may have told more of it since we last heard.
        self._before = _sum(self._known, mine) if minute == self.minute + 1 else _NOTHING
        self._known = _NOTHING
        self.calls = self.cpu_us = self.host_calls = self.egress_bytes = 0
        self.minute = minute
        self.is_stale = True
        self.told = 0

    def _look(self) -> None:
        self.is_spent = (
            self.cpu_us >= self.cpu_cap
            or self.host_calls >= self._host_calls_cap
            or self.egress_bytes >= self._egress_cap
        )

    def _make_room(self) -> None:
        limit = self.quotas.concurrency
        self.room = _NO_LIMIT if limit is None else max(0, limit - self.elsewhere)

    def _near(self, now: float) -> int:
        bits, mine = 0, self._unsent()
        for at, limit in enumerate(self._limits):
            count = self._known[at] + mine[at]
            if (count or self._before[at]) and used(count, self._before[at], now) >= limit * self._warn_from:
                bits |= 1 << at
        return bits

    def _unsent(self) -> Used:
        return self.calls, self.cpu_us, self.host_calls, self.egress_bytes


def _cap(left: float) -> int:
    return _NO_LIMIT if left == math.inf else max(0, int(left))


def _sum(one: Used, other: Used) -> Used:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _most(one: Used, other: Used) -> Used:
    return max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
