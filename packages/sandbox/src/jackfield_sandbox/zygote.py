"""The zygote: a locked-away process of host-owned code that isolates are forked from.

It is exec'd from a clean environment, single-threaded, has the standard library preloaded and frozen for the garbage
collector, and never runs plugin code. It takes spawn requests on a packet socket, with the descriptors an isolate
needs, and reports births and deaths. When its control socket closes it ends, and every isolate with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import msgspec

from jackfield_sandbox import kernel, stdlib
from jackfield_sandbox.boot import UNWANTED, fill_pools
from jackfield_sandbox.image import Image, install, mount
from jackfield_sandbox.layers import Layer, Sealer
from jackfield_sandbox.rehearsal import rehearse
from jackfield_sandbox.seccomp import Program
from jackfield_sdk import wire
from jackfield_sdk.capabilities import host as hosts
from jackfield_sdk.guest import Channel, Guest

__all__ = ["Boot", "Exited", "Failed", "FromZygote", "Spawn", "Spawned", "Started", "decode_from_zygote", "main"]


class Boot(msgspec.Struct, frozen=True):
    """How a zygote starts; passed as JSON on its command line.

    Attributes:
        layers: Value of `Layer`.
        optional_layers: Of those of the zygote itself, which may be missing (recorded in `Started`).
    """

    control: int
    layers: int
    optional_layers: int
    stdlib_image: str


class Spawn(NamedTuple):
    """node → zygote, with descriptors: channel, code image, and with `has_cgroup` the cgroup's `cgroup.procs`."""

    id: int
    uid: int
    memory_bytes: int
    descriptors: int
    threads: int
    has_cgroup: bool
    image_bytes: int

    def encode(self) -> bytes:
        """As a packet."""
        return _SPAWN.pack(*self)


class Started(NamedTuple):
    """zygote → node: ready. `layers` are those of the zygote itself that are on."""

    layers: int
    memory_bytes: int


class Spawned(NamedTuple):
    """zygote → node, with a pidfd. `pid` is its process id as the zygote sees it."""

    id: int
    pid: int


class Exited(NamedTuple):
    """zygote → node: an isolate is gone. `status` as of wait(2)."""

    pid: int
    status: int
    peak_kb: int
    cpu_us: int


class Failed(NamedTuple):
    """zygote → node: it cannot start (`id` 0), or cannot fork."""

    id: int
    reason: str


FromZygote = Started | Spawned | Exited | Failed

# Fixed-size packets: between two forks the zygote must write to as few pages as it can, since each page it writes to is
# one that the isolates before and after do not share any more.
_SPAWN = struct.Struct("<QQQII?Q")
_SPAWNED = struct.Struct("<BQQ")
_EXITED = struct.Struct("<BQqqq")
_STARTED = struct.Struct("<BQQ")
_FAILED = struct.Struct("<BQ")
_ROUNDS = 40
_CHANNEL = 200
"""The channel's number in an isolate: above all that the zygote has open, so that nothing is in its way."""
_STACK_BYTES = 2 * 1024 * 1024
_MS = {"RDONLY": 1, "NOSUID": 2, "NODEV": 4, "NOEXEC": 8, "REMOUNT": 32, "REC": 16384, "PRIVATE": 1 << 18}


def decode_from_zygote(data: bytes) -> FromZygote:
    """On the node's side.

    Raises:
        ValueError: Not a packet of ours.
    """
    kind = data[:1]
    try:
        if kind == b"S":
            return Spawned(*_SPAWNED.unpack(data)[1:])
        if kind == b"E":
            return Exited(*_EXITED.unpack(data)[1:])
        if kind == b"R":
            return Started(*_STARTED.unpack(data)[1:])
        if kind == b"F":
            return Failed(_FAILED.unpack_from(data)[1], data[_FAILED.size :].decode(errors="replace"))
    except struct.error as error:
        raise ValueError(f"damaged packet: {error}") from error
    raise ValueError("not a packet of the zygote's")


def _failed(number: int, reason: str) -> bytes:
    return _FAILED.pack(70, number) + reason.encode()[:2000]


def main(kept: list[object]) -> None:
    """What `boot` ends in.

    Args:
        kept: What must stay where it lies in memory.
    """
    boot = msgspec.json.decode(sys.argv[1], type=Boot)
    # Where the node keeps its files is no isolate's business.
    sys.argv[:] = sys.orig_argv[:] = [""]
    # It comes with the number it had in a node that may have thousands open; ours are all low.
    number = os.dup(boot.control)
    os.close(boot.control)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=number)
    kernel.set_parent_death_signal(signal.SIGKILL)
    try:
        zygote = _Zygote(control, boot, kept)
        zygote.enter_namespaces()
        zygote.prepare()
    except BaseException as error:  # the node must learn the reason, whatever it is
        control.send(_failed(0, f"{type(error).__name__}: {error}"))
        os._exit(1)
    with contextlib.suppress(ConnectionError):  # the node is gone, and so are we
        zygote.serve()
    os._exit(0)


class _Zygote:
    def __init__(self, control: socket.socket, boot: Boot, kept: list[object]) -> None:
        self._control = control
        self._boot = boot
        self._layers = Layer(boot.layers)
        self._optional = Layer(boot.optional_layers)
        self._sealer = Sealer(self._layers)
        self._needs_cgroup = Layer.CGROUP in self._layers
        self._base_bytes = 0
        self._pid = self._parent = os.getpid()
        self._kept = kept
        self._channel = Channel(_CHANNEL)
        hosts.current.append(self._channel)
        self._guest = Guest(self._channel, self._mount_image)
        self._image: mmap.mmap | None = None

    def enter_namespaces(self) -> None:
        """New namespaces; the process that goes on is the first of its own process-id namespace."""
        wanted = self._layers | self._optional
        if Layer.NAMESPACES not in wanted:
            return
        flags = (
            kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWPID
        )
        uid, gid = os.getuid(), os.getgid()
        try:
            kernel.unshare(flags if uid == 0 else flags | kernel.CLONE_NEWUSER)
        except OSError as error:
            if Layer.NAMESPACES in self._layers:
                raise OSError(error.errno, f"namespaces: {error.strerror}") from error
            self._optional &= ~(Layer.NAMESPACES | Layer.EMPTY_ROOT)
            return
        if uid != 0:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        socket.sethostname("isolate")
        child = os.fork()
        if child:
            # The outer half only waits: when it is killed, so is the inner half, and the kernel ends the whole
            # namespace.
            self._control.close()
            kernel.set_name("jf-zygote-outer")
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os._exit(status if status >= 0 else 1)
        kernel.set_parent_death_signal(signal.SIGKILL)
        self._pid = os.getpid()

    def prepare(self) -> None:
        """Preload, give up what is not needed, freeze."""
        if max(map(int, os.listdir("/proc/self/fd"))) >= _CHANNEL:
            raise OSError("too many descriptors were handed to the zygote")
        # Memory maps before the root goes away: nothing is opened by path after that.
        with Path(self._boot.stdlib_image).open("rb") as file:
            stdlib_image = Image(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        # For the sealed compiler: nothing of ours can be imported from a file later on.
        importlib.import_module("jackfield_sandbox.compiling")
        stdlib.forget_random()
        for name in UNWANTED:
            # Kept out until here; from now on it is a plugin's business.
            sys.modules.pop(name, None)
        threading.stack_size(_STACK_BYTES)
        self._base_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        self._empty_root()
        sys.path.clear()
        sys.path_hooks.clear()
        sys.path_importer_cache.clear()
        sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder"]
        install(stdlib_image)
        kernel.set_name("jf-zygote")
        methods = [*vars(_Zygote).values(), *vars(Sealer).values(), *vars(Program).values(), kernel.fork]
        self._breath, kept = rehearse([method.__code__ for method in methods if isinstance(method, FunctionType)])
        self._kept.append(kept)
        self._rehearse_entering()
        self._sealer.prepare()
        self._guest.redirect_output()
        gc.collect()
        self._kept.append(fill_pools())
        gc.freeze()

    def _empty_root(self) -> None:
        wanted = self._layers | self._optional
        if Layer.EMPTY_ROOT not in wanted:
            return
        if Layer.NAMESPACES not in wanted:
            raise OSError("an empty root directory needs a mount namespace")
        kernel.mount("none", "/", None, _MS["REC"] | _MS["PRIVATE"])
        point = next(path for path in ("/mnt", "/tmp", "/run", "/var") if Path(path).is_dir())  # noqa: S108  # a mount point in our own namespace
        secure = _MS["NOSUID"] | _MS["NODEV"] | _MS["NOEXEC"]
        kernel.mount("tmpfs", point, "tmpfs", secure, "size=4k,nr_inodes=2,mode=555")
        os.chdir(point)
        kernel.pivot_root(".", ".")
        kernel.umount_detach(".")
        os.chdir("/")
        kernel.mount("none", "/", None, _MS["REMOUNT"] | _MS["RDONLY"] | secure)
        if os.listdir("/"):
            raise OSError("the new root directory is not empty")

    def serve(self) -> None:
        """Fork on request until the node closes the control socket."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # The node decides when we end, also when a terminal signals the whole group. Isolates inherit this.
            signal.signal(number, signal.SIG_IGN)
        on = (self._layers | self._optional) & (Layer.NAMESPACES | Layer.EMPTY_ROOT)
        self._control.send(_STARTED.pack(82, on.value, self._base_bytes))
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(read_end, select.POLLIN)
        wait, receive, room = poll.poll, self._control.recvmsg, socket.CMSG_SPACE(16)
        while True:
            for descriptor, _events in wait():
                if descriptor == read_end:
                    os.read(read_end, 4096)
                    self._reap()
                    continue
                data, ancillary, _flags, _address = receive(256, room)
                if not data:
                    return
                self._spawn(data, ancillary)

    def _spawn(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        passed = ancillary[0][2] if ancillary else b""
        descriptors = struct.unpack(f"{len(passed) // 4}i", passed)
        try:
            pid = kernel.fork()
        except OSError as error:
            self._control.send(_failed(_SPAWN.unpack(data)[0], f"fork: {error}"))
            for descriptor in descriptors:
                os.close(descriptor)
            return
        if pid == 0:
            try:
                self._become_isolate(data, descriptors)
            finally:
                os._exit(2)
        number = _SPAWN.unpack(data)[0]
        pidfd = os.pidfd_open(pid)
        self._control.sendmsg(
            [_SPAWNED.pack(83, number, pid)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", pidfd))]
        )
        os.close(pidfd)
        for descriptor in descriptors:
            os.close(descriptor)

    def _become_isolate(self, data: bytes, descriptors: tuple[int, ...]) -> None:
        """In the child: seal, then serve; never returns to the zygote's loop."""
        try:
            is_spare = self._enter(data, descriptors)
        except BaseException as error:  # the node must learn which layer failed
            with contextlib.suppress(OSError):
                os.dup2(descriptors[0], _CHANNEL)
            with contextlib.suppress(OSError):
                reason = wire.Failure("seal-failed", f"{type(error).__name__}: {error}")
                self._channel.send(wire.Ready(wire.PROTOCOL_VERSION, reason))
            os._exit(3)
        if is_spare:
            # It has time.
            self._breath.take()
            # What it made goes now, so that the plugin's things take its place.
            gc.collect(0)
        gc.enable()
        self._guest.serve()
        os._exit(0)

    def _enter(self, data: bytes, descriptors: tuple[int, ...]) -> bool:
        """Seal as was asked for; whether it is a spare, without an image of its own."""
        _number, uid, memory_bytes, files, threads, has_cgroup, image_bytes = _SPAWN.unpack(data)
        if self._needs_cgroup and not has_cgroup:
            raise OSError("no memory group was given")
        if image_bytes:
            self._image = mmap.mmap(descriptors[1], image_bytes, access=mmap.ACCESS_READ)
        self._sealer.seal(
            channel=descriptors[0],
            keep=_CHANNEL,
            procs=descriptors[2] if has_cgroup else 0,
            address_space_bytes=self._base_bytes + image_bytes + memory_bytes,
            descriptors=files,
            threads=threads,
            uid=uid,
            parent=self._parent,
        )
        return not image_bytes

    def _rehearse_entering(self) -> None:
        """Before the sealer is in earnest: run what each child runs first, so that none has caches to fill."""
        if not kernel.is_known_machine():
            return  # nothing is sealed by its calls there
        self._parent = os.getppid()
        data = Spawn(1, 1000, 0, 0, 0, True, 0).encode()
        for _ in range(_ROUNDS):
            self._enter(data, (0, 0, 0))
        self._parent = self._pid

    def _mount_image(self, message: wire.Load, sent: bytearray) -> None:
        source = sent or self._image
        if source is not None:
            mount(source, message.entry, message.code_at, message.code_bytes)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            cpu_us = int((usage.ru_utime + usage.ru_stime) * 1e6)
            self._control.send(_EXITED.pack(69, pid, status, usage.ru_maxrss, cpu_us))
