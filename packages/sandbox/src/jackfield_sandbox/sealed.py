"""One-shot sealed runs: a throw-away zygote, one isolate, one answer. For making and checking packages; blocking."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import socket
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from jackfield_sandbox import image as images
from jackfield_sandbox.cgroup import Cgroup, open_cgroups
from jackfield_sandbox.launch import best_level, start_zygote
from jackfield_sandbox.layers import Layer, Level, layers_of
from jackfield_sandbox.uids import UidRange
from jackfield_sandbox.zygote import Failed, Spawn, Spawned, Started, decode_from_zygote
from jackfield_sdk import wire
from jackfield_sdk.errors import PackageError, WireError

__all__ = ["SealedRun", "build_image", "compile_modules", "describe"]

_MEMORY_BYTES = 512 * 1024 * 1024
_TIMEOUT_S = 60.0
_DESCRIBE_S = 30.0
_REFUSALS = 100
"""Capability calls while a package is made that are refused; who goes on asking is ended."""
_BATCH_BYTES = 4 * 1024 * 1024


class SealedRun:
    """One isolate in a zygote of its own; a context manager.

    Args:
        image: Code image that the isolate imports from; empty for none.
    """

    def __init__(self, image: bytes = b"", *, level: Level | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        self._level = level or best_level()
        self._deadline = time.monotonic() + timeout_s
        self._frames: list[bytes] = []
        self._reader = wire.FrameReader()
        self._stack = contextlib.ExitStack()
        self._pidfd = -1
        self._refused = 0
        try:
            self._start(image)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> SealedRun:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def load(self, slug: str, entry: str) -> wire.Ready:
        """Load a module; its failure is in the answer."""
        self._send(wire.Load(wire.PROTOCOL_VERSION, slug, entry, msgspec.Raw(wire.encode({}))))
        answer = self._next()
        if not isinstance(answer, wire.Ready):
            raise WireError("expected `ready`")
        return answer

    def describe(self) -> wire.Result:
        """The manifest that the loaded code declares."""
        self._send(wire.Describe(1))
        return self._result()

    def call(self, handler: str, payload: Any) -> wire.Result:
        """Run one handler that needs no capabilities."""
        context = wire.CallContext("", "", "filter")
        self._send(wire.Call(1, "filter", handler, msgspec.Raw(wire.encode(payload)), context))
        return self._result()

    def _start(self, image: bytes) -> None:
        process, control = start_zygote(self._level)
        self._stack.callback(process.wait)
        self._stack.callback(control.close)
        self._stack.callback(process.kill)
        control.settimeout(max(1.0, self._deadline - time.monotonic()))
        first = decode_from_zygote(control.recv(4096))
        if isinstance(first, Failed):
            raise OSError(f"cannot seal a process at level {self._level}: {first.reason}")
        if not isinstance(first, Started):
            raise OSError("the zygote does not speak our protocol")
        ours, theirs = socket.socketpair()
        self._stack.callback(ours.close)
        layers = layers_of(self._level)
        uid = self._stack.enter_context(UidRange.take()).first if Layer.OWN_UID in layers else 0
        cgroup: Cgroup | None = None
        if Layer.CGROUP in layers:
            cgroup = self._stack.enter_context(open_cgroups()).take(_MEMORY_BYTES)
        with theirs, tempfile.TemporaryFile() as file:
            file.write(image)
            file.flush()
            descriptors = [theirs.fileno(), file.fileno()]
            if cgroup is not None:
                descriptors.append(cgroup.procs)
            spawn = Spawn(1, uid, _MEMORY_BYTES, 32, 8, cgroup is not None, len(image))
            socket.send_fds(control, [spawn.encode()], descriptors)
            data, pidfds, _flags, _address = socket.recv_fds(control, 4096, 1)
        answer = decode_from_zygote(data)
        if not isinstance(answer, Spawned):
            raise OSError(f"cannot spawn an isolate: {answer}")
        self._pidfd = pidfds[0]
        self._stack.callback(self._kill)
        self._channel = ours

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        # It leaves its cgroup only when it is gone.
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll(5000)
        os.close(self._pidfd)

    def _send(self, message: wire.ToGuest) -> None:
        self._channel.settimeout(max(0.01, self._deadline - time.monotonic()))
        self._channel.sendall(wire.frame(message))

    def _result(self) -> wire.Result:
        answer = self._next()
        if not isinstance(answer, wire.Result):
            raise WireError("expected a result")
        return answer

    def _next(self) -> wire.ToNode:
        """The next message that is not a log line; capability calls are refused."""
        while True:
            while not self._frames:
                self._channel.settimeout(max(0.01, self._deadline - time.monotonic()))
                data = self._channel.recv(1 << 20)
                if not data:
                    raise WireError("the sealed process ended without an answer")
                self._frames.extend(self._reader.feed(data))
            message = wire.decode_to_node(self._frames.pop(0))
            if isinstance(message, wire.HostCall):
                self._refused += 1
                if self._refused > _REFUSALS:
                    raise WireError("it asked for capabilities again and again")
                refusal = wire.Failure(
                    "unavailable", "no capabilities while a package is made", "Use them in handlers."
                )
                self._send(wire.HostReply(message.id, failure=refusal))
            elif not isinstance(message, wire.Log):
                return message


def compile_modules(files: Mapping[str, bytes], *, level: Level | None = None) -> dict[str, bytes]:
    """Compile every `.py` file, sealed.

    Returns:
        Path → marshalled code, the same bytes for the same source and Python.

    Raises:
        PackageError: `source-invalid`, with file and line.
    """
    sources = {path: data for path, data in sorted(files.items()) if path.endswith(".py")}
    compiled: dict[str, bytes] = {}
    if not sources:
        return compiled
    with _translated("the compiler"), SealedRun(level=level) as run:
        if (failure := run.load("jackfield-compiler", "jackfield_sandbox.compiling").failure) is not None:
            raise PackageError(failure.message, code="sealing-failed")
        for batch in _batches(sources):
            result = run.call("compile_files", batch)
            if result.failure is not None:
                raise PackageError(result.failure.message, code="source-invalid")
            answer = msgspec.msgpack.decode(result.value, type=dict[str, str])
            for path in batch:
                compiled[path] = base64.b64decode(answer[path])
    return compiled


def describe(image: bytes, entry: str, slug: str, *, level: Level | None = None) -> dict[str, Any]:
    """Import a plugin, sealed, and return its manifest as plain data.

    Raises:
        PackageError: `plugin-import-failed` with the trace as hint, or `manifest-invalid`.
    """
    with (
        _translated("importing the plugin", _DESCRIBE_S),
        SealedRun(image, level=level, timeout_s=_DESCRIBE_S) as run,
    ):
        if (failure := run.load(slug, entry).failure) is not None:
            raise PackageError(
                f"the plugin cannot be imported: {failure.message}", code="plugin-import-failed",
                hint="\n".join(part for part in (failure.hint, failure.trace) if part),
            )  # fmt: skip
        result = run.describe()
        if result.failure is not None:
            raise PackageError(result.failure.message, code="manifest-invalid", hint=result.failure.hint)
        return msgspec.msgpack.decode(result.value, type=dict[str, Any])


@contextlib.contextmanager
def _translated(what: str, timeout_s: float = _TIMEOUT_S) -> Any:
    try:
        yield
    except TimeoutError as error:
        raise PackageError(f"{what} took longer than {timeout_s:.0f} s", code="sealed-timeout") from error
    except (WireError, ConnectionError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackageError(f"{what} ended without an answer: {error}", code="sealed-crashed") from error


def _batches(sources: Mapping[str, bytes]) -> list[dict[str, bytes]]:
    """Groups of files that fit into one message, code included."""
    batches: list[dict[str, bytes]] = [{}]
    size = 0
    for path, data in sources.items():
        if len(data) > _BATCH_BYTES:
            raise PackageError(f"{path} is larger than {_BATCH_BYTES} bytes", code="source-invalid")
        if batches[-1] and size + len(data) > _BATCH_BYTES // 4:
            batches.append({})
            size = 0
        batches[-1][path] = data
        size += len(data)
    return batches


def build_image(files: Mapping[str, bytes], *, level: Level | None = None) -> bytes:
    """Compile and build in one step, for a plugin folder that is not a package yet."""
    return images.build(files, compile_modules(files, level=level))
