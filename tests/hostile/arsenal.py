"""What the hostile plugins share. It is packed with each of them and runs only inside isolates.

Numbers of system calls are those of x86-64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from jackfield_sdk import wire

__all__ = [
    "CHANNEL",
    "address",
    "call",
    "channel",
    "ctypes",
    "errno",
    "host_call",
    "kinds",
    "mapping",
    "msgspec",
    "on_any",
    "os",
    "raw",
    "say",
    "socket",
    "sys",
    "threading",
    "time",
    "wire",
]

CHANNEL = 200
_kept: list[socket.socket] = []
"""Or the first that is collected would close the channel."""
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: Any) -> int:
    """A raw system call; raises as `os` does."""
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    values = [ctypes.c_char_p(a) if isinstance(a, bytes) else a for a in values]
    result = libc.syscall(ctypes.c_long(number), *values)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def address(buffer: Any) -> int:
    """Where a ctypes object lies."""
    return ctypes.addressof(buffer)


def mapping(length: int, protection: int, flags: int = 0x22) -> int:
    """A raw mmap; anonymous and private unless told otherwise."""
    return call(9, 0, length, protection, flags, -1, 0)


def on_any(action: Callable[[int], Any]) -> Any:
    """What the action gives for the first other process on which it works; the most telling error when there is none.

    Others are the zygote, which is the parent and the first of its process-id namespace, and the isolates that were
    forked shortly before and after.
    """
    own = os.getpid()
    near = sorted(set(range(max(1, own - 60), own + 60)) - {own}, key=lambda pid: abs(pid - own))
    worst: OSError | None = None
    for pid in (1, *near):
        try:
            return action(pid)
        except OSError as error:
            if worst is None or (worst.errno == errno.ESRCH and error.errno != errno.ESRCH):
                worst = error
    raise worst or OSError(errno.ESRCH, "nobody is near")


def channel() -> socket.socket:
    """The channel as a socket; its kind is told, for to ask the kernel is refused."""
    _kept.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=CHANNEL))
    return _kept[-1]


def raw(value: Any) -> msgspec.Raw:
    """A value as it goes into a message."""
    return msgspec.Raw(wire.encode(value))


def say(message: Any) -> None:
    """To the node, past the SDK: bytes as they are, a message in a frame."""
    data = message if isinstance(message, bytes) else wire.frame(message)
    while data:
        data = data[os.write(CHANNEL, data) :]


def host_call(ctx: Any, capability: str, operation: str, **arguments: Any) -> Any:
    """Any capability call, whether the SDK knows it or not."""
    return ctx.storage._host.call(capability, operation, arguments)


def kinds(family: int, protocol: int = 0) -> Any:
    """A socket of a family, of whatever kind the kernel would make; the first refusal when none."""
    first: OSError | None = None
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind, protocol).close()
        except OSError as error:
            first = first or error
        else:
            return "a socket"
    raise first or OSError(errno.EPERM, "none")
