"""The node's side of a zygote: starts it, asks it for isolates, hears of their deaths, replaces it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from jackfield.isolation.errors import IsolationError
from jackfield_sandbox.cgroup import Cgroup, CgroupParent, new_parent
from jackfield_sandbox.launch import start_zygote
from jackfield_sandbox.layers import Layer, layers_of
from jackfield_sandbox.uids import UidRange
from jackfield_sandbox.zygote import Exited, Failed, Spawn, Spawned, Started, decode_from_zygote

__all__ = ["Birth", "Death", "Supervisor"]

_log = structlog.get_logger("jackfield.isolation")
_START_TIMEOUT_S = 30.0
_GROUP_STOCK = 4


@dataclass(frozen=True, slots=True)
class Death:
    """How an isolate ended.

    Attributes:
        status: As of wait(2).
        oom_kill: Whether the kernel killed it for its memory group's limit.
    """

    status: int
    peak_kb: int
    cpu_us: int
    oom_kill: bool


class Birth:
    """A spawn under way, and later a living isolate as the supervisor knows it."""

    __slots__ = ("_killed", "death", "group", "on_death", "pid", "pidfd", "uid")

    def __init__(self, uid: int, group: Cgroup | None, on_death: Callable[[Death], None]) -> None:
        self.uid = uid
        self.group = group
        self.on_death = on_death
        self.pidfd = -1
        self.pid = 0
        self.death: Death | None = None
        self._killed = False

    def born(self, pidfd: int) -> None:
        """The zygote has forked it."""
        self.pidfd = pidfd
        self.pid = _pid_of(pidfd)
        if self._killed:
            self.kill()

    def kill(self) -> None:
        """End it, whatever it is doing; at once, or as soon as it is born."""
        self._killed = True
        if self.pidfd >= 0 and self.death is None:
            with contextlib.suppress(ProcessLookupError):
                _send_kill(self.pidfd)


class Supervisor:
    """One zygote and everything it needs.

    Args:
        level: Isolation level; all its layers are on, or `start` raises.
        cache: Where the standard library's image is kept.
        without: Layers left off; for the doctor only.
    """

    def __init__(self, level: str, cache: Path, *, without: Layer = Layer(0)) -> None:
        self.level = level
        self.layers = layers_of(level) & ~without
        self.zygote_layers = Layer(0)
        self.restarts = 0
        self._cache = cache
        self._without = without
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._births: dict[int, Birth] = {}
        self._number = 0
        self._uids: UidRange | None = None
        self._free_uids: list[int] = []
        self._groups: CgroupParent | None = None
        self._stock: list[Cgroup] = []
        self._restart: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def start(self) -> None:
        """Start the zygote and wait until it is sealed and ready.

        Raises:
            IsolationError: A layer of the level cannot be had here; the message names it.
        """
        try:
            if Layer.OWN_UID in self.layers and self._uids is None:
                self._uids = UidRange.open()
                self._free_uids = list(range(self._uids.first + self._uids.size - 1, self._uids.first - 1, -1))
            if Layer.CGROUP in self.layers and self._groups is None:
                self._groups = new_parent()
            # On this thread: the kernel ends the zygote together with the thread that started it.
            self._process, self._control = start_zygote(self.level, cache=self._cache, without=self._without)
        except (OSError, RuntimeError) as error:
            self._release()
            raise IsolationError(f"isolation level {self.level} cannot be held: {error}") from error
        self._control.setblocking(False)  # the socket's own signature
        loop = asyncio.get_running_loop()
        try:
            data = await asyncio.wait_for(loop.sock_recv(self._control, 4096), _START_TIMEOUT_S)
        except (TimeoutError, ConnectionError):
            data = b""
        first = decode_from_zygote(data) if data else Failed(0, "it ended without a word")
        if not isinstance(first, Started):
            reason = first.reason if isinstance(first, Failed) else "it does not speak our protocol"
            self._release()
            raise IsolationError(f"isolation level {self.level} cannot be held: the zygote says: {reason}")
        self.zygote_layers = Layer(first.layers)
        loop.add_reader(self._control.fileno(), self._on_control)

    async def stop(self) -> None:
        """End the zygote, every isolate, and remove what they had. It can be started again."""
        self._is_stopping = True
        if self._restart is not None:
            self._restart.cancel()
            with contextlib.suppress(asyncio.CancelledError, IsolationError):
                await self._restart
            self._restart = None
        self._release()
        self._is_stopping = False

    def _release(self) -> None:
        self._drop_zygote()
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
            IsolationError: There is no zygote at the moment.
        """
        if self._control is None or self._is_stopping:
            raise IsolationError("no zygote is running", retry_after_s=1)
        if self._uids is not None and not self._free_uids:
            raise IsolationError("no user id is free for another isolate", retry_after_s=1)
        group = self._take_group(memory_bytes)
        uid = 0 if self._uids is None else self._free_uids.pop()
        self._number += 1
        number = self._number
        request = Spawn(number, uid, memory_bytes, descriptors, threads, group is not None)
        passed = [channel.fileno(), image, *([] if group is None else [group.procs])]
        if stray is not None:
            passed.append(stray)
        birth = Birth(uid, group, on_death)
        self._births[number] = birth
        try:
            socket.send_fds(self._control, [request.encode()], passed)
        except OSError as error:
            del self._births[number]
            self._recycle(birth)
            raise IsolationError(f"the zygote does not take requests: {error}", retry_after_s=1) from error
        return birth

    @property
    def zygote_pid(self) -> int | None:
        """Process id of the zygote's outer half."""
        return None if self._process is None else self._process.pid

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

    def _recycle(self, birth: Birth) -> None:
        if birth.uid:
            # To the far end, so that an id rests as long as possible before it is used again.
            self._free_uids.insert(0, birth.uid)
        if birth.group is not None and self._groups is not None:
            if len(self._stock) < _GROUP_STOCK:
                self._stock.append(birth.group)
            elif not self._groups.give_back(birth.group):
                _log.warning("memory group is still in use", path=str(birth.group.path))

    def _on_control(self) -> None:
        control = self._control
        if control is None:
            return
        for _ in range(64):
            try:
                data, descriptors, _flags, _address = socket.recv_fds(control, 4096, 2)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._on_zygote_death()
                return
            packet = decode_from_zygote(data)
            if isinstance(packet, Spawned):
                birth = self._births.get(packet.id)
                if not descriptors:
                    # This process has no descriptor left for it, so it could never be killed. All of them are: it is
                    # better to start again than to have one plugin that no limit can reach.
                    _log.error("out of descriptors: an isolate could not be taken over")
                    self._on_zygote_death()
                    return
                if birth is None:
                    os.close(descriptors[0])
                else:
                    birth.born(descriptors[0])
            elif isinstance(packet, Exited):
                self._on_exit(packet.id, packet.status, packet.peak_kb, packet.cpu_us)
            elif isinstance(packet, Failed):
                _log.error("an isolate could not be forked", reason=packet.reason)
                self._on_exit(packet.id, 0, 0, 0)

    def _on_exit(self, number: int, status: int, peak_kb: int, cpu_us: int) -> None:
        birth = self._births.pop(number, None)
        if birth is None:
            return
        oom_kill = False
        if birth.group is not None:
            with contextlib.suppress(OSError):
                oom_kill = birth.group.oom_kills() > 0
        if birth.pidfd >= 0:
            os.close(birth.pidfd)
            birth.pidfd = -1
        birth.death = Death(status, peak_kb, cpu_us, oom_kill)
        if oom_kill and birth.group is not None and self._groups is not None:
            # A group that has killed once would say so for ever.
            self._groups.give_back(birth.group)
            birth.group = None
        self._recycle(birth)
        birth.on_death(birth.death)

    def _on_zygote_death(self) -> None:
        _log.error("the zygote has died", isolates=len(self._births))
        self._drop_zygote()
        if not self._is_stopping and (self._restart is None or self._restart.done()):
            self._restart = asyncio.get_running_loop().create_task(self._start_again(), name="zygote-restart")

    def _drop_zygote(self) -> None:
        if self._control is not None:
            with contextlib.suppress(RuntimeError):  # no loop runs any more
                asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for number in list(self._births):
            birth = self._births[number]
            if birth.pidfd >= 0:
                _wait_gone(birth.pidfd)
            self._on_exit(number, 9, 0, 0)

    async def _start_again(self) -> None:
        delay_s = 0.05
        while not self._is_stopping:
            self.restarts += 1
            try:
                await self.start()
            except IsolationError as error:
                _log.error("the zygote cannot be started again", reason=str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 5.0)
            else:
                _log.info("a new zygote runs", restarts=self.restarts)
                return


def _pid_of(pidfd: int) -> int:
    """Process id behind a pidfd, as this process sees it; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
            if line.startswith("Pid:"):
                return max(0, int(line[4:]))
    return 0


def _send_kill(pidfd: int) -> None:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _wait_gone(pidfd: int) -> None:
    """The kernel ends isolates with their zygote; this only waits for it to be done."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(2000)
