"""The self-attack: a hostile plugin of our own. It runs inside an isolate, never on the node; the doctor reads its
report.

Each attack returns `OPEN` when it worked, otherwise the name of the error that stopped it. Numbers of system calls are
those of x86-64. Nothing here harms the machine when it works: it reads a canary, connects to a listener of the
doctor's, signals with 0.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import mmap
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("jackfield-doctor", version="1.0.0")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
OPEN = "OPEN"
_CHANNEL = 200


class _NeedError(Exception):
    """The attack met something else than an error of the kernel."""


def _call(number: int, *arguments: Any) -> int:
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = _libc.syscall(ctypes.c_long(number), *values)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _neighbours() -> list[int]:
    own = os.getpid()
    near = [pid for pid in range(max(1, own - 40), own + 40) if pid != own]
    return [os.getppid(), 1, *near] if own > 2 else near


def _on_any_neighbour(action: Callable[[int], Any]) -> None:
    """Succeeds when the action does on any other process; otherwise raises the most telling error."""
    worst: OSError | None = None
    for pid in _neighbours():
        if pid <= 0:
            continue
        try:
            action(pid)
        except OSError as error:
            if worst is None or (worst.errno == errno.ESRCH and error.errno != errno.ESRCH):
                worst = error
        else:
            return
    if worst is not None:
        raise worst


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(16)


def _write_file(folder: str) -> None:
    path = f"{folder}/written"
    with open(path, "wb") as file:
        file.write(b"x")
    os.unlink(path)


def _symlink(folder: str) -> None:
    os.symlink("/etc/passwd", f"{folder}/link")
    os.unlink(f"{folder}/link")


def _write_large(folder: str) -> None:
    descriptor = os.open(f"{folder}/large", os.O_CREAT | os.O_WRONLY)
    try:
        os.posix_fallocate(descriptor, 0, 20 * 1024 * 1024)
    finally:
        os.close(descriptor)
        os.unlink(f"{folder}/large")


def _inherited(canary: str) -> None:
    for descriptor in range(1024):
        try:
            if canary.encode() in os.pread(descriptor, 256, 0):
                return
        except OSError:
            continue
    raise OSError(errno.EBADF, "no such descriptor")


def _connect_tcp(port: int, protocol: int = 0) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as s:
        s.connect(("127.0.0.1", port))


def _udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", ("127.0.0.1", port))


def _unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(address)


def _out_of_band() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.send(b"x", socket.MSG_OOB)


def _family(family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def _fork() -> None:
    pid = _call(57)
    if pid == 0:
        _call(231, 0)
    os.waitpid(pid, 0)


def _vfork_like() -> None:
    # clone(SIGCHLD) without CLONE_THREAD: a process.
    pid = _call(56, 17, 0, 0, 0, 0)
    if pid == 0:
        _call(231, 0)
    os.waitpid(pid, 0)


def _exec() -> None:
    # Checked without replacing this process: execve of nothing fails with EFAULT or ENOENT when it is allowed at all.
    try:
        _call(59, ctypes.c_char_p(b"/bin/true"), None, None)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EFAULT):
            return
        raise


def _memfd() -> None:
    os.close(_call(319, ctypes.c_char_p(b"x"), 0))


def _threads(count: int) -> None:
    gate = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=gate.wait)
            thread.start()
            started.append(thread)
    finally:
        gate.set()
        for thread in started:
            thread.join()


def _ptrace(pid: int) -> None:
    _call(101, 16, pid, 0, 0)
    _call(101, 17, pid, 0, 0)


def _vm_read(pid: int) -> None:
    buffer = ctypes.create_string_buffer(8)

    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    local = Vector(ctypes.addressof(buffer), 8)
    remote = Vector(ctypes.addressof(buffer), 8)
    _call(310, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


def _pidfd(pid: int) -> None:
    descriptor = _call(434, pid, 0)
    try:
        os.close(_call(438, descriptor, 0, 0))
    finally:
        os.close(descriptor)


def _prlimit(pid: int) -> None:
    # Reading a neighbour's limit is as far as it goes.
    buffer = ctypes.create_string_buffer(16)
    _call(302, pid, resource.RLIMIT_NOFILE, None, buffer)


def _kill_all() -> None:
    os.kill(-1, 0)


def _affinity() -> None:
    os.sched_setaffinity(0, {0})


def _setuid() -> None:
    if os.getuid() != 0:
        _call(105, 0)
    # The name alone is nothing: what counts is whether root's powers come with it.
    _call(161, ctypes.c_char_p(b"/"))


def _alloc() -> None:
    block = mmap.mmap(-1, 600 * 1024 * 1024)
    block.close()


def _dup() -> None:
    taken: list[int] = []
    try:
        while len(taken) < 5000:
            taken.append(os.dup(_CHANNEL))
    finally:
        for descriptor in taken:
            os.close(descriptor)


def _executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _x32() -> None:
    _call(39 | 0x40000000)


def _stop_parent_signal() -> None:
    # Clearing the parent-death signal would let it outlive the zygote.
    _call(157, 1, 0, 0, 0, 0)


def _fd_owner() -> None:
    import fcntl

    fcntl.fcntl(_CHANNEL, 8, os.getppid())


def _terminal() -> None:
    import fcntl

    fcntl.ioctl(_CHANNEL, 0x5412, b"x")


def _proc_listing() -> None:
    os.listdir("/proc")


def _io_uring() -> None:
    parameters = ctypes.create_string_buffer(120)
    os.close(_call(425, 4, parameters))


def _perf() -> None:
    attributes = ctypes.create_string_buffer(120)
    attributes[4] = 120
    os.close(_call(298, attributes, 0, -1, -1, 0))


def _attacks(about: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    port, folder = int(about["tcp_port"]), str(about["folder"])
    return {
        "read a secret file": lambda: _read(str(about["secret"])),
        "read /etc/passwd": lambda: _read("/etc/passwd"),
        "read a neighbour's command line": lambda: _on_any_neighbour(lambda pid: _read(f"/proc/{pid}/cmdline")),
        "read a neighbour's environment": lambda: _on_any_neighbour(lambda pid: _read(f"/proc/{pid}/environ")),
        "list /proc": _proc_listing,
        "list the root directory": lambda: os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY)),
        "open own memory": lambda: os.close(os.open("/proc/self/mem", os.O_RDWR)),
        "stat /etc/shadow": lambda: os.stat("/etc/shadow"),
        "change directory": lambda: os.chdir("/"),
        "write into a world-writable directory": lambda: _write_file(folder),
        "symlink in a world-writable directory": lambda: _symlink(folder),
        "write 20 MB": lambda: _write_large(folder),
        "use an inherited descriptor": lambda: _inherited(str(about["canary"])),
        "connect by TCP": lambda: _connect_tcp(port),
        "connect by MPTCP": lambda: _connect_tcp(port, 262),
        "send by UDP": lambda: _udp(int(about["udp_port"])),
        "connect to an abstract unix socket": lambda: _unix("\0" + str(about["abstract"])),
        "connect to a unix socket by path": lambda: _unix(str(about["socket"])),
        "netlink socket": lambda: _family(16, socket.SOCK_RAW),
        "AF_ALG socket": lambda: _family(38, socket.SOCK_SEQPACKET),
        "AF_VSOCK socket": lambda: _family(40, socket.SOCK_STREAM),
        "packet socket": lambda: _family(17, socket.SOCK_RAW),
        "fork": _fork,
        "clone a process": _vfork_like,
        "exec": _exec,
        "memfd_create": _memfd,
        "300 threads": lambda: _threads(300),
        "ptrace a neighbour": lambda: _on_any_neighbour(_ptrace),
        "read a neighbour's memory": lambda: _on_any_neighbour(_vm_read),
        "signal a neighbour": lambda: _on_any_neighbour(lambda pid: os.kill(pid, 0)),
        "signal everybody": _kill_all,
        "take a neighbour's descriptors": lambda: _on_any_neighbour(_pidfd),
        "read a neighbour's limits": lambda: _on_any_neighbour(_prlimit),
        "read a neighbour's processor time": lambda: _on_any_neighbour(lambda pid: time.clock_gettime(~pid << 3 | 2)),
        "read a neighbour's processors": lambda: _on_any_neighbour(os.sched_getaffinity),
        "out-of-band data": _out_of_band,
        "have equal pages merged": lambda: mmap.mmap(-1, 4096).madvise(12),
        "io_uring": _io_uring,
        "userfaultfd": lambda: os.close(_call(323, 1)),
        "new user namespace": lambda: _call(272, 0x10000000),
        "bpf": lambda: _call(321, 5, ctypes.create_string_buffer(128), 128),
        "perf_event_open": _perf,
        "add_key": lambda: _call(248, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"x"), ctypes.c_char_p(b"x"), 1, -3),
        "System V shared memory": lambda: _call(30, _call(29, 0, 4096, 0o1600), 0, 0),
        "inotify": lambda: os.close(_call(294, 0)),
        "raise own priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
        "choose processors": _affinity,
        "become root": _setuid,
        "allocate 600 MB": _alloc,
        "5000 descriptors": _dup,
        "writable and executable memory": _executable_memory,
        "x32 system call": _x32,
        "drop the parent-death signal": _stop_parent_signal,
        "direct signals of a descriptor": _fd_owner,
        "type into a terminal": _terminal,
        "mount": lambda: _call(165, None, ctypes.c_char_p(b"/"), None, 32 | 1, None),
        "open by handle": lambda: _call(304, _CHANNEL, ctypes.create_string_buffer(64), 0),
        "set the clock": lambda: _call(227, 0, ctypes.create_string_buffer(16)),
    }


def _works_threads() -> None:
    _threads(4)


def _works_asyncio() -> None:
    import asyncio

    async def main() -> int:
        await asyncio.sleep(0)
        return 1

    if asyncio.run(main()) != 1:
        raise _NeedError("asyncio.run")


def _works_library() -> None:
    import datetime
    import decimal
    import hashlib
    import json
    import random
    import re
    import uuid
    import zoneinfo

    json.loads("[1]")
    re.match("a", "a")
    hashlib.sha256(b"x").digest()
    decimal.Decimal("1.1")
    datetime.datetime.now(zoneinfo.ZoneInfo("Europe/London"))
    uuid.uuid4()
    random.random()


def _works_lazy_imports() -> None:
    for name in ("email.mime.text", "html.entities", "http.client", "urllib.request", "xml.dom.minidom"):
        importlib.import_module(name)


_NEEDS: dict[str, Callable[[], None]] = {
    "four threads": _works_threads,
    "asyncio.run": _works_asyncio,
    "the usual library": _works_library,
    "imports after lock-down": _works_lazy_imports,
}


def _judge(action: Callable[[], Any]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "OSError")
    except BaseException as error:  # MemoryError, RuntimeError("can't start new thread") and others stop an attack, too
        return type(error).__name__
    return OPEN


@plugin.filter("doctor.attack")
def attack(_ctx: jf.Context, about: dict[str, Any]) -> dict[str, str]:
    """Run the named attacks, or all; attack → `OPEN` or what stopped it."""
    every = _attacks(about)
    names = about.get("only") or list(every)
    return {name: _judge(every[name]) for name in names}


@plugin.filter("doctor.work")
def work(_ctx: jf.Context, _about: dict[str, Any]) -> dict[str, str]:
    """What plugins need and must go on working; need → `OPEN` or what stopped it."""
    return {name: _judge(action) for name, action in _NEEDS.items()}


@plugin.filter("doctor.names")
def names(_ctx: jf.Context, _about: dict[str, Any]) -> dict[str, str]:
    """Names of all attacks."""
    about = {"tcp_port": 0, "udp_port": 0, "folder": "", "secret": "", "canary": "", "abstract": "", "socket": ""}
    return dict.fromkeys(_attacks(about), "")


@plugin.filter("doctor.descriptors")
def descriptors(_ctx: jf.Context, _about: dict[str, Any]) -> dict[str, str]:
    """Every descriptor that is open in here."""
    found: dict[str, str] = {}
    for number in range(1024):
        # A socket cannot be sought in, a closed descriptor does not exist; the difference is all that is asked.
        if _judge(lambda number=number: os.lseek(number, 0, os.SEEK_CUR)) != "EBADF":
            found[str(number)] = OPEN
    return found


@plugin.filter("doctor.version")
def version(_ctx: jf.Context, _about: dict[str, Any]) -> dict[str, str]:
    """The interpreter's version, as the isolate sees it."""
    return {"python": sys.version}
