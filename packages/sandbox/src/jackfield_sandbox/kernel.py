"""The kernel calls that Python has no function for, by `ctypes`, each raising `OSError` as the `os` module does.

x86-64 only: numbers of system calls differ by machine, and a wrong one would be a hole, so other machines are refused.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "UnsupportedMachineError",
    "call3",
    "check_machine",
    "drop_capabilities",
    "fork",
    "is_known_machine",
    "mount",
    "pivot_root",
    "raw",
    "set_name",
    "set_no_new_privileges",
    "set_not_dumpable",
    "set_parent_death_signal",
    "syscall",
    "umount_detach",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_SYS_CAPSET = 126
_SYS_PIVOT_ROOT = 155
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class UnsupportedMachineError(RuntimeError):
    """This machine's system call numbers are not known to us."""


def is_known_machine() -> bool:
    """Whether this is Linux on x86-64."""
    return platform.system() == "Linux" and platform.machine() == "x86_64"


def check_machine() -> None:
    """Refuse to go on where the seccomp program would mean something else.

    Raises:
        UnsupportedMachineError: Not Linux on x86-64.
    """
    if not is_known_machine():
        raise UnsupportedMachineError(
            f"sealing needs Linux on x86-64, this is {platform.system()} on {platform.machine()}"
        )


def syscall(number: int, *arguments: object) -> int:
    """One raw system call. Integers are passed as 64-bit values."""
    result = _libc.syscall(
        ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    )  # fmt: skip
    if result == -1:
        _raise()
    return result


def _raise() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


# With declared types: what a call makes of its arguments otherwise costs a fork dozens of pages.
_prctl_call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, *[ctypes.c_ulong] * 4, use_errno=True)(("prctl", _libc))


raw = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_ulong] * 5, use_errno=True)(("syscall", _libc))
"""A system call by its number, with four plain numbers; -1 and `ctypes.get_errno()` when it fails."""


def call3(number: int, first: int, second: int, third: int) -> None:
    """A system call of up to three plain numbers, the cheap way."""
    if raw(number, first, second, third, 0) == -1:
        _raise()


def _prctl(option: int, value: int) -> None:
    if _prctl_call(option, value, 0, 0, 0) != 0:
        _raise()


def set_parent_death_signal(signal: int) -> None:
    """The signal this process gets when its parent's thread ends. Changing credentials clears it."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def set_not_dumpable() -> None:
    """No core dump; no other process of the same user may trace it or read its memory."""
    _prctl(_PR_SET_DUMPABLE, 0)


def set_no_new_privileges() -> None:
    """No exec can raise privileges any more; seccomp and Landlock ask for it."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """Name of the process in `ps`; 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        _raise()


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [None if value is None else value.encode() for value in (source, target, kind, data)]
    if _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]) != 0:
        _raise()


def umount_detach(target: str) -> None:
    """umount2(2) with MNT_DETACH."""
    if _libc.umount2(target.encode(), ctypes.c_int(_MNT_DETACH)) != 0:
        _raise()


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    syscall(_SYS_PIVOT_ROOT, ctypes.c_char_p(new.encode()), ctypes.c_char_p(old.encode()))


def drop_capabilities() -> None:
    """Give up every capability, as a process that is root only in its own user namespace should."""
    header = struct.pack("<Ii", 0x20080522, 0)
    syscall(_SYS_CAPSET, ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


_fork = ctypes.PyDLL(None, use_errno=True).fork


def fork() -> int:
    """fork(2) without Python's own hooks, for a process that has one thread and no locks held.

    `os.fork` runs everything that modules registered for the child: reseeding, new locks for logging and threads. That
    touches some 170 pages, half a millisecond of copying. The caller reseeds what has to be reseeded.
    """
    pid = _fork()
    if pid < 0:
        _raise()
    return pid
