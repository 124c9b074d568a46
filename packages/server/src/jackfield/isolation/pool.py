"""The pool: warm reuse by the same installation and revision, and fair turns between tenants for everything scarce.

What is scarce, and who gets it:

- *Processors.* A call needs a slot, of which there are a few more than processors (`slots.py`). A call that sleeps
  gives it back; one that burns runs when nobody else wants to.
- *Memory.* One more isolate has to fit (`memory.py`). Idle ones make room: those of the tenant that has most first.
- *Turns.* Who cannot have an isolate waits; whoever has used least is next (`scheduling.py`). Queues are bounded, and
  who finds them full is told when to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from dataclasses import dataclass, replace

import structlog

from jackfield.isolation.errors import IsolationError, ZygoteBusyError
from jackfield.isolation.interfaces import CallRequest, CallResult, HostCalls, IsolateSpec
from jackfield.isolation.isolate import Isolate
from jackfield.isolation.memory import MemoryGauge
from jackfield.isolation.scheduling import IdleShelf, Place, Tenant, Turns, Waiter
from jackfield.isolation.slots import Slots
from jackfield.isolation.spares import Spares
from jackfield.isolation.supervisor import Supervisor
from jackfield_sdk import wire

__all__ = ["IsolatePool", "PoolSettings", "PoolStats"]

_log = structlog.get_logger("jackfield.isolation")
_SWEEP_S = 1.0
_SWEEP_AT_ONCE = 64
_OLD_AT_LEAST = 8
_OLD_PART = 10
"""How many isolates of a zygote that was replaced are ended in a sweep: so many, or one in so many of all."""
_IDLE_CPU_NS = 50_000_000
"""Processor time that an isolate may use between calls: who rests needs none."""
_HEAVY_S = 0.1
"""A plugin that loads longer is made ready before it is needed: worn isolates go on until their heir is loaded, one
that has died is replaced at once, and idle ones stay longer."""
_HEAVY_IDLE = 3
_MEMORY_CHECK_CALLS = 64
_MEMORY_WATERMARK = 0.75
_DESCRIPTORS_EACH = 3
"""What an isolate costs this process: its channel, the handle that it is killed by, and its memory group's."""
_DESCRIPTORS_ELSE = 4096

_LOWERED_IDLE_S = 5.0
_NODE_NS = 100_000
"""What a call costs the node itself."""
_CRASHES_FREE = 3
_HOLD_S = 0.02
_HOLD_MOST_S = 1.0
_FORGIVEN_S = 10.0
_REPLACED_EVERY_S = 10.0
_RETRY_LEAST_S = 0.5
_RETRY_MOST_S = 60.0
_LOOKED_AT = 64
"""Waiting tenants that are looked at for one that can be served: after so many, what is missing is missing to all."""
_ZYGOTE_WAIT_S = 10.0
_BUSY_S = 0.02
_ATTEMPTS = 3
"""For a call that is certain not to have begun."""
_NEVER_RAN = wire.Failure(
    "isolate-lost", "the plugin's process was ended from outside before the call began; it has not run", "Try again."
)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of the pool.

    Attributes:
        budget: Isolates alive at the same time.
        calls: Calls after which one is replaced.
        idle_s: Time without a call after which one ends.
        spares: Sealed isolates without a plugin, ready for a first call. Forking and sealing are then no part of it;
        above
            all not the memory group: after a quiet moment the kernel takes 10-20 ms to move a process into one.
        spare_memory_mb: Their memory limit; installations with another one get a process of their own making.
        frame_bytes: Largest message that is accepted from an isolate.
        waiting: Calls of one installation that may wait for an isolate; further ones are refused at once.
        tenant_waiting: Calls of one tenant that may.
        all_waiting: Calls that may.
        tenant_isolates: Isolates of one tenant, unless its spec says otherwise; 0: a quarter of the budget.
        slots: Calls that may compute at the same time; 0: two more than there are processors.
        memory_budget_mb: What isolates may take together; 0: three quarters of the machine.
        memory_reserve_mb: What must stay free on the machine; 0: a sixteenth of it, at most 512 MB.
    """

    budget: int = 512
    calls: int = 10_000
    idle_s: float = 300.0
    descriptors: int = 64
    spares: int = 4
    spare_memory_mb: int = 128
    frame_bytes: int = 1024 * 1024 + 64 * 1024
    waiting: int = 256
    tenant_waiting: int = 512
    all_waiting: int = 8192
    tenant_isolates: int = 0
    slots: int = 0
    memory_budget_mb: int = 0
    memory_reserve_mb: int = 0


@dataclass(frozen=True, slots=True)
class PoolStats:
    """How the pool stands."""

    alive: int
    idle: int
    waiting: int
    spawned: int
    killed: int
    zygote_restarts: int
    zygote_rotations: int = 0
    running: int = 0
    tenants: int = 0
    memory_kb: int = 0
    memory_budget_kb: int = 0


class IsolatePool:
    """Runs calls on isolates of one supervisor."""

    def __init__(self, supervisor: Supervisor, settings: PoolSettings) -> None:
        self._supervisor = supervisor
        self._settings = settings
        self._memory = MemoryGauge(settings.memory_budget_mb, settings.memory_reserve_mb, supervisor.memory_bytes)
        self._zygote_kb = 0
        self._tenants: dict[str, Tenant] = {}
        self._places: dict[str, Place] = {}
        self._shelf = IdleShelf()
        self._turns = Turns()
        self._slots = Slots(settings.slots or (os.cpu_count() or 1) + 2, self._turns, self._dispatch)
        self._spares = Spares(
            supervisor,
            self._has_room_beside,
            count=settings.spares,
            memory_mb=settings.spare_memory_mb,
            descriptors=settings.descriptors,
            frame_bytes=settings.frame_bytes,
        )
        self._count = 0
        self._is_running = False
        self._spawned = 0
        self._killed = 0
        self._keepers: list[asyncio.Task[None]] = []
        self._again: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Start the zygote.

        Raises:
            IsolationError: The level cannot be held.
        """
        _raise_descriptor_limit(self._settings.budget)
        self._supervisor.limit_memory(self._memory.budget_kb * 1024)
        self._supervisor.on_change = self._on_new_zygote
        await self._supervisor.start()
        self._zygote_kb = self._supervisor.zygote_kb()
        self._is_running = True
        loop = asyncio.get_running_loop()
        self._keepers = [
            loop.create_task(self._sweep(), name="isolate-sweeper"),
            loop.create_task(self._spares.keep(), name="isolate-spares"),
        ]
        self._spares.refill()

    async def stop(self) -> None:
        """End every isolate and the zygote."""
        self._is_running = False
        for task in self._keepers:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._keepers = []
        self._slots.stop()
        self._spares.end()
        for waiter in self._turns.clear():
            if not waiter.isolate.done():
                waiter.isolate.set_result(None)
        for place in list(self._places.values()):
            for isolate in list(place.isolates):
                self._end(isolate)
        await self._supervisor.stop()

    async def run(self, spec: IsolateSpec, request: CallRequest, host_calls: HostCalls) -> CallResult:
        """Run one call; waiting for a free isolate counts against its wall-clock limit."""
        started = time.monotonic()
        for attempt in range(_ATTEMPTS):
            try:
                isolate = await self._ask(spec, request, started)
            except (IsolationError, OSError) as error:
                return _unsealed(error)
            if isolate is None:
                return self._refusal(spec, started)
            try:
                result = await isolate.call(request, host_calls)
            except BaseException:
                self._give_back(isolate, None)
                raise
            self._give_back(isolate, result)
            left_ms = request.limits.wall_ms - int((time.monotonic() - started) * 1000)
            if not result.is_unstarted:
                return result
            if left_ms <= 0 or attempt == _ATTEMPTS - 1:
                break
            # It is certain that it has not begun, so once more does no harm.
            _log.warning("a call is made again: its isolate was lost before it began", plugin=spec.slug)
            request = replace(request, limits=replace(request.limits, wall_ms=left_ms))
        return CallResult("unsealed", failure=_NEVER_RAN, duration_us=int((time.monotonic() - started) * 1e6))

    async def retire(self, owner: str) -> None:
        """End idle isolates of an installation now, busy ones after their call."""
        place = self._places.get(owner)
        if place is None:
            return
        for isolate in list(place.isolates):
            self._retire(place, isolate)
        for waiter in place.queue:
            waiter.is_stale = True
        # What they held of the installation's number is free.
        self._dispatch()

    def stats(self) -> PoolStats:
        """How the pool stands now."""
        measured = self._supervisor.memory_bytes()
        return PoolStats(
            alive=self._count,
            idle=self._shelf.count,
            waiting=self._turns.count,
            spawned=self._spawned,
            killed=self._killed,
            zygote_restarts=self._supervisor.restarts,
            zygote_rotations=self._supervisor.rotations,
            running=len(self._slots.busy),
            tenants=len(self._tenants),
            memory_kb=self._memory.taken_kb if measured is None else measured // 1024,
            memory_budget_kb=self._memory.budget_kb,
        )

    def pids(self) -> list[int]:
        """Process ids of all living isolates."""
        return [isolate.pid for place in self._places.values() for isolate in place.isolates if isolate.pid]

    async def _ask(self, spec: IsolateSpec, request: CallRequest, started: float) -> Isolate | None:
        """An isolate, at once or in turn; None when too many wait, or it takes too long.

        Raises:
            IsolationError, OSError: None can be had.
        """
        if not self._is_running:
            raise IsolationError("this node is not running plugins")
        place = self._place(spec)
        place.asking += 1
        try:
            is_nested = _is_nested(request)
            return self._take(place, spec, is_nested) or await self._wait(place, spec, started, request)
        finally:
            place.asking -= 1
            self._tidy(place)

    # -- taking ----------------------------------------------------------------------------------------------------

    def _place(self, spec: IsolateSpec) -> Place:
        place = self._places.get(spec.owner)
        if place is None:
            name = spec.tenant_id or spec.owner
            tenant = self._tenants.get(name)
            if tenant is None:
                tenant = self._tenants[name] = Tenant(name)
            place = self._places[spec.owner] = Place(spec.owner, tenant)
            tenant.places.add(place)
        self._slots.note(place.tenant)
        return place

    def _take(self, place: Place, spec: IsolateSpec, is_nested: bool) -> Isolate | None:
        """An isolate at once; None when somebody is before this call, or there is none."""
        if place.queue or not self._slots.has_one_for(place.tenant):
            return None
        return self._obtain(place, spec, is_nested)

    def _obtain(self, place: Place, spec: IsolateSpec, is_nested: bool) -> Isolate | None:
        """An isolate and a slot for a call; None when there is no isolate, and no room for one.

        Raises:
            IsolationError, OSError: One cannot be started.
        """
        isolate = self._warm(place, spec.key)
        if isolate is None:
            if not self._has_room(place, spec, is_nested):
                return None
            try:
                isolate = self._spawn(place, spec)
            except ZygoteBusyError:
                if self._again is None:
                    self._again = asyncio.get_running_loop().call_later(_BUSY_S, self._dispatch_again)
                return None
        self._slots.begin(isolate, place)
        return isolate

    def _warm(self, place: Place, key: tuple[str, int]) -> Isolate | None:
        idle = place.idle.get(key)
        while idle:
            isolate = idle.pop()
            self._shelf.remove(place.tenant, isolate)
            if not isolate.is_dead:
                return isolate
            self._forget(isolate)
        return None

    def _has_room(self, place: Place, spec: IsolateSpec, is_nested: bool = False) -> bool:
        """Whether one more isolate may be started for an installation. Idle ones make room for it.

        Args:
            is_nested: For a call of another plugin, which waits for it. Where all that is in the way waits as well,
                nothing goes on unless one such call can begin. Chains are short and have no circles, so the limits are
                gone over by a few.
        """
        tenant = place.tenant
        if not self._supervisor.is_ready:
            return False
        if place.fresh >= spec.concurrency and not (is_nested and place.fresh <= place.resting):
            return False
        if place.held_until and asyncio.get_running_loop().time() < place.held_until:
            return False
        most = spec.tenant_isolates or self._settings.tenant_isolates or max(8, self._settings.budget // 4)
        while tenant.isolates >= most:
            if not tenant.idle:
                if is_nested and tenant.isolates <= tenant.resting:
                    break
                return False
            self._end(next(iter(tenant.idle)))
        while self._count >= self._settings.budget:
            if not self._evict():
                if is_nested and self._count <= self._slots.resting:
                    break
                return False
        memory = self._memory
        expected_kb = memory.expected_kb(place.footprint_kb, spec.memory_mb)
        while not memory.fits(expected_kb):
            if not self._count or (is_nested and self._count <= self._slots.resting):
                # Nothing of ours is in the way. Without this, a machine that is short for other reasons would run
                # nothing at all, where one isolate is about what a query of the database takes.
                break
            if not self._evict():
                return False
            memory.look()
        return True

    def _has_room_beside(self, spares: int) -> bool:
        """Whether one more isolate may live, with so many spares."""
        return self._count + spares < self._settings.budget

    def _spawn(self, place: Place, spec: IsolateSpec) -> Isolate:
        # One that crashes all the time would take the spares from everybody else.
        spare = self._spares.take(spec) if place.crashes <= _CRASHES_FREE else None
        isolate = spare or self._spares.make(spec)
        isolate.on_lost = self._on_lost
        isolate.on_rest = self._on_rest
        isolate.footprint_kb = self._memory.expected_kb(place.footprint_kb, spec.memory_mb)
        self._memory.taken_kb += isolate.footprint_kb
        self._memory.promise(isolate.footprint_kb)
        place.isolates.add(isolate)
        place.fresh += 1
        place.tenant.isolates += 1
        self._count += 1
        self._spawned += 1
        return isolate

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def _wait(self, place: Place, spec: IsolateSpec, started: float, request: CallRequest) -> Isolate | None:
        """In turn, until there is an isolate; None when too many wait, or it takes too long."""
        settings = self._settings
        if (
            len(place.queue) >= settings.waiting
            or place.tenant.waiters >= settings.tenant_waiting
            or self._turns.count >= settings.all_waiting
        ):
            return None
        loop = asyncio.get_running_loop()
        left_s = started + request.limits.wall_ms / 1000 - time.monotonic()
        if not self._supervisor.is_ready:
            left_s = min(left_s, _ZYGOTE_WAIT_S)
        waiter = Waiter(spec, loop.create_future(), is_nested=_is_nested(request))
        self._turns.join(place, waiter)
        try:
            # Neither cancels the future nor loses its result when this task is cancelled.
            await asyncio.wait((waiter.isolate,), timeout=left_s)
        except BaseException:
            # What was meant for us is the next one's.
            if waiter.isolate.done() and waiter.isolate.exception() is None:
                isolate = waiter.isolate.result()
                if isolate is not None:
                    self._give_back(isolate, None)
            raise
        finally:
            self._turns.leave(place, waiter)
        if waiter.isolate.done():
            return waiter.isolate.result()
        if not self._supervisor.is_ready:
            raise IsolationError("no zygote is running", retry_after_s=1)
        return None

    def _refusal(self, spec: IsolateSpec, started: float) -> CallResult:
        failure = wire.Failure(
            "overloaded", "no isolate was free in time", "Try again later.", retry_after_s=self._retry_after_s(spec)
        )
        return CallResult("overloaded", failure=failure, duration_us=int((time.monotonic() - started) * 1e6))

    def _retry_after_s(self, spec: IsolateSpec) -> float:
        """When what waits now will have had its turn."""
        place = self._places.get(spec.owner)
        if place is None:
            return _RETRY_LEAST_S
        abreast = max(1, min(place.fresh, spec.concurrency))
        return round(min(max(len(place.queue) * place.call_s / abreast, _RETRY_LEAST_S), _RETRY_MOST_S), 1)

    def _dispatch(self) -> None:
        """Hand what is free to those who wait, in turn."""
        while self._turns.count and self._dispatch_one():
            pass

    def _dispatch_again(self) -> None:
        self._again = None
        self._dispatch()

    def _dispatch_one(self) -> bool:
        for number, tenant in enumerate(self._turns.in_order()):
            if number == _LOOKED_AT:
                return False
            if not self._slots.has_one_for(tenant):
                continue
            for place in sorted(tenant.waiting, key=lambda place: place.clock):
                if not place.queue:
                    continue
                waiter = place.queue[0]
                try:
                    isolate = self._obtain(place, waiter.spec, waiter.is_nested)
                except (IsolationError, OSError) as error:
                    self._turns.leave(place, waiter)
                    waiter.isolate.set_exception(error)
                    return True
                if isolate is not None:
                    if waiter.is_stale:
                        # It was asked for before; it gets its answer, and nobody after it one from there.
                        self._retire(place, isolate)
                    self._turns.leave(place, waiter)
                    self._turns.served(tenant)
                    waiter.isolate.set_result(isolate)
                    return True
        return False

    # -- giving back -----------------------------------------------------------------------------------------------

    def _give_back(self, isolate: Isolate, result: CallResult | None) -> None:
        running = self._slots.end(isolate)
        place = running.place
        if result is not None:
            self._turns.charge(place, max(0, result.cpu_us * 1000 - running.charged_ns) + _NODE_NS)
            place.took(result.duration_us / 1e6)
            self._note_end(place, result)
        if isolate.is_dead:
            self._killed += 1
            self._forget(isolate)
            if isolate.load_s > _HEAVY_S and place.crashes <= 1 and not isolate.is_retired:
                self._load_ahead(isolate)
        elif isolate.is_retired or (self._is_worn(place, isolate, result) and not self._has_heir(place, isolate)):
            self._end(isolate)
        else:
            place.idle.setdefault(isolate.spec.key, []).append(isolate)
            self._shelf.add(place.tenant, isolate)
        if self._turns.count:
            self._dispatch()

    def _is_worn(self, place: Place, isolate: Isolate, result: CallResult | None) -> bool:
        if isolate.calls >= self._settings.calls or self._is_swollen(place, isolate, result):
            isolate.is_worn = True
        return isolate.is_worn

    def _has_heir(self, place: Place, isolate: Isolate) -> bool:
        """Whether a plugin that takes long to load has its next isolate loading, while a worn one goes on."""
        if isolate.load_s <= _HEAVY_S:
            return False
        if place.heir is None and self._is_running and self._has_room(place, isolate.spec):
            with contextlib.suppress(IsolationError, OSError):
                heir = place.heir = self._spawn(place, isolate.spec)
                heir.load_s = isolate.load_s
                heir.on_word = lambda: self._inherit(place, heir)
        return place.heir is not None

    def _inherit(self, place: Place, heir: Isolate) -> None:
        """It is loaded: calls go to it from now on."""
        heir.on_word = None
        if place.heir is not heir:
            return
        place.heir = None
        place.idle.setdefault(heir.spec.key, []).append(heir)
        self._shelf.add(place.tenant, heir)
        for isolate in list(place.isolates):
            if isolate.is_worn:
                self._retire(place, isolate)
        if self._turns.count:
            self._dispatch()

    def _load_ahead(self, lost: Isolate) -> None:
        """Start the next isolate of an installation before its next call."""
        place = self._place(lost.spec)
        if self._is_running and self._has_room(place, lost.spec):
            with contextlib.suppress(IsolationError, OSError):
                fresh = self._spawn(place, lost.spec)
                fresh.load_s = lost.load_s
                place.idle.setdefault(lost.spec.key, []).append(fresh)
                self._shelf.add(place.tenant, fresh)
        self._tidy(place)

    def _note_end(self, place: Place, result: CallResult) -> None:
        """Isolates that end badly, one after the other, are started less and less often."""
        if result.status in ("ok", "failed"):
            place.crashes = 0
            place.held_until = 0.0
        elif result.status in ("crashed", "memory", "violation") and not result.is_unstarted:
            place.crashes += 1
            loop = asyncio.get_running_loop()
            again = place.crashes - _CRASHES_FREE
            delay_s = min(_HOLD_S * 2 ** min(again, 10), _HOLD_MOST_S) if again > 0 else 0.0
            place.held_until = loop.time() + delay_s
            if delay_s:
                loop.call_later(delay_s, self._dispatch)

    def _is_swollen(self, place: Place, isolate: Isolate, result: CallResult | None) -> bool:
        if isolate.calls % _MEMORY_CHECK_CALLS != 1:
            return False
        resident_kb = isolate.memory_kb()
        self._measure(place, isolate, resident_kb)
        if result is not None:
            # Looked at for itself; that it can be told to the tenant as well costs nothing.
            result.peak_kb = resident_kb
        return resident_kb > isolate.spec.memory_mb * 1024 * _MEMORY_WATERMARK

    def _measure(self, place: Place, isolate: Isolate, resident_kb: int) -> None:
        footprint_kb = self._memory.footprint_kb(resident_kb, self._zygote_kb)
        self._memory.taken_kb += footprint_kb - isolate.footprint_kb
        isolate.footprint_kb = place.footprint_kb = footprint_kb

    def _retire(self, place: Place, isolate: Isolate) -> None:
        """No further call for it."""
        if not isolate.is_retired:
            isolate.is_retired = True
            place.fresh -= 1
        if isolate not in self._slots.busy:
            self._end(isolate)

    def _evict(self) -> bool:
        """End an idle isolate; whether there was one."""
        isolate = self._shelf.first_to_go()
        if isolate is None:
            return False
        self._end(isolate)
        return True

    def _end(self, isolate: Isolate) -> None:
        isolate.kill("crashed")
        self._forget(isolate)

    def _forget(self, isolate: Isolate) -> None:
        place = self._places.get(isolate.spec.owner)
        if place is None or isolate not in place.isolates:
            return
        self._shelf.remove(place.tenant, isolate)
        idle = place.idle.get(isolate.spec.key)
        if idle is not None:
            with contextlib.suppress(ValueError):
                idle.remove(isolate)
            if not idle:
                del place.idle[isolate.spec.key]
        place.isolates.discard(isolate)
        if place.heir is isolate:
            place.heir = None
        if not isolate.is_retired:
            place.fresh -= 1
        place.tenant.isolates -= 1
        self._count -= 1
        self._memory.taken_kb -= isolate.footprint_kb
        self._tidy(place)

    def _tidy(self, place: Place) -> None:
        """Forget an installation that has nothing here any more, unless there is something to hold against it."""
        if place.isolates or place.asking or place.held_until:
            return
        tenant = place.tenant
        if self._places.pop(place.owner, None) is not None:
            tenant.places.discard(place)
        if not tenant.places and not tenant.running:
            self._tenants.pop(tenant.id, None)

    def _on_lost(self, isolate: Isolate) -> None:
        """An isolate has ended by itself, or by somebody else's hand."""
        if isolate in self._slots.busy:
            return
        place = self._places.get(isolate.spec.owner)
        if place is None or isolate not in place.isolates:
            return
        self._killed += 1
        spec = isolate.spec
        is_wanted = not (isolate.is_retired or isolate.is_outdated or isolate.zygote_is_gone) and isolate.calls > 0
        self._forget(isolate)
        now = time.monotonic()
        if not is_wanted or not self._is_running or now - place.replaced_at < _REPLACED_EVERY_S:
            return
        # Before the next call meets it. Not again and again: it may be the plugin's own doing.
        self._place(spec).replaced_at = now
        self._load_ahead(isolate)

    def _on_rest(self, isolate: Isolate, rests: bool) -> None:
        """An isolate begins to wait for a call of another plugin, or has its answer."""
        (self._slots.rest if rests else self._slots.wake)(isolate)

    def _on_new_zygote(self) -> None:
        """Isolates are asked of another zygote from now on, spares too; those who waited for it have their turn."""
        self._zygote_kb = self._supervisor.zygote_kb()
        self._spares.refill()
        self._dispatch()

    # -- looking after ---------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """End what nobody has used for long, and what is not well in its sleep; watch the machine's memory."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._zygote_kb = self._supervisor.zygote_kb()
            self._relieve()
            self._spares.refill()
            horizon = time.monotonic() - self._settings.idle_s
            old = max(_OLD_AT_LEAST, self._count // _OLD_PART)
            for number, isolate in enumerate(list(self._shelf)):
                if not number % _SWEEP_AT_ONCE:
                    # With thousands of them this takes long, and calls must not wait for it.
                    await asyncio.sleep(0)
                if isolate in self._slots.busy:
                    continue
                if isolate.is_outdated and not isolate.is_dead:
                    # A few at a time: their next calls are first ones again.
                    old -= 1
                    if old >= 0:
                        self._end(isolate)
                        continue
                self._look_after(isolate, horizon)
            self._forgive()
            if self._turns.count:
                self._dispatch()

    def _forgive(self) -> None:
        now = asyncio.get_running_loop().time()
        for place in [place for place in self._places.values() if place.held_until]:
            if now > place.held_until + _FORGIVEN_S:
                place.held_until, place.crashes = 0.0, 0
                self._tidy(place)

    def _look_after(self, isolate: Isolate, horizon: float) -> None:
        """One that is idle."""
        if isolate.is_dead:
            self._forget(isolate)
        elif isolate.last_used < horizon - (self._settings.idle_s * _HEAVY_IDLE if isolate.load_s > _HEAVY_S else 0):
            self._end(isolate)
        elif isolate.idle_cpu_ns() > _IDLE_CPU_NS:
            # A thread, or a forged end of a call, outlives the call and with it the call's limits.
            _log.warning("a plugin works between calls", plugin=isolate.spec.slug, owner=isolate.spec.owner)
            self._killed += 1
            self._end(isolate)
        elif isolate.is_lowered and isolate.last_used < horizon + self._settings.idle_s - _LOWERED_IDLE_S:
            # Where it cannot get back what it had, a fresh one has it.
            is_restored = isolate.restore()
            if not is_restored:
                self._end(isolate)

    def _relieve(self) -> None:
        """Give memory back while the machine is short of it: idle isolates, in need the largest tenant's largest."""
        memory = self._memory
        memory.look()
        while memory.is_short and self._evict():
            memory.look()
        if not memory.is_critical or not self._slots.busy:
            return
        for isolate, running in self._slots.busy.items():
            self._measure(running.place, isolate, isolate.memory_kb())
        sizes: dict[Tenant, int] = {}
        for isolate, running in self._slots.busy.items():
            sizes[running.place.tenant] = sizes.get(running.place.tenant, 0) + isolate.footprint_kb
        largest = max(sizes, key=lambda tenant: sizes[tenant])
        isolate = max(
            (isolate for isolate, running in self._slots.busy.items() if running.place.tenant is largest),
            key=lambda isolate: isolate.footprint_kb,
        )
        _log.error("the machine is short of memory: a running call is ended", plugin=isolate.spec.slug,
            owner=isolate.spec.owner, kb=isolate.footprint_kb)  # fmt: skip
        isolate.kill("overloaded")


def _is_nested(request: CallRequest) -> bool:
    """Whether a call of another plugin waits for this one."""
    execution = request.context.execution
    return execution is not None and execution.depth > 0


def _unsealed(error: IsolationError | OSError) -> CallResult:
    if isinstance(error, IsolationError):
        after_s = error.data.get("retry_after_s")
        return CallResult("unsealed", failure=wire.Failure(error.code, str(error), retry_after_s=after_s))
    # The caller is told what happened, and not where the host keeps its files.
    _log.error("an isolate could not be started", reason=str(error))
    text = f"an isolate could not be started: {error.strerror}"
    return CallResult("unsealed", failure=wire.Failure(IsolationError.code, text))


def _raise_descriptor_limit(budget: int) -> None:
    """As far as the system allows: the usual soft limit of 1,024 is less than a full pool takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = budget * _DESCRIPTORS_EACH + _DESCRIPTORS_ELSE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
