"""The pool: warm reuse by the same installation and revision, another isolate when it is busy, least used out first."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path

import structlog

from jackfield.isolation.errors import IsolationError
from jackfield.isolation.interfaces import CallRequest, CallResult, HostCalls, IsolateSpec
from jackfield.isolation.isolate import Isolate
from jackfield.isolation.supervisor import Supervisor
from jackfield_sdk import wire

__all__ = ["IsolatePool", "PoolSettings", "PoolStats"]

_log = structlog.get_logger("jackfield.isolation")
_SWEEP_S = 1.0
_IDLE_CPU_NS = 50_000_000
"""Processor time that an isolate may use between calls: who rests needs none."""
_MEMORY_CHECK_CALLS = 64
_MEMORY_WATERMARK = 0.75
_INLINE_BYTES = 512 * 1024
"""Largest code image that is sent through the channel; larger ones are mapped, and shared."""
_INLINE_IMAGES = 64
_REFILL_PAUSE_S = 0.005
_DESCRIPTORS_EACH = 2
"""What an isolate costs this process: its channel, and the handle that it is killed by."""
_DESCRIPTORS_ELSE = 4096


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
    """

    budget: int = 512
    calls: int = 10_000
    idle_s: float = 300.0
    descriptors: int = 64
    spares: int = 4
    spare_memory_mb: int = 128
    frame_bytes: int = 1024 * 1024 + 64 * 1024
    waiting: int = 256


@dataclass(frozen=True, slots=True)
class PoolStats:
    """How the pool stands."""

    alive: int
    idle: int
    waiting: int
    spawned: int
    killed: int
    zygote_restarts: int


class IsolatePool:
    """Runs calls on isolates of one supervisor."""

    def __init__(self, supervisor: Supervisor, settings: PoolSettings) -> None:
        self._supervisor = supervisor
        self._settings = settings
        self._idle: dict[tuple[str, int], list[Isolate]] = {}
        self._by_use: OrderedDict[Isolate, None] = OrderedDict()
        self._alive: dict[str, set[Isolate]] = {}
        self._count = 0
        # By installation, so that a crowd before one of them costs the others nothing.
        self._waiting: OrderedDict[str, deque[tuple[IsolateSpec, asyncio.Future[Isolate | None]]]] = OrderedDict()
        self._is_stopping = False
        self._spawned = 0
        self._killed = 0
        self._spares: list[Isolate] = []
        self._images: OrderedDict[Path, bytes] = OrderedDict()
        self._sweeper: asyncio.Task[None] | None = None
        self._refiller: asyncio.Task[None] | None = None
        self._wants_spares = asyncio.Event()

    async def start(self) -> None:
        """Start the zygote.

        Raises:
            IsolationError: The level cannot be held.
        """
        self._is_stopping = False
        _raise_descriptor_limit(self._settings.budget)
        await self._supervisor.start()
        loop = asyncio.get_running_loop()
        self._sweeper = loop.create_task(self._sweep(), name="isolate-sweeper")
        self._refiller = loop.create_task(self._refill(), name="isolate-refiller")
        self._wants_spares.set()

    async def stop(self) -> None:
        """End every isolate and the zygote."""
        for task in (self._sweeper, self._refiller):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        while self._spares:
            self._spares.pop().kill("crashed")
        self._is_stopping = True
        for queue in self._waiting.values():
            for _spec, waiter in queue:
                waiter.set_result(None)
        self._waiting.clear()
        for group in list(self._alive.values()):
            for isolate in list(group):
                self._end(isolate)
        await self._supervisor.stop()

    async def run(self, spec: IsolateSpec, request: CallRequest, host_calls: HostCalls) -> CallResult:
        """Run one call; waiting for a free isolate counts against its wall-clock limit."""
        started = time.monotonic()
        try:
            isolate = self._take(spec, request) or await self._wait(spec, request)
        except (IsolationError, OSError) as error:
            if isinstance(error, IsolationError):
                return CallResult("unsealed", failure=wire.Failure(error.code, str(error)))
            # The caller is told what happened, and not where the host keeps its files.
            _log.error("an isolate could not be started", reason=str(error))
            text = f"an isolate could not be started: {error.strerror}"
            return CallResult("unsealed", failure=wire.Failure("isolation-unavailable", text))
        if isolate is None:
            return CallResult(
                "overloaded",
                failure=wire.Failure(
                    "overloaded", "no isolate was free in time", "Try again shortly.", retry_after_s=1.0
                ),
                duration_us=int((time.monotonic() - started) * 1e6),
            )
        try:
            return await isolate.call(request, host_calls)
        finally:
            self._give_back(isolate)

    async def retire(self, owner: str) -> None:
        """End idle isolates of an installation now, busy ones after their call."""
        for isolate in list(self._alive.get(owner, ())):
            isolate.is_retired = True
            if isolate in self._by_use:
                self._end(isolate)

    def stats(self) -> PoolStats:
        """How the pool stands now."""
        return PoolStats(
            self._count,
            len(self._by_use),
            sum(map(len, self._waiting.values())),
            self._spawned,
            self._killed,
            self._supervisor.restarts,
        )

    def pids(self) -> list[int]:
        """Process ids of all living isolates."""
        return [isolate.pid for group in self._alive.values() for isolate in group if isolate.pid]

    # -- taking and giving back ------------------------------------------------------------------------------------

    def _take(self, spec: IsolateSpec, request: CallRequest) -> Isolate | None:
        idle = self._idle.get(spec.key)
        while idle:
            isolate = idle.pop()
            if not idle:
                del self._idle[spec.key]
            self._by_use.pop(isolate, None)
            if not isolate.is_dead:
                return isolate
            self._forget(isolate)
            idle = self._idle.get(spec.key)
        owned = self._alive.get(spec.owner)
        if owned is not None and sum(not i.is_retired for i in owned) >= spec.concurrency:
            return None
        if self._count >= self._settings.budget and not self._evict():
            return None
        return self._spawn(spec)

    def _spawn(self, spec: IsolateSpec) -> Isolate:
        isolate = self._from_spare(spec) or self._from_scratch(spec)
        self._alive.setdefault(spec.owner, set()).add(isolate)
        self._count += 1
        self._spawned += 1
        return isolate

    def _from_scratch(self, spec: IsolateSpec) -> Isolate:
        isolate = Isolate(
            self._supervisor,
            memory_mb=spec.memory_mb,
            descriptors=self._settings.descriptors,
            frame_bytes=self._settings.frame_bytes,
            image_path=spec.image_path,
        )
        isolate.assign(spec)
        return isolate

    def _from_spare(self, spec: IsolateSpec) -> Isolate | None:
        if spec.memory_mb != self._settings.spare_memory_mb:
            return None
        image = self._inline_image(spec.image_path)
        while image and self._spares:
            # The oldest one: the youngest may still be on its way into its memory group.
            isolate = self._spares.pop(0)
            self._wants_spares.set()
            if not isolate.is_dead:
                isolate.assign(spec, image)
                return isolate
        return None

    def _inline_image(self, path: Path) -> bytes:
        """A small image's bytes; nothing for a large one."""
        image = self._images.get(path)
        if image is None:
            image = path.read_bytes() if path.stat().st_size <= _INLINE_BYTES else b""
            self._images[path] = image
            if len(self._images) > _INLINE_IMAGES:
                self._images.popitem(last=False)
        else:
            self._images.move_to_end(path)
        return image

    async def _refill(self) -> None:
        """Keep spares ready, one after the other, so that making them does not hold up the calls that use them."""
        while True:
            await self._wants_spares.wait()
            self._wants_spares.clear()
            while len(self._spares) < self._settings.spares and self._count + len(self._spares) < self._settings.budget:
                await asyncio.sleep(_REFILL_PAUSE_S)
                try:
                    spare = Isolate(
                        self._supervisor,
                        memory_mb=self._settings.spare_memory_mb,
                        descriptors=self._settings.descriptors,
                        frame_bytes=self._settings.frame_bytes,
                        image_path=None,
                    )
                except (IsolationError, OSError) as error:
                    _log.warning("no spare isolate", reason=str(error))
                    await asyncio.sleep(1.0)
                else:
                    self._spares.append(spare)

    async def _wait(self, spec: IsolateSpec, request: CallRequest) -> Isolate | None:
        """In turn, until an isolate or a place for one is free; None when too many wait, or it takes too long."""
        if len(self._waiting.get(spec.owner, ())) >= self._settings.waiting:
            return None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.limits.wall_ms / 1000
        waiter: asyncio.Future[Isolate | None] = loop.create_future()
        entry = (spec, waiter)
        self._waiting.setdefault(spec.owner, deque()).append(entry)
        try:
            while True:
                # `wait` neither cancels the future nor loses its result when this task is cancelled.
                await asyncio.wait((waiter,), timeout=deadline - loop.time())
                if not waiter.done():
                    return None
                # A place has become free rather than an isolate; somebody may have been quicker.
                isolate = waiter.result()
                if isolate is None and not self._is_stopping:
                    isolate = self._take(spec, request)
                if isolate is not None or self._is_stopping:
                    return isolate
                waiter = loop.create_future()
                entry = (spec, waiter)
                self._waiting.setdefault(spec.owner, deque()).appendleft(entry)
        except BaseException:
            # Cancelled, or no isolate could be started: what was meant for us is the next one's.
            isolate = waiter.result() if waiter.done() else None
            if isolate is not None:
                self._give_back(isolate)
            elif waiter.done():
                self._serve_waiting()
            raise
        finally:
            if not waiter.done():
                self._leave_queue(entry)

    def _leave_queue(self, entry: tuple[IsolateSpec, asyncio.Future[Isolate | None]]) -> None:
        owner = entry[0].owner
        queue = self._waiting.get(owner)
        if queue is not None:
            with contextlib.suppress(ValueError):
                queue.remove(entry)
            if not queue:
                del self._waiting[owner]

    def _give_back(self, isolate: Isolate) -> None:
        if isolate.is_dead:
            self._killed += 1
            self._forget(isolate)
        elif isolate.is_retired or isolate.calls >= self._settings.calls or self._is_swollen(isolate):
            self._end(isolate)
        else:
            self._idle.setdefault(isolate.spec.key, []).append(isolate)
            self._by_use[isolate] = None
        if self._waiting:
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Hand what is free to the first of an installation that can use it; installations take turns."""
        for owner in list(self._waiting):
            entry = self._waiting[owner][0]
            spec, waiter = entry
            idle = self._idle.get(spec.key)
            isolate: Isolate | None = None
            if idle:
                isolate = idle.pop()
                if not idle:
                    del self._idle[spec.key]
                self._by_use.pop(isolate, None)
            else:
                has_room = self._count < self._settings.budget or bool(self._by_use)
                owned = self._alive.get(owner, ())
                if not has_room or sum(not i.is_retired for i in owned) >= spec.concurrency:
                    continue
            self._leave_queue(entry)
            if owner in self._waiting:
                self._waiting.move_to_end(owner)
            waiter.set_result(isolate)
            return

    def _is_swollen(self, isolate: Isolate) -> bool:
        if isolate.calls % _MEMORY_CHECK_CALLS:
            return False
        return isolate.memory_kb() > isolate.spec.memory_mb * 1024 * _MEMORY_WATERMARK

    def _evict(self) -> bool:
        """End the least recently used idle isolate; whether there was one."""
        if not self._by_use:
            return False
        self._end(next(iter(self._by_use)))
        return True

    def _end(self, isolate: Isolate) -> None:
        isolate.kill("crashed")
        self._forget(isolate)

    def _forget(self, isolate: Isolate) -> None:
        self._by_use.pop(isolate, None)
        idle = self._idle.get(isolate.spec.key)
        if idle and isolate in idle:
            idle.remove(isolate)
            if not idle:
                del self._idle[isolate.spec.key]
        group = self._alive.get(isolate.spec.owner)
        if group is not None and isolate in group:
            group.discard(isolate)
            self._count -= 1
            if not group:
                del self._alive[isolate.spec.owner]

    async def _sweep(self) -> None:
        """End what nobody has used for long, and what has died in its sleep."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            horizon = time.monotonic() - self._settings.idle_s
            if any(spare.is_dead for spare in self._spares):
                self._spares = [spare for spare in self._spares if not spare.is_dead]
            self._wants_spares.set()
            for isolate in list(self._by_use):
                if isolate.is_dead:
                    self._forget(isolate)
                elif isolate.last_used < horizon:
                    self._end(isolate)
                elif isolate.idle_cpu_ns() > _IDLE_CPU_NS:
                    # A thread, or a forged end of a call, outlives the call and with it the call's limits.
                    _log.warning("a plugin works between calls", plugin=isolate.spec.slug, owner=isolate.spec.owner)
                    self._killed += 1
                    self._end(isolate)


def _raise_descriptor_limit(budget: int) -> None:
    """As far as the system allows: the usual soft limit of 1,024 is less than a full pool takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = budget * _DESCRIPTORS_EACH + _DESCRIPTORS_ELSE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
