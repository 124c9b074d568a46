"""Whose turn it is: tenants take turns, then the installations of a tenant, by the time that they have used.

Start-time fair queueing (Goyal, Vin, Cheng 1996): everybody has a clock that goes forward by what they use, and the one
whose clock is behind is next. Who has been away starts at the present time: nobody saves up. Nothing here waits, counts
processes or knows the kernel.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jackfield.isolation.interfaces import IsolateSpec

if TYPE_CHECKING:
    from jackfield.isolation.isolate import Isolate

__all__ = ["IdleShelf", "Place", "Tenant", "Turns", "Waiter"]

_DEBT_NS = 2_000_000_000.0
"""How far a clock may run ahead: who burns for hours while nobody else is there must not be shut out for hours."""
_SMOOTHING = 0.1


@dataclass(slots=True, eq=False)
class Waiter:
    """A call that waits for an isolate.

    Attributes:
        is_stale: What it asks for has been retired since.
        is_nested: A call of another plugin waits for it.
    """

    spec: IsolateSpec
    isolate: asyncio.Future[Isolate | None]
    is_stale: bool = False
    is_nested: bool = False


@dataclass(slots=True, eq=False)
class Tenant:
    """A tenant that has isolates, or calls that wait.

    Attributes:
        isolates: Living ones.
        running: Calls that hold a slot.
        resting: Calls that wait for one of another plugin.
        clock: Nanoseconds used, as fair queueing counts.
        used_ns: Nanoseconds used recently; fades.
        is_over: Uses more than its part while others are there.
        is_flooding: So, by many short calls: it is the node's own time that it uses.
        calls: Begun since that was last looked at.
        seen: When it last called, in ticks.
    """

    id: str
    idle: dict[Isolate, None] = field(default_factory=dict["Isolate", None])
    places: set[Place] = field(default_factory=set["Place"])
    waiting: dict[Place, None] = field(default_factory=dict["Place", None])
    waiters: int = 0
    isolates: int = 0
    running: int = 0
    resting: int = 0
    clock: float = 0.0
    used_ns: float = 0.0
    is_over: bool = False
    is_flooding: bool = False
    calls: int = 0
    seen: int = -1


@dataclass(slots=True, eq=False)
class Place:
    """An installation that has isolates, or calls that wait.

    Attributes:
        asking: Calls that have no isolate yet.
        fresh: Isolates that are not retired.
        resting: Isolates whose calls wait for one of another plugin.
        crashes: Isolates in a row that have ended badly.
        held_until: Event loop time before which no isolate is started, because of them.
        call_s: How long its calls take.
        footprint_kb: What its isolates take; 0 when none has been looked at.
        replaced_at: When an idle isolate that had died was last replaced.
        heir: One that is loading and will take over from those that are worn out.
    """

    owner: str
    tenant: Tenant
    idle: dict[tuple[str, int], list[Isolate]] = field(default_factory=dict[tuple[str, int], list["Isolate"]])
    isolates: set[Isolate] = field(default_factory=set["Isolate"])
    queue: deque[Waiter] = field(default_factory=deque[Waiter])
    asking: int = 0
    fresh: int = 0
    resting: int = 0
    crashes: int = 0
    held_until: float = 0.0
    clock: float = 0.0
    call_s: float = 0.0
    footprint_kb: int = 0
    replaced_at: float = float("-inf")
    heir: Isolate | None = None

    def took(self, seconds: float) -> None:
        """Note how long a call took."""
        self.call_s += (seconds - self.call_s) * _SMOOTHING if self.call_s else seconds


class Turns:
    """All who wait."""

    def __init__(self) -> None:
        self.count = 0
        self.waiting: dict[Tenant, None] = {}
        self._clock = 0.0

    def join(self, place: Place, waiter: Waiter) -> None:
        """Wait behind the calls of the same installation; who is waited for comes before those who are not."""
        tenant = place.tenant
        if not tenant.waiters and not tenant.running:
            tenant.clock = max(tenant.clock, self._clock)
        if not place.queue:
            place.clock = max(place.clock, min((other.clock for other in tenant.waiting), default=place.clock))
        if waiter.is_nested:
            place.queue.insert(sum(other.is_nested for other in place.queue), waiter)
        else:
            place.queue.append(waiter)
        tenant.waiting[place] = None
        tenant.waiters += 1
        self.waiting[tenant] = None
        self.count += 1

    def leave(self, place: Place, waiter: Waiter) -> None:
        """No longer wait, served or not."""
        tenant = place.tenant
        try:
            place.queue.remove(waiter)
        except ValueError:
            return
        tenant.waiters -= 1
        self.count -= 1
        if not place.queue:
            del tenant.waiting[place]
        if not tenant.waiters:
            del self.waiting[tenant]

    def in_order(self) -> Iterator[Tenant]:
        """Tenants that wait, whose turn it is first."""
        return iter(sorted(self.waiting, key=lambda tenant: tenant.clock))

    def served(self, tenant: Tenant) -> None:
        """It had its turn."""
        self._clock = max(self._clock, tenant.clock)

    def charge(self, place: Place, used_ns: float) -> None:
        """Put what was used on the clocks."""
        tenant = place.tenant
        tenant.used_ns += used_ns
        tenant.clock = min(tenant.clock + used_ns, self._clock + _DEBT_NS)
        place.clock += used_ns

    def clear(self) -> list[Waiter]:
        """Send everybody away."""
        left = [waiter for tenant in self.waiting for place in tenant.waiting for waiter in place.queue]
        for tenant in list(self.waiting):
            for place in list(tenant.waiting):
                for waiter in list(place.queue):
                    self.leave(place, waiter)
        return left


class IdleShelf:
    """Idle isolates, and who gives one up first: the tenant that has most, and of its own the least recently used."""

    def __init__(self) -> None:
        self.count = 0
        # Tenants by how many they have, so that the largest is found without looking at all of them.
        self._levels: list[dict[Tenant, None]] = [{}]

    def add(self, tenant: Tenant, isolate: Isolate) -> None:
        """Put one on, as the most recently used."""
        level = len(tenant.idle)
        if level:
            del self._levels[level][tenant]
        tenant.idle[isolate] = None
        level += 1
        if level == len(self._levels):
            self._levels.append({})
        self._levels[level][tenant] = None
        self.count += 1

    def remove(self, tenant: Tenant, isolate: Isolate) -> None:
        """Take one off, if it is there."""
        if isolate not in tenant.idle:
            return
        level = len(tenant.idle)
        del tenant.idle[isolate]
        del self._levels[level][tenant]
        if level > 1:
            self._levels[level - 1][tenant] = None
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()
        self.count -= 1

    def first_to_go(self) -> Isolate | None:
        """Whose turn it is to make room."""
        for tenant in self._levels[-1]:
            return next(iter(tenant.idle))
        return None

    def __iter__(self) -> Iterator[Isolate]:
        for level in self._levels:
            for tenant in level:
                yield from tenant.idle
