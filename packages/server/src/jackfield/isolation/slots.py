"""Slots: how many calls compute at the same time, whose they are, and who goes first on the processors.

A tenant without a running call gets a slot at once: who uses little never waits for those who use much. Beyond its
first one, the tenants that are awake share what there is. A call gives its slot back while it sleeps. One that burns a
processor keeps its slot and runs only when nobody else wants to, and so do all calls of a tenant that uses more than
its part. Of many short calls of such a tenant one runs at a time: what they take is the node's event loop, which has no
classes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jackfield.isolation.scheduling import Place, Tenant, Turns

if TYPE_CHECKING:
    from jackfield.isolation.isolate import Isolate

__all__ = ["Running", "Slots"]

_TICK_S = 0.01
"""How often running calls are looked at. A call that is over before is never looked at."""
_TICK_NS = _TICK_S * 1e9
_LAZY_TICKS = 100
"""Ticks without a running call after which nobody looks any more."""
_AWAKE_TICKS = 10
"""How long after a call its tenant still counts when slots are shared out: between two calls of somebody who clicks, a
flood must not take all of them."""
_FADE_TICKS = 5
_FADE = 0.93
"""What is left of a tenant's recent use after `_FADE_TICKS`: half of it after a third of a second."""
_HOG_NS = 10_000_000
_HOG_FOR_GOOD_NS = 50_000_000
"""Processor time in one call after which it runs only when nobody else wants to; more where it cannot be undone."""
_STARVED_TICKS = 100
_OVER_NS = 60_000_000.0
"""Recent use under which nobody is over his part: about an eighth of a processor."""
_FLOOD_CALLS = 25
"""Calls within `_FADE_TICKS`: five hundred a second."""
_SLEEPS_BELOW = 0.2
_PARKED_TICKS = 8


@dataclass(slots=True)
class Running:
    """A call that runs.

    Attributes:
        since: Tick in which it began.
        cpu_ns: Processor time of its process when it was last looked at.
        charged_ns: What of it is on the clocks already.
        burnt_ns: What it has used since its process was last let run like others.
        starved: Ticks in a row in which it wanted a processor and got none.
        is_parked: It sleeps, and holds no slot.
        rests: It waits for a call of another plugin.
    """

    place: Place
    since: int
    cpu_ns: int = -1
    charged_ns: int = 0
    burnt_ns: int = 0
    starved: int = 0
    is_parked: bool = False
    rests: bool = False


class Slots:
    """The slots of one pool.

    Args:
        count: How many.
        turns: Whose clocks what was used goes on.
        on_free: Told when a call that waits may be able to start, other than by the end of one.
    """

    def __init__(self, count: int, turns: Turns, on_free: Callable[[], None]) -> None:
        self.busy: dict[Isolate, Running] = {}
        """In order of their beginning."""
        self.resting = 0
        """Of these, how many wait for a call of another plugin."""
        self._count = count
        self._turns = turns
        self._on_free = on_free
        self._taken = 0
        self._share = count
        self._awake: dict[Tenant, None] = {}
        self._tick = 0
        self._lazy = 0
        self._ticker: asyncio.TimerHandle | None = None
        # For root it can be undone.
        self._hog_ns = _HOG_NS if os.geteuid() == 0 else _HOG_FOR_GOOD_NS

    def note(self, tenant: Tenant) -> None:
        """It calls."""
        if tenant.seen != self._tick:
            tenant.seen = self._tick
            if tenant not in self._awake:
                self._awake[tenant] = None
                self._share = max(1, self._count // len(self._awake))

    def has_one_for(self, tenant: Tenant) -> bool:
        """Whether one more call of a tenant may start."""
        running = tenant.running
        return not running or (running < self._share and self._taken < self._count and not tenant.is_flooding)

    def begin(self, isolate: Isolate, place: Place) -> None:
        """A call takes a slot."""
        place.tenant.running += 1
        place.tenant.calls += 1
        self._taken += 1
        self.busy[isolate] = Running(place, self._tick)
        if place.tenant.is_over:
            isolate.lower()
        elif isolate.is_lowered:
            isolate.restore()
        if self._ticker is None:
            self._ticker = asyncio.get_running_loop().call_later(_TICK_S, self._on_tick)

    def end(self, isolate: Isolate) -> Running:
        """It is over."""
        running = self.busy.pop(isolate)
        if running.rests:
            running.place.tenant.resting -= 1
            running.place.resting -= 1
            self.resting -= 1
        if not running.is_parked:
            running.place.tenant.running -= 1
            self._taken -= 1
        return running

    def rest(self, isolate: Isolate) -> None:
        """Its call waits for another one: it gives its slot back now, and not when that is noticed."""
        running = self.busy.get(isolate)
        if running is None:
            return
        running.rests = True
        running.place.tenant.resting += 1
        running.place.resting += 1
        self.resting += 1
        if not running.is_parked:
            running.is_parked = True
            running.place.tenant.running -= 1
            self._taken -= 1
        self._on_free()

    def wake(self, isolate: Isolate) -> None:
        """What it waited for has ended. It goes on at once: to wait could be to wait for somebody who waits for it."""
        running = self.busy.get(isolate)
        if running is None or not running.rests:
            return
        running.rests = False
        running.place.tenant.resting -= 1
        running.place.resting -= 1
        self.resting -= 1
        if running.is_parked:
            running.is_parked = False
            running.place.tenant.running += 1
            self._taken += 1

    def stop(self) -> None:
        """Look no more."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        self._rest()

    def _on_tick(self) -> None:
        self._tick += 1
        tick = self._tick
        is_freed = False
        for isolate, running in self.busy.items():
            if running.since >= tick - 1:
                break
            if not running.is_parked or not tick % _PARKED_TICKS:
                is_freed |= self._look_at(isolate, running)
        if not tick % _FADE_TICKS:
            is_freed |= self._fade()
        self._lazy = 0 if self.busy else self._lazy + 1
        if self._lazy > _LAZY_TICKS:
            self._ticker = None
            self._lazy = 0
            self._rest()
        else:
            self._ticker = asyncio.get_running_loop().call_later(_TICK_S, self._on_tick)
        if is_freed:
            self._on_free()

    def _look_at(self, isolate: Isolate, running: Running) -> bool:
        """Whether a slot has become free."""
        cpu_ns = isolate.cpu_ns()
        if running.cpu_ns < 0:
            # Looked at for the first time: what its process had used before the call is another's.
            running.cpu_ns = cpu_ns
            return False
        used_ns = max(0, cpu_ns - running.cpu_ns)
        running.cpu_ns = cpu_ns
        running.charged_ns += used_ns
        running.burnt_ns += used_ns
        self._turns.charge(running.place, used_ns)
        if used_ns < _SLEEPS_BELOW * _TICK_NS * (_PARKED_TICKS if running.is_parked else 1):
            return self._idles(isolate, running)
        running.starved = 0
        if running.is_parked:
            running.is_parked = False
            running.place.tenant.running += 1
            self._taken += 1
        if not isolate.is_lowered and running.burnt_ns >= self._hog_ns:
            isolate.lower()
        return False

    def _idles(self, isolate: Isolate, running: Running) -> bool:
        """It uses no processor: it sleeps, or it cannot have one."""
        if running.is_parked:
            return False
        if isolate.sleeps():
            running.is_parked = True
            running.place.tenant.running -= 1
            self._taken -= 1
            return True
        running.starved += 1
        if isolate.is_lowered and running.starved >= _STARVED_TICKS and isolate.restore():
            # Something else keeps all processors busy. A moment now and then is everybody's.
            running.starved = 0
            running.burnt_ns = 0
        return False

    def _fade(self) -> bool:
        """See who is awake, and who uses more than his part; whether there is more for each than before."""
        since = self._tick - _AWAKE_TICKS
        for tenant in [tenant for tenant in self._awake if tenant.seen < since and not tenant.running]:
            del self._awake[tenant]
            _forget_use(tenant)
        count = len(self._awake)
        total_ns = 0.0
        for tenant in self._awake:
            tenant.used_ns *= _FADE
            total_ns += tenant.used_ns
        part_ns = max(_OVER_NS, total_ns / count if count else 0.0)
        for tenant in self._awake:
            tenant.is_over = count > 1 and tenant.used_ns > part_ns
            tenant.is_flooding = tenant.is_over and tenant.calls > _FLOOD_CALLS
            tenant.calls = 0
        before, self._share = self._share, max(1, self._count // count) if count else self._count
        return self._share > before

    def _rest(self) -> None:
        for tenant in self._awake:
            _forget_use(tenant)
        self._awake.clear()
        self._share = self._count


def _forget_use(tenant: Tenant) -> None:
    tenant.is_over = tenant.is_flooding = False
    tenant.used_ns = 0.0
    tenant.calls = 0
