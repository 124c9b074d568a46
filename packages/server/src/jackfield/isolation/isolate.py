"""One isolate as the node sees it: its channel, the call in flight, its cost, its end."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from jackfield.isolation import priority
from jackfield.isolation.interfaces import CallLimits, CallRequest, CallResult, HostCalls, IsolateSpec, Status
from jackfield.isolation.memory import read_small
from jackfield.isolation.supervisor import Death, Supervisor
from jackfield_sandbox import image as images
from jackfield_sdk import wire
from jackfield_sdk.errors import WireError

__all__ = ["Isolate"]

_READ_BYTES = 256 * 1024
_THREADS = 32
_FLOOD = 10
"""Times the output limit at which an isolate that floods its log is ended."""
_WAITS = "functions"
"""The capability behind which there is another isolate's call."""
_QUEUED = 1000
"""Messages that may wait for us to read them; together they may be as long as the longest."""
_FATAL_SIGNALS = {31: "violation"}
"""SIGSYS: a system call of a foreign architecture."""


class _EndedError(Exception):
    """The isolate is gone; carries why, when the node itself did it."""


class Isolate:
    """A process for one installation, release and revision; one call at a time.

    Attributes:
        calls: Calls it has served.
        last_used: Monotonic seconds.
        is_retired: Ends after the present call.
        is_dead: Its channel is closed.
        is_lowered: It runs only when nobody else wants to.
        footprint_kb: What it is taken to need, as its pool counts.
        is_worn: It has served its time, and goes on until the next one is loaded.
        load_s: How long its plugin took to load, or one like it; 0 until that is known.
        on_lost: Told when it has ended and the node has not asked for it.
        on_word: Told when it has said something.
        on_rest: Told when it begins to wait for a call of another plugin, and when it has its answer.
    """

    __slots__ = (
        "_assigned_at",
        "_birth",
        "_cpu_at_kill",
        "_cpu_at_rest",
        "_deaths",
        "_frames",
        "_held",
        "_is_call_last",
        "_is_called",
        "_is_unread",
        "_killed_for",
        "_loop",
        "_out",
        "_queued_bytes",
        "_reader",
        "_ready",
        "_socket",
        "_spec",
        "_waiter",
        "calls",
        "footprint_kb",
        "is_dead",
        "is_lowered",
        "is_retired",
        "is_worn",
        "last_used",
        "load_s",
        "memory_mb",
        "number",
        "on_lost",
        "on_rest",
        "on_word",
    )  # fmt: skip

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        memory_mb: int,
        descriptors: int,
        frame_bytes: int,
        image_path: Path | None,
        stray_descriptor: int | None = None,
    ) -> None:
        self.calls = 0
        self.number = 0
        self.memory_mb = memory_mb
        self.last_used = time.monotonic()
        self.is_retired = False
        self.is_dead = False
        self.is_lowered = False
        self.footprint_kb = 0
        self.on_lost: Callable[[Isolate], None] | None = None
        self.on_word: Callable[[], None] | None = None
        self.on_rest: Callable[[Isolate, bool], None] | None = None
        self.is_worn = False
        self.load_s = 0.0
        self._assigned_at = 0.0
        self._spec: IsolateSpec | None = None
        self._loop = asyncio.get_running_loop()
        self._frames: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._deaths: asyncio.Future[Death] = self._loop.create_future()
        self._killed_for: Status | None = None
        self._ready: wire.Ready | None = None
        self._out = bytearray()
        self._reader = wire.FrameReader(frame_bytes)
        self._queued_bytes = frame_bytes
        self._is_called = False
        self._held = b""
        self._is_call_last = False
        self._is_unread = False
        self._cpu_at_rest = -1
        self._cpu_at_kill = 0
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)  # the socket's own signature
        try:
            image = os.open(image_path or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._birth = supervisor.spawn(
                    theirs, image, memory_mb * 1024 * 1024, descriptors, _THREADS, self._on_death, stray_descriptor
                )
            finally:
                os.close(image)
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._birth.on_birth = self._on_birth
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    @property
    def spec(self) -> IsolateSpec:
        """What it runs; a spare has none."""
        if self._spec is None:
            raise RuntimeError("a spare isolate runs nothing yet")
        return self._spec

    def assign(self, spec: IsolateSpec, image: bytes = b"") -> None:
        """Give it its plugin, once and for its whole life.

        Args:
            image: The code image, unless the process was started with it.
        """
        if self._spec is not None:
            raise RuntimeError("an isolate never changes what it runs")
        self._spec = spec
        self._assigned_at = time.monotonic()
        at, length = _locate(image, spec.entry) if image else (0, 0)
        load = wire.Load(
            wire.PROTOCOL_VERSION, spec.slug, spec.entry, spec.config, spec.secret_names, len(image), at, length
        )
        self._write(wire.frame(load) + image)

    @property
    def pid(self) -> int:
        """Its process id, or 0."""
        return self._birth.pid

    @property
    def is_outdated(self) -> bool:
        """Whether its zygote has been replaced."""
        return self._birth.zygote.is_draining

    @property
    def zygote_is_gone(self) -> bool:
        """Whether its zygote has ended, and it with it."""
        return self._birth.zygote.is_ended

    async def call(self, request: CallRequest, host_calls: HostCalls) -> CallResult:
        """Run one call to its end, which is a result in every case."""
        started = time.perf_counter_ns()
        self.calls += 1
        self._is_called = True
        self.number += 1
        number = self.number
        result = CallResult("ok", is_cold=self.calls == 1 and not self.load_s)
        # What it burnt since its last call, in a thread that it left behind, is charged to this one.
        cpu_before = self._cpu_at_rest if self._cpu_at_rest >= 0 else self.cpu_ns()
        limits = request.limits
        watch = _Watch(self, limits, cpu_before)
        try:
            call = wire.Call(number, request.kind, request.handler, request.payload, request.context, request.is_plain)
            self._send_call(wire.frame(call))
            await self._converse(number, limits, host_calls, result)
        except _EndedError:
            await self._explain(result)
        except WireError as error:
            self.kill("violation")
            result.status = "violation"
            result.failure = wire.Failure(error.code, str(error), "The plugin was stopped.")
        except asyncio.CancelledError:
            # Whoever asked has gone; a half-done call must not meet the next caller.
            self.kill("timeout")
            raise
        finally:
            watch.stop()
            self._is_called = False
            self.last_used = time.monotonic()
        death = self._birth.death
        if death is not None:
            spent_us = death.cpu_us if death.is_measured else self._cpu_at_kill // 1000
            result.cpu_us = max(0, spent_us - cpu_before // 1000)
            result.peak_kb = death.peak_kb
        else:
            self._cpu_at_rest = self.cpu_ns()
            result.cpu_us = max(0, self._cpu_at_rest - cpu_before) // 1000
        result.duration_us = (time.perf_counter_ns() - started) // 1000
        return result

    def kill(self, reason: Status) -> None:
        """End the process now."""
        if self._killed_for is None:
            self._killed_for = reason
            self._cpu_at_kill = self.cpu_ns()
        if self.is_lowered:
            # To die takes processor time as well.
            self.restore()
        self._birth.kill()
        self.close()

    def close(self) -> None:
        """Close the channel: an idle isolate ends by itself."""
        if not self.is_dead:
            self.is_dead = True
            self._loop.remove_reader(self._socket.fileno())
            if self._out:
                self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            # Its zygote says so too, unless it hangs.
            self._birth.watch()
            if self._killed_for is None and self.on_lost is not None:
                self.on_lost(self)
        self._wake()

    def sleeps(self) -> bool:
        """Whether its main thread waits for something, rather than for a processor."""
        return priority.state(self.pid) in ("S", "T", "t")

    def lower(self) -> None:
        """From now on, it runs only when nobody else wants to."""
        if self.pid and not self.is_lowered:
            self.is_lowered = True
            priority.lower(self.pid)

    def restore(self) -> bool:
        """It runs like any other again; False where only root could see to that."""
        if self.is_lowered and self.pid and priority.restore(self.pid):
            self.is_lowered = False
        return not self.is_lowered

    async def gone(self) -> None:
        """Wait until the process does not exist any more."""
        await asyncio.shield(self._deaths)

    def idle_cpu_ns(self) -> int:
        """Processor time that it has used since its last call ended."""
        return 0 if self._cpu_at_rest < 0 else self.cpu_ns() - self._cpu_at_rest

    def memory_kb(self) -> int:
        """Resident memory in KiB; 0 when it is gone."""
        try:
            pages = int(read_small(f"/proc/{self.pid}/statm").split()[1])
        except (OSError, IndexError, ValueError):
            return 0
        return pages * 4

    # -- the conversation ------------------------------------------------------------------------------------------

    async def _converse(self, number: int, limits: CallLimits, host_calls: HostCalls, result: CallResult) -> None:
        output_bytes = 0
        while True:
            data = await self._next_frame()
            message = wire.decode_to_node(data)
            if isinstance(message, wire.Result):
                if message.id != number:
                    raise WireError(f"a result for call {message.id} during call {number}")
                self._finish(message, len(data), limits, result)
                return
            if isinstance(message, wire.HostCall):
                if self._out:
                    # Who has not read the last answer cannot have the next question; the answers would pile up here.
                    raise WireError("a capability call before the answer to the last one was read")
                result.host_calls += 1
                if result.host_calls > limits.host_calls:
                    failure = wire.Failure(
                        "host-calls-exceeded", f"more than {limits.host_calls} capability calls in one call",
                        "Read and write in larger steps.",
                    )  # fmt: skip
                    reply = wire.HostReply(message.id, failure=failure)
                elif len(data) > limits.host_call_bytes:
                    failure = wire.Failure(
                        "host-call-too-large",
                        f"a capability call of {len(data)} bytes, at most {limits.host_call_bytes}",
                    )
                    reply = wire.HostReply(message.id, failure=failure)
                elif message.capability == _WAITS and self.on_rest is not None:
                    reply = await self._rest(host_calls, message)
                else:
                    reply = await host_calls(message)
                self._write(wire.frame(reply))
            elif isinstance(message, wire.Log):
                output_bytes += len(data)
                if output_bytes <= limits.output_bytes:
                    result.log.append((message.level, message.message, message.fields))
                elif output_bytes > limits.output_bytes * _FLOOD:
                    raise WireError(f"more than {limits.output_bytes * _FLOOD} bytes of log in one call")
                elif result.log and result.log[-1][1] != _CUT:
                    result.log.append(("warning", _CUT, {}))
            else:
                self._on_ready(message)
                if message.failure is not None:
                    result.status = _AT_IMPORT.get(message.failure.code, "failed")
                    result.failure = message.failure
                    self.kill("crashed")
                    return

    async def _rest(self, host_calls: HostCalls, message: wire.HostCall) -> wire.HostReply:
        """Answer a call during which this isolate only waits for another one: what it holds is that one's to use."""
        on_rest = self.on_rest
        if on_rest is None:
            return await host_calls(message)
        on_rest(self, True)
        try:
            return await host_calls(message)
        finally:
            on_rest(self, False)

    def _on_ready(self, message: wire.Ready) -> None:
        if self._ready is not None:
            raise WireError("`ready` twice")
        if message.protocol != wire.PROTOCOL_VERSION:
            raise WireError(f"protocol {message.protocol}")
        self._ready = message
        # One that was made ready ahead of its first call has been told what it takes.
        self.load_s = self.load_s or time.monotonic() - self._assigned_at

    def _finish(self, message: wire.Result, size: int, limits: CallLimits, result: CallResult) -> None:
        if size > limits.result_bytes:
            result.status = "failed"
            result.failure = wire.Failure(
                "result-too-large", f"a result of {size} bytes, at most {limits.result_bytes}", "Return less, or page."
            )
        elif message.failure is not None:
            result.status = "memory" if message.failure.code == "memory-exceeded" else "failed"
            result.failure = message.failure
            result.metrics = message.metrics
        else:
            result.value = message.value
            result.metrics = message.metrics
        if self._frames or self._reader.pending_bytes:
            raise WireError("more messages after the result")

    async def _next_frame(self) -> bytes:
        while not self._frames:
            if self.is_dead:
                raise _EndedError
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._frames.popleft()

    async def _explain(self, result: CallResult) -> None:
        """Why the process ended: by our hand, or as the kernel says."""
        death = self._birth.death
        # Of one that has not been forked yet there is nothing to wait for.
        if death is None and self._birth.pidfd >= 0:
            try:
                async with asyncio.timeout(2.0):
                    death = await asyncio.shield(self._deaths)
            except TimeoutError:
                self._birth.kill()
        reason = self._killed_for
        if reason is None or reason == "crashed":
            reason = "crashed"
            if death is not None:
                signal_number = death.status & 0x7F
                if death.oom_kill:
                    reason = "memory"
                elif signal_number in _FATAL_SIGNALS:
                    reason = "violation"
        result.status = reason
        result.failure = _failure(reason, death)
        result.is_unstarted = self._is_unstarted(death, result)

    def _is_unstarted(self, death: Death | None, result: CallResult) -> bool:
        """Whether it is certain that the handler has not begun.

        That nothing was heard of it proves nothing. These do: the call was never written; the kernel says that the end
        of what was written was never read; or somebody killed the process before it had said that it was ready, which
        it does before it looks at a call.
        """
        if self._killed_for is not None:
            return False
        if self._ready is None and self.pid and death is not None and _ended_itself(death):
            # While it was imported: a crash, counted and not repeated.
            return False
        if self._held or (self._is_call_last and (self._is_unread or bool(self._out))):
            return True
        if death is None or self._ready is not None or result.host_calls:
            return False
        return death.with_zygote or (death.status & 0x7F == signal.SIGKILL and not death.oom_kill)

    # -- the channel -----------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            # The kernel's way to say that the other side has ended with something of ours unread.
            self._is_unread = True
            data = b""
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            self._frames.extend(self._reader.feed(data))
        except WireError:
            self.kill("violation")
            return
        if self._waiter is None and self._frames and not self._is_expected():
            # It speaks when it has not been asked.
            self.kill("violation")
            return
        self._wake()
        if self.on_word is not None:
            self.on_word()

    def _is_expected(self) -> bool:
        """It may speak while it is starting or being called, and no further ahead of us than a bound.

        During a call, this is about the time in which the node does what a capability call asks for: the plugin's other
        threads may log.
        """
        if not self._is_called and self._ready is not None:
            return False
        return len(self._frames) <= _QUEUED and sum(map(len, self._frames)) <= self._queued_bytes

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _send_call(self, data: bytes) -> None:
        """Write a call: only when the process is there. What waits in the channel of one that has not been forked yet
        may still be run when a zygote that hung goes on, and could never be given to another one."""
        self._held = data
        if self._birth.pidfd >= 0:
            self._on_birth()

    def _on_birth(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._write(data)
            self._is_call_last = True

    def _write(self, data: bytes) -> None:
        self._is_call_last = False
        if self.is_dead:
            self._is_unread = True
            return
        if not self._out:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                # It has died; the reader will see the end of the channel.
                self._is_unread = True
                return
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        self._out += data

    def _on_writable(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self._is_unread = True
            sent = len(self._out)
        del self._out[:sent]
        if not self._out:
            self._loop.remove_writer(self._socket.fileno())

    def _on_death(self, death: Death) -> None:
        if not self._deaths.done():
            self._deaths.set_result(death)
        # What it said last may not have been read yet.
        while not self.is_dead:
            before = len(self._frames), self._reader.pending_bytes
            self._on_readable()
            if before == (len(self._frames), self._reader.pending_bytes):
                break
        self.close()

    # -- cost ------------------------------------------------------------------------------------------------------

    def cpu_ns(self) -> int:
        """Processor time of the process so far, all threads, by the kernel's clock of it."""
        pid = self._birth.pid
        if not pid:
            return 0
        try:
            return time.clock_gettime_ns(~pid << 3 | 2)
        except OSError:
            return 0


# Isolates of one release are sent the same object.
_locate = functools.lru_cache(maxsize=64)(images.locate)
_AT_IMPORT: dict[str, Status] = {"seal-failed": "unsealed", "memory-exceeded": "memory"}
_CUT = "(output cut: over the limit)"
_PRESSURE_S = 5.0


class _Watch:
    """Ends the isolate at the wall-clock or processor-time limit, from outside."""

    __slots__ = ("_cpu_before", "_cpu_limit_ns", "_deadline", "_handle", "_isolate")

    def __init__(self, isolate: Isolate, limits: CallLimits, cpu_before: int) -> None:
        loop = asyncio.get_running_loop()
        self._isolate = isolate
        self._deadline = loop.time() + limits.wall_ms / 1000
        self._cpu_before = cpu_before
        self._cpu_limit_ns = limits.cpu_ms * 1_000_000
        self._handle = loop.call_later(min(limits.wall_ms, limits.cpu_ms) / 1000, self._look)

    def stop(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._deadline:
            self._isolate.kill("timeout")
            return
        left_ns = self._cpu_limit_ns - (self._isolate.cpu_ns() - self._cpu_before)  # the isolate's own helper
        if left_ns <= 0:
            self._isolate.kill("cpu")
            return
        # Several threads can burn more than one second a second, but Python's lock keeps them near one.
        self._handle = loop.call_at(min(self._deadline, now + max(left_ns / 1e9, 0.001)), self._look)


def _failure(reason: Status, death: Death | None) -> wire.Failure:
    texts: dict[str, tuple[str, str, str]] = {
        "timeout": ("deadline-exceeded", "the call took longer than its time limit", "Do less in one call."),
        "cpu": ("cpu-exceeded", "the call used more processor time than its limit", "Do less in one call."),
        "memory": ("memory-exceeded", "the plugin used more memory than its limit", "Ask for more in `limits`."),
        "violation": ("protocol-violation", "the plugin broke the rules of its channel", "The plugin was stopped."),
    }
    if reason in texts:
        return wire.Failure(*texts[reason])
    if reason == "overloaded":
        return wire.Failure(
            "node-memory-short", "the machine ran short of memory, and the call was ended", "Try again.",
            retry_after_s=_PRESSURE_S,
        )  # fmt: skip
    if death is not None and death.with_zygote:
        return wire.Failure("isolate-lost", "the node lost the plugin's process; it is not the plugin's fault")
    how = ""
    if death is not None:
        signal_number = death.status & 0x7F
        how = f" (signal {signal_number})" if signal_number else f" (exit status {death.status >> 8})"
    return wire.Failure("plugin-crashed", f"the plugin's process ended{how}", "It is started again for the next call.")


def _ended_itself(death: Death) -> bool:
    """Whether it was not killed. SIGKILL comes from outside alone: seccomp keeps it from sending that to itself."""
    return not death.with_zygote and death.status & 0x7F != signal.SIGKILL
