"""The node's side of zygotes: starts one, asks it for isolates, and replaces it when it dies, hangs, leaks or is old.

Isolates are asked of one. Another stands by, so that calls do not wait for a start when the first one dies. One that is
replaced in time goes on until its last isolate has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from jackfield.isolation.errors import IsolationError, ZygoteBusyError
from jackfield.isolation.zygotes import Birth, Death, Vitals, Zygote
from jackfield_sandbox.cgroup import Cgroup, CgroupParent, new_parent
from jackfield_sandbox.launch import start_zygote
from jackfield_sandbox.layers import Layer, layers_of
from jackfield_sandbox.uids import UidRange

__all__ = ["Birth", "Death", "Supervisor", "ZygoteSettings"]

_log = structlog.get_logger("jackfield.isolation")
_START_TIMEOUT_S = 30.0
_GONE_TIMEOUT_S = 5.0
_GROUP_STOCK = 4
_AGAIN_S = 2.0
_STOPPED = ("T", "t")


@dataclass(frozen=True, slots=True)
class ZygoteSettings:
    """When a zygote is replaced.

    Attributes:
        spawns: After so many isolates.
        lifetime_s: After so long.
        memory_mb: When it has grown to this; one that is well has some 30.
        table: When its table of descriptors has room for so many; one that is well has a handful open.
        answer_s: When a request has waited so long while nothing else was answered either, and it sleeps: it hangs.
        work_s: As before, when it is at work: on a machine that is short of everything a fork takes long.
        drain_s: How long isolates of the old one may go on.
        look_s: How often all this is looked at while isolates are asked of it or old ones go.
        rest_s: How often otherwise: one that nobody asks for anything can only have been stopped from outside.
        standby_after_s: How long after a start a second one is made ready, to take over when the first one dies.
    """

    spawns: int = 50_000
    lifetime_s: float = 12 * 3600.0
    memory_mb: int = 256
    table: int = 1024
    answer_s: float = 1.0
    work_s: float = 10.0
    drain_s: float = 60.0
    look_s: float = 0.25
    rest_s: float = 2.0
    standby_after_s: float = 3.0


class Supervisor:
    """The present zygote and everything that zygotes share.

    Args:
        level: Isolation level; all its layers are on, or `start` raises.
        cache: Where the standard library's image is kept.
        without: Layers left off; for the doctor only.
    """

    def __init__(
        self, level: str, cache: Path, *, without: Layer = Layer(0), settings: ZygoteSettings | None = None
    ) -> None:
        self.level = level
        self.layers = layers_of(level) & ~without
        self.zygote_layers = Layer(0)
        self.restarts = 0
        self.rotations = 0
        self.on_change: Callable[[], None] | None = None
        """Told when isolates are asked of another zygote than before."""
        self._cache = cache
        self._without = without
        self._settings = settings or ZygoteSettings()
        self._memory_bytes: int | None = None
        self._zygote: Zygote | None = None
        self._standby: Zygote | None = None
        self._draining: dict[Zygote, float] = {}
        self._ended: set[Zygote] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._uids: UidRange | None = None
        self._free_uids: list[int] = []
        self._groups: CgroupParent | None = None
        self._stock: list[Cgroup] = []
        self._restart: asyncio.Task[None] | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._is_asked = asyncio.Event()
        self._may_lack_standby = asyncio.Event()

    async def start(self) -> None:
        """Start a zygote and wait until it is sealed and ready.

        Raises:
            IsolationError: A layer of the level cannot be had here; the message names it.
        """
        try:
            if Layer.OWN_UID in self.layers and self._uids is None:
                self._uids = UidRange.open()
                self._free_uids = list(range(self._uids.first + self._uids.size - 1, self._uids.first - 1, -1))
            if Layer.CGROUP in self.layers and self._groups is None:
                self._groups = new_parent()
                if self._memory_bytes is not None:
                    self._groups.limit(self._memory_bytes)
            self._zygote = await self._start_one()
        except (OSError, RuntimeError, IsolationError) as error:
            await self._release()
            raise IsolationError(f"isolation level {self.level} cannot be held: {error}") from error
        self.zygote_layers = self._zygote.layers
        if not self._keepers:
            loop = asyncio.get_running_loop()
            self._keepers = [
                loop.create_task(self._watch(), name="zygote-watcher"),
                loop.create_task(self._stand_by(), name="zygote-standby"),
            ]

    async def stop(self) -> None:
        """End the zygote, every isolate, and remove what they had. It can be started again."""
        self._is_stopping = True
        for task in (*self._keepers, self._restart):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, IsolationError):
                    await task
        self._keepers, self._restart = [], None
        await self._release()
        self._is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether isolates can be asked for."""
        return self._zygote is not None and not self._is_stopping

    @property
    def zygote_pid(self) -> int | None:
        """Process id of the present zygote's outer half."""
        return None if self._zygote is None else self._zygote.pid

    @property
    def zygote_pids(self) -> list[int]:
        """Process ids of all zygotes that are there, both halves."""
        zygotes = [self._zygote, self._standby, *self._draining, *self._ended]
        return sorted({pid for zygote in zygotes if zygote for pid in (zygote.pid, zygote.inner_pid) if pid})

    def limit_memory(self, memory_bytes: int) -> None:
        """What all isolates together may take, where the kernel can hold it; before `start`."""
        self._memory_bytes = memory_bytes

    def memory_bytes(self) -> int | None:
        """What all isolates take together beyond what they share with their zygote; None where nobody counts it."""
        return None if self._groups is None else self._groups.used_bytes()

    def zygote_kb(self) -> int:
        """Resident memory of the present zygote, which its isolates share; 0 when nothing can be seen of it."""
        vitals = None if self._zygote is None else self._zygote.vitals()
        return 0 if vitals is None else vitals.rss_kb

    def spawn(
        self,
        channel: socket.socket,
        image: int,
        memory_bytes: int,
        descriptors: int,
        threads: int,
        on_death: Callable[[Death], None],
        stray: int | None = None,
    ) -> Birth:
        """Ask for an isolate. The channel can be written to at once; the isolate reads when it is sealed.

        Args:
            stray: A descriptor that the isolate must not be able to use: the doctor's bait.

        Raises:
            ZygoteBusyError: There is no zygote at the moment, or it is behind.
            IsolationError: Something else is used up.
        """
        zygote = self._zygote
        if zygote is None or self._is_stopping:
            raise ZygoteBusyError("no zygote is running", retry_after_s=1)
        if self._uids is not None and not self._free_uids:
            raise IsolationError("no user id is free for another isolate", retry_after_s=1)
        group = self._take_group(memory_bytes)
        uid = 0 if self._uids is None else self._free_uids.pop()
        passed = [channel.fileno(), image, *([] if group is None else [group.procs])]
        if stray is not None:
            passed.append(stray)
        try:
            self._is_asked.set()
            return zygote.spawn(uid, group, memory_bytes, descriptors, threads, passed, on_death)
        except OSError as error:
            self._recycle(uid, group, is_clean=True)
            if not isinstance(error, BlockingIOError):
                self._on_end(zygote)
            raise ZygoteBusyError(f"the zygote does not take requests: {error}", retry_after_s=1) from error

    async def rotate(self) -> None:
        """Start a new zygote, ask isolates of it from then on, and end the old one when it has none left.

        Raises:
            IsolationError: No new one can be started; the old one stays.
        """
        try:
            new = self._take_standby() or await self._start_one()
        except (OSError, RuntimeError) as error:
            raise IsolationError(f"no new zygote can be started: {error}") from error
        old, self._zygote = self._zygote, new
        self.rotations += 1
        if old is not None:
            old.is_draining = True
            self._draining[old] = time.monotonic() + self._settings.drain_s
        self._tell()

    # -- zygotes ---------------------------------------------------------------------------------------------------

    async def _start_one(self) -> Zygote:
        # On this thread: the kernel ends the zygote together with the thread that started it.
        process, control = start_zygote(self.level, cache=self._cache, without=self._without)
        zygote = Zygote(process, control, self._on_exit, self._on_end)
        try:
            await zygote.ready(_START_TIMEOUT_S)
        except BaseException:
            self._end(zygote)
            raise
        return zygote

    def _take_standby(self) -> Zygote | None:
        """The one that stands by, if it is well."""
        zygote, self._standby = self._standby, None
        self._may_lack_standby.set()
        if zygote is None or zygote.is_ended:
            return None
        vitals = zygote.vitals()
        if vitals is None or vitals.state in _STOPPED:
            self._end(zygote)
            return None
        return zygote

    def _end(self, zygote: Zygote) -> None:
        """End one; it is waited for in `_release` at the latest."""
        self._ended.add(zygote)
        zygote.end()

        async def forget() -> None:
            await zygote.gone()
            self._ended.discard(zygote)

        task = asyncio.get_running_loop().create_task(forget(), name="zygote-end")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _release(self) -> None:
        for zygote in (*self._draining, self._standby, self._zygote):
            if zygote is not None:
                self._end(zygote)
        self._zygote = self._standby = None
        self._draining.clear()
        if self._endings:
            await asyncio.wait(self._endings, timeout=_GONE_TIMEOUT_S)
        if self._groups is not None:
            for group in self._stock:
                self._groups.give_back(group)
            self._stock.clear()
            self._groups.close()
            self._groups = None
        if self._uids is not None:
            self._uids.close()
            self._uids = None
            self._free_uids.clear()

    def _on_end(self, zygote: Zygote) -> None:
        """A zygote has died, or has to."""
        _log.error("a zygote has died", isolates=len(zygote.births), draining=zygote.is_draining)
        self._draining.pop(zygote, None)
        if zygote is self._standby:
            self._standby = None
            self._may_lack_standby.set()
        is_present = zygote is self._zygote
        if is_present:
            self._zygote = None
        self._end(zygote)
        if not is_present or self._is_stopping:
            return
        self._zygote = self._take_standby()
        if self._zygote is None:
            self._begin_restart()
        else:
            self.restarts += 1
            self._tell()

    def _begin_restart(self) -> None:
        if self._restart is None or self._restart.done():
            self._restart = asyncio.get_running_loop().create_task(self._start_again(), name="zygote-restart")

    async def _start_again(self) -> None:
        delay_s = 0.05
        while not self._is_stopping:
            self.restarts += 1
            try:
                zygote = await self._start_one()
            except (OSError, RuntimeError, IsolationError) as error:
                _log.error("the zygote cannot be started again", reason=str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 5.0)
            else:
                if self._zygote is not None:
                    self._end(zygote)
                    return
                self._zygote = zygote
                self._may_lack_standby.set()
                _log.info("a new zygote runs", restarts=self.restarts)
                self._tell()
                return

    def _tell(self) -> None:
        if self.on_change is not None:
            # Not from within a `spawn` that has just found out that its zygote is dead.
            asyncio.get_running_loop().call_soon(self.on_change)

    async def _watch(self) -> None:
        """Replace the present zygote when it is not well, end old ones when they are done."""
        while True:
            await self._rest()
            now = time.monotonic()
            for zygote, until in list(self._draining.items()):
                if not zygote.births or now > until:
                    del self._draining[zygote]
                    self._end(zygote)
                elif self._hangs(zygote, zygote.vitals()):
                    # What it was asked for will never come. The living go on; who waits is told, and asks the new one.
                    zygote.give_up_unborn()
            if self._groups is not None:
                self._groups.tidy()
            zygote = self._zygote
            reason = None if zygote is None else self._ailment(zygote, now)
            if zygote is None or reason is None:
                continue
            _log.warning("a zygote is replaced", reason=reason, isolates=len(zygote.births), spawned=zygote.spawned)
            try:
                await self.rotate()
            except IsolationError as error:
                _log.error("the zygote cannot be replaced", reason=str(error))
                await asyncio.sleep(_AGAIN_S)

    async def _rest(self) -> None:
        """Until the next look: long while nothing is asked and nothing drains, so that an idle node sleeps."""
        self._is_asked.clear()
        if not self._draining and (self._zygote is None or not self._zygote.is_awaited):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._settings.rest_s - self._settings.look_s)):
                    await self._is_asked.wait()
        await asyncio.sleep(self._settings.look_s)

    async def _stand_by(self) -> None:
        """See to it that there is a second one."""
        await asyncio.sleep(self._settings.standby_after_s)
        while True:
            self._may_lack_standby.clear()
            try:
                if self._standby is None and self._zygote is not None:
                    self._standby = await self._start_one()
            except (OSError, RuntimeError, IsolationError) as error:
                _log.error("no second zygote can be started", reason=str(error))
                await asyncio.sleep(_AGAIN_S)
                continue
            await self._may_lack_standby.wait()
            # Whoever takes the place of a dead one starts first.
            await asyncio.sleep(self._settings.look_s)

    def _hangs(self, zygote: Zygote, vitals: Vitals | None) -> bool:
        silent_s = zygote.silent_s()
        state = "" if vitals is None else vitals.state
        return state in _STOPPED or silent_s > (self._settings.answer_s if state == "S" else self._settings.work_s)

    def _ailment(self, zygote: Zygote, now: float) -> str | None:
        settings = self._settings
        vitals = zygote.vitals()
        if self._hangs(zygote, vitals):
            return "it does not answer"
        if vitals is not None:
            if vitals.rss_kb > settings.memory_mb * 1024:
                return "memory"
            if vitals.table > settings.table:
                return "descriptors"
        if zygote.spawned >= settings.spawns:
            return "spawns"
        return "age" if now - zygote.started_at > settings.lifetime_s else None

    # -- what zygotes share ----------------------------------------------------------------------------------------

    def _take_group(self, memory_bytes: int) -> Cgroup | None:
        if self._groups is None:
            return None
        try:
            if self._stock:
                group = self._stock.pop()
                self._groups.resize(group, memory_bytes)
                return group
            return self._groups.take(memory_bytes)
        except OSError as error:
            raise IsolationError(f"no memory group for another isolate: {error}", retry_after_s=1) from error

    def _on_exit(self, birth: Birth, death: Death) -> None:
        group, birth.group = birth.group, None
        if group is not None and not death.with_zygote:
            with contextlib.suppress(OSError):
                if group.oom_kills() > 0:
                    death = replace(death, oom_kill=True)
        birth.death = death
        # A group that has killed once would say so for ever; one whose process was not seen to go may still hold it.
        self._recycle(birth.uid, group, is_clean=death.is_measured and not death.oom_kill)
        birth.on_death(death)

    def _recycle(self, uid: int, group: Cgroup | None, *, is_clean: bool) -> None:
        if uid and self._uids is not None:
            # To the far end, so that an id rests as long as possible before it is used again.
            self._free_uids.insert(0, uid)
        if group is not None and self._groups is not None:
            if is_clean and len(self._stock) < _GROUP_STOCK:
                self._stock.append(group)
            else:
                self._groups.give_back(group)
