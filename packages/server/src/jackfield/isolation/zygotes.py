"""One zygote process as the node sees it: what it was asked for, what lives by it, how it is, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from jackfield.isolation import priority
from jackfield.isolation.errors import IsolationError
from jackfield_sandbox.cgroup import Cgroup
from jackfield_sandbox.layers import Layer
from jackfield_sandbox.zygote import Exited, Failed, Spawn, Spawned, Started, decode_from_zygote

__all__ = ["Birth", "Death", "Vitals", "Zygote"]

_log = structlog.get_logger("jackfield.isolation")
_PACKETS = 64
"""Packets that are read before others get their turn."""
_COST_GRACE_S = 0.05
"""How long an isolate that is known to be gone waits for the zygote's word on what it has cost."""


@dataclass(frozen=True, slots=True)
class Death:
    """How an isolate ended.

    Attributes:
        status: As of wait(2).
        oom_kill: Whether the kernel killed it for its memory group's limit.
        with_zygote: Whether it went because its zygote did: nothing that it could help.
        is_measured: Whether peak and time are known; a zygote that hangs or is gone does not tell them.
    """

    status: int
    peak_kb: int
    cpu_us: int
    oom_kill: bool
    with_zygote: bool = False
    is_measured: bool = True


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a zygote is.

    Attributes:
        state: The kernel's letter: `S` sleeps, `T` is stopped, `Z` is dead.
        table: Size of its descriptor table, which only ever grows.
    """

    state: str
    rss_kb: int
    table: int


class Birth:
    """A spawn under way, and later a living isolate as the supervisor knows it."""

    __slots__ = (
        "_is_watched", "_killed", "asked_at", "death", "group", "number", "on_birth", "on_death", "pid", "pidfd", "uid",
        "zygote",
    )  # fmt: skip

    def __init__(
        self, zygote: Zygote, number: int, uid: int, group: Cgroup | None, on_death: Callable[[Death], None]
    ) -> None:
        self.zygote = zygote
        self.number = number
        self.uid = uid
        self.group = group
        self.on_death = on_death
        self.on_birth: Callable[[], None] | None = None
        self.pidfd = -1
        self.pid = 0
        self.death: Death | None = None
        self.asked_at = time.monotonic()
        self._killed = False
        self._is_watched = False

    def born(self, pidfd: int) -> None:
        """The zygote has forked it."""
        self.pidfd = pidfd
        self.pid = _pid_of(pidfd)
        if self._killed:
            self.kill()
        elif self.on_birth is not None:
            self.on_birth()

    def kill(self) -> None:
        """End it, whatever it is doing; at once, or as soon as it is born."""
        self._killed = True
        if self.pidfd >= 0 and self.death is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self.watch()

    def watch(self) -> None:
        """See its end ourselves as well: its zygote may hang, or be gone."""
        if self.pidfd >= 0 and self.death is None and not self._is_watched:
            self._is_watched = True
            asyncio.get_running_loop().add_reader(self.pidfd, self._on_gone)

    def release(self) -> None:
        """Let go of the process, which is gone."""
        if self.pidfd >= 0:
            self._unwatch()
            os.close(self.pidfd)
            self.pidfd = -1

    def _on_gone(self) -> None:
        self._unwatch()
        if self.zygote.is_ended:
            self.zygote.on_gone(self)
        else:
            asyncio.get_running_loop().call_later(_COST_GRACE_S, self.zygote.on_gone, self)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            asyncio.get_running_loop().remove_reader(self.pidfd)


class Zygote:
    """A running zygote process.

    Args:
        on_exit: Told once of each isolate that is gone, with what is known of its death.
        on_end: Told when the process has ended, or cannot be used any more.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        on_exit: Callable[[Birth, Death], None],
        on_end: Callable[[Zygote], None],
    ) -> None:
        self.births: dict[int, Birth] = {}
        self.layers = Layer(0)
        self.spawned = 0
        self.started_at = time.monotonic()
        self.heard_at = self.started_at
        self.is_draining = False
        self.is_ended = False
        self._process = process
        self._control = control
        self._on_exit = on_exit
        self._on_end = on_end
        self._unborn: dict[int, Birth] = {}
        # By its process id as the zygote sees it. Kept here: what the zygote remembers, every isolate inherits.
        self._numbers: dict[int, int] = {}
        self._number = 0
        self._inner_pid = 0
        self._is_empty = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        control.setblocking(False)  # the socket's own signature
        self._pidfd = os.pidfd_open(process.pid)
        self._is_reaped = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Process id of its outer half."""
        return self._process.pid

    @property
    def inner_pid(self) -> int:
        """Process id of the half that forks; the outer one's where there is only one, 0 when it is gone."""
        if not self._inner_pid:
            with contextlib.suppress(OSError, ValueError):
                children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
                is_outer = Layer.NAMESPACES in self.layers
                self._inner_pid = int(children[0]) if is_outer and children else 0 if is_outer else self.pid
        return self._inner_pid

    @property
    def is_awaited(self) -> bool:
        """Whether it was asked for something that has not come yet."""
        return bool(self._unborn)

    async def ready(self, timeout_s: float) -> None:
        """Wait for its first word.

        Raises:
            IsolationError: It cannot seal anything here; the message is its own.
        """
        try:
            # Not `wait_for`: in Python 3.11 it forgets a cancellation that comes together with the answer, and whoever
            # has cancelled us would wait for ever.
            async with asyncio.timeout(timeout_s):
                data = await self._loop.sock_recv(self._control, 4096)
        except (TimeoutError, ConnectionError):
            data = b""
        first = decode_from_zygote(data) if data else Failed(0, "it ended without a word")
        if not isinstance(first, Started):
            reason = first.reason if isinstance(first, Failed) else "it does not speak our protocol"
            raise IsolationError(f"the zygote says: {reason}")
        self.layers = Layer(first.layers)
        self._loop.add_reader(self._control.fileno(), self._on_control)

    def spawn(
        self,
        uid: int,
        group: Cgroup | None,
        memory_bytes: int,
        descriptors: int,
        threads: int,
        passed: list[int],
        on_death: Callable[[Death], None],
    ) -> Birth:
        """Ask for an isolate.

        Raises:
            OSError: It does not take requests.
        """
        self._number += 1
        number = self._number
        request = Spawn(number, uid, memory_bytes, descriptors, threads, group is not None, os.fstat(passed[1]).st_size)
        socket.send_fds(self._control, [request.encode()], passed)
        birth = self.births[number] = self._unborn[number] = Birth(self, number, uid, group, on_death)
        self.spawned += 1
        return birth

    def silent_s(self) -> float:
        """For how long a request has waited for its answer while nothing else was answered either.

        What it has said and we have not read counts: a node that was busy itself must not take that for silence.
        """
        if self._unborn and not self.is_ended:
            self._on_control()
        for birth in self._unborn.values():
            return time.monotonic() - max(birth.asked_at, self.heard_at)
        return 0.0

    def vitals(self) -> Vitals | None:
        """How it is; None when nothing can be seen of it."""
        try:
            text = Path(f"/proc/{self.inner_pid}/status").read_text()
        except OSError:
            return None
        found = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        state = found.get("State", "?")[:1]
        if state == "S" and self.inner_pid != self.pid:
            # Both halves have to be well.
            state = priority.state(self.pid)
        return Vitals(state, _leading_number(found.get("VmRSS", "")), _leading_number(found.get("FDSize", "")))

    def end(self) -> None:
        """End the process, and with it every isolate. `gone` waits for it."""
        if self.is_ended:
            return
        self.is_ended = True
        with contextlib.suppress(ValueError, RuntimeError):  # not read from yet
            self._loop.remove_reader(self._control.fileno())
        self._control.close()
        self._process.kill()
        for birth in list(self.births.values()):
            if birth.pidfd < 0:
                # Not there, or about to die with its parent before it has said a word; there is no handle to wait for.
                self.on_gone(birth)
            else:
                # The kernel does this for all that cannot take its promise back; at level `none` a plugin can.
                birth.kill()
        self._note_empty()

    def give_up_unborn(self) -> None:
        """Of what was asked for and has not come, nothing will: it hangs. What lives goes on."""
        for birth in list(self._unborn.values()):
            self.on_gone(birth)

    async def gone(self) -> None:
        """Wait until the process and its isolates do not exist any more; call `end` first."""
        await asyncio.shield(self._is_reaped)
        await self._is_empty.wait()

    def on_gone(self, birth: Birth) -> None:
        """An isolate does not exist any more, and its cost is not known."""
        self._exit(birth.number, Death(signal.SIGKILL, 0, 0, oom_kill=False, is_measured=False))

    def _on_control(self) -> None:
        for _ in range(_PACKETS):
            if self.is_ended:
                return
            try:
                data, descriptors, _flags, _address = socket.recv_fds(self._control, 4096, 2)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._on_end(self)
                return
            self.heard_at = time.monotonic()
            packet = decode_from_zygote(data)
            if isinstance(packet, Spawned):
                birth = self._unborn.pop(packet.id, None)
                self._numbers[packet.pid] = packet.id
                if not descriptors:
                    # This process has no descriptor left for it, so it could never be killed. All of them are: it is
                    # better to start again than to have one plugin that no limit can reach.
                    _log.error("out of descriptors: an isolate could not be taken over")
                    self._on_end(self)
                    return
                if birth is None:
                    # Given up, and it came after all.
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(descriptors[0], signal.SIGKILL)
                    os.close(descriptors[0])
                else:
                    birth.born(descriptors[0])
            elif isinstance(packet, Exited):
                death = Death(packet.status, packet.peak_kb, packet.cpu_us, oom_kill=False)
                self._exit(self._numbers.pop(packet.pid, 0), death)
            elif isinstance(packet, Failed):
                _log.error("an isolate could not be forked", reason=packet.reason)
                self._exit(packet.id, Death(0, 0, 0, oom_kill=False, with_zygote=True))

    def _exit(self, number: int, death: Death) -> None:
        birth = self.births.pop(number, None)
        if birth is None:
            return
        self._unborn.pop(number, None)
        if self.is_ended:
            death = Death(signal.SIGKILL, 0, 0, oom_kill=False, with_zygote=True, is_measured=False)
        birth.release()
        self._on_exit(birth, death)
        self._note_empty()

    def _note_empty(self) -> None:
        if self.is_ended and not self.births:
            self._is_empty.set()

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        if not self._is_reaped.done():
            self._is_reaped.set_result(None)


def _leading_number(text: str) -> int:
    digits = text.split()[:1]
    return int(digits[0]) if digits and digits[0].isdigit() else 0


def _pid_of(pidfd: int) -> int:
    """Process id behind a pidfd, as this process sees it; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
            if line.startswith("Pid:"):
                return max(0, int(line[4:]))
    return 0
