"""The seccomp program: an allow-list, written from the calls CPython needs upwards, with their arguments checked.

What is not listed returns EPERM rather than killing, so that a newer glibc or CPython does not break plugins. Calls of
another architecture kill the process; x32 numbers are refused with everything else.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from jackfield_sandbox.kernel import call3

__all__ = ["SET_MODE_FILTER", "SYS_SECCOMP", "Program", "allowed_calls", "build"]

SYS_SECCOMP = 317
SET_MODE_FILTER = 1
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000

_KILL_PROCESS = 0x80000000
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

# Offsets in struct seccomp_data.
_NR, _ARCH = 0, 4
_ARG = tuple(16 + 8 * i for i in range(6))

_LD, _JEQ, _JGE, _JSET, _RET, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54

_ALWAYS = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "munmap": 11, "brk": 12, "rt_sigaction": 13,
    "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20, "select": 23, "sched_yield": 24,
    "mremap": 25, "nanosleep": 35, "getpid": 39, "shutdown": 48, "exit": 60, "gettimeofday": 96,
    "getrusage": 98, "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "sigaltstack": 131,
    "gettid": 186, "time": 201, "restart_syscall": 219, "exit_group": 231, "epoll_wait": 232,
    "epoll_ctl": 233, "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "epoll_pwait": 281, "epoll_create1": 291,
    "getrandom": 318, "rseq": 334, "epoll_pwait2": 441,
}  # fmt: skip

_SYS = {
    "mmap": 9, "mprotect": 10, "ioctl": 16, "madvise": 28, "sendto": 44, "recvfrom": 45, "socketpair": 53, "clone": 56,
    "fcntl": 72, "futex": 202, "sched_getaffinity": 204, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "tgkill": 234, "prlimit64": 302, "clone3": 435,
}  # fmt: skip

_PROT_EXEC = 4
_MAP_HUGETLB = 0x40000
_SIGKILL, _SIGSTOP = 9, 19
_NEGATIVE = 0x80000000
_FUTEX_OPTIONS = 0x180  # FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME
_FUTEX_COMMANDS = (0, 1, 3, 4, 5, 9, 10)
"""Wait, wake and requeue. Those with priority inheritance are a part of the kernel with a past, and Python has no use
for them."""
_SEND_FLAGS = 0x4040  # MSG_NOSIGNAL, MSG_DONTWAIT
_RECEIVE_FLAGS = 0x4142  # the same, MSG_PEEK, MSG_WAITALL
"""Above all without MSG_OOB: out-of-band data on Unix sockets was the way out of Chrome's renderer (CVE-2025-38236)."""
_ADVICE = (0, 1, 2, 3, 4, 8, 14, 15)
"""Without merging (other processes' pages can be guessed by the time that a write takes) and paging out."""
_FIONBIO = 0x5421
_THREAD_FLAGS = (0x3D0F00, 0x7D0F00)
"""What glibc and musl pass for a new thread; anything else would be a process or a namespace."""
_FCNTL_COMMANDS = (1, 2, 3, 4)  # F_GETFD, F_SETFD, F_GETFL, F_SETFL
_AF_UNIX = 1
_SOCK_STREAM_FLAGS = tuple(1 | cloexec | nonblock for cloexec in (0, 0o2000000) for nonblock in (0, 0o4000))

_Instruction = tuple[int, int, int, int]


def allowed_calls() -> tuple[str, ...]:
    """Names of all calls that may succeed, for the docs and the tests."""
    return tuple(sorted({*_ALWAYS, *_SYS} - {"clone3"}))


class Program:
    """An assembled program; `install` applies it to the calling thread for good.

    Everything that `ctypes` needs is made here, before the fork: types and buffers made in a child would cost it pages.
    """

    __slots__ = ("_address", "_buffer", "_header", "_pid_at")

    def __init__(self, instructions: list[_Instruction], pid_at: int) -> None:
        code = b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
        self._buffer = ctypes.create_string_buffer(code, len(code))
        self._pid_at = pid_at * 8 + 4
        header = struct.pack("<HxxxxxxQ", len(instructions), ctypes.addressof(self._buffer))
        self._header = ctypes.create_string_buffer(header, len(header))
        self._address = ctypes.addressof(self._header)

    @property
    def address(self) -> int:
        """Where seccomp(2) finds it."""
        return self._address

    def allow_signals_to(self, pid: int) -> None:
        """Say who is calling, before it is installed: signals may only go there."""
        struct.pack_into("<I", self._buffer, self._pid_at, pid)

    def install(self, pid: int) -> None:
        """Apply it to the calling thread.

        Args:
            pid: Own process id.
        """
        self.allow_signals_to(pid)
        call3(SYS_SECCOMP, SET_MODE_FILTER, 0, self._address)


class _Assembler:
    """Blocks of `load number, compare, check arguments, return`; each block falls through when the number differs."""

    def __init__(self) -> None:
        self.instructions: list[_Instruction] = []

    def add(self, code: int, jt: int, jf: int, k: int) -> int:
        self.instructions.append((code, jt, jf, k))
        return len(self.instructions) - 1

    def returns(self, action: int) -> int:
        return self.add(_RET, 0, 0, action)

    def block(self, number: int, body: list[_Instruction]) -> int:
        """A block for one call; returns the index of the body's first instruction. The accumulator holds the number."""
        self.add(_JEQ, 0, len(body), number)
        start = len(self.instructions)
        self.instructions.extend(body)
        return start


def _deny(number: int) -> _Instruction:
    return (_RET, 0, 0, _ERRNO | number)


def _one_of(argument: int, values: tuple[int, ...], refusal: int) -> list[_Instruction]:
    """Allow when the low word of an argument is one of the values and the high word is zero."""
    count = len(values)
    body: list[_Instruction] = [(_LD, 0, 0, _ARG[argument] + 4), (_JEQ, 0, count + 1, 0), (_LD, 0, 0, _ARG[argument])]
    for index, value in enumerate(values):
        # To the `allow` that follows the denial at the end.
        body.append((_JEQ, count - index, 0, value))
    return [*body, _deny(refusal), (_RET, 0, 0, _ALLOW)]


def build() -> Program:
    """Assemble the program."""
    asm = _Assembler()
    asm.add(_LD, 0, 0, _ARCH)
    asm.add(_JEQ, 1, 0, _AUDIT_ARCH_X86_64)
    asm.returns(_KILL_PROCESS)
    asm.add(_LD, 0, 0, _NR)
    asm.add(_JGE, 0, 1, _X32_BIT)
    asm.returns(_ERRNO | errno.EPERM)
    no_exec: list[_Instruction] = [
        (_LD, 0, 0, _ARG[2]), (_JSET, 0, 1, _PROT_EXEC), _deny(errno.EPERM), (_RET, 0, 0, _ALLOW),
    ]  # fmt: skip
    # Huge pages are a stock of the machine's that no memory group counts.
    asm.block(_SYS["mmap"], [*_none_of(3, _MAP_HUGETLB), *no_exec])
    asm.block(_SYS["mprotect"], no_exec)
    asm.block(_SYS["clone3"], [_deny(errno.ENOSYS)])
    asm.block(_SYS["clone"], _one_of(0, _THREAD_FLAGS, errno.EPERM))
    asm.block(_SYS["fcntl"], _low_one_of(1, _FCNTL_COMMANDS, errno.EPERM))
    asm.block(_SYS["ioctl"], _low_one_of(1, (_FIONBIO,), errno.ENOTTY))
    asm.block(_SYS["prlimit64"], _low_one_of(0, (0,), errno.EPERM))
    # A destination address would be another way out; NULL only.
    asm.block(_SYS["sendto"], [*_none_of(3, ~_SEND_FLAGS & 0xFFFFFFFF), *_one_of(4, (0,), errno.EPERM)])
    asm.block(_SYS["recvfrom"], [*_none_of(3, ~_RECEIVE_FLAGS & 0xFFFFFFFF), (_RET, 0, 0, _ALLOW)])
    asm.block(_SYS["futex"], _low_one_of(1, _FUTEX_COMMANDS, errno.ENOSYS, mask=~_FUTEX_OPTIONS & 0xFFFFFFFF))
    asm.block(_SYS["madvise"], _low_one_of(2, _ADVICE, errno.EPERM))
    for name in ("clock_gettime", "clock_getres", "clock_nanosleep"):
        # A negative number is a descriptor's clock, or the processor time of any process, a neighbour's included: what
        # it does, to the nanosecond.
        asm.block(_SYS[name], [*_none_of(0, _NEGATIVE), (_RET, 0, 0, _ALLOW)])
    # Of itself: with a number it tells which processes exist.
    asm.block(_SYS["sched_getaffinity"], _low_one_of(0, (0,), errno.EPERM))
    asm.block(
        _SYS["socketpair"],
        [
            (_LD, 0, 0, _ARG[0]),
            (_JEQ, 1, 0, _AF_UNIX),
            _deny(errno.EPERM),
            *_low_one_of(1, _SOCK_STREAM_FLAGS, errno.EPERM),
        ],
    )
    # Who is killed was killed from outside: a plugin that did it to itself would have its crashes not counted.
    deadly: list[_Instruction] = [
        (_LD, 0, 0, _ARG[2]), (_JEQ, 1, 0, _SIGKILL), (_JEQ, 0, 1, _SIGSTOP), _deny(errno.EPERM),
    ]  # fmt: skip
    own = _low_one_of(0, (0,), errno.EPERM)
    pid_at = asm.block(_SYS["tgkill"], [*deadly, *own]) + len(deadly) + 1
    for index, number in enumerate(sorted(_ALWAYS.values())):
        # Straight to the `allow` behind the final denial.
        asm.add(_JEQ, len(_ALWAYS) - index, 0, number)
    asm.returns(_ERRNO | errno.EPERM)
    asm.returns(_ALLOW)
    return Program(asm.instructions, pid_at)


def _none_of(argument: int, bits: int) -> list[_Instruction]:
    """Deny when the low word has one of the bits, go on otherwise."""
    return [(_LD, 0, 0, _ARG[argument]), (_JSET, 0, 1, bits), _deny(errno.EPERM)]


def _low_one_of(argument: int, values: tuple[int, ...], refusal: int, *, mask: int = 0xFFFFFFFF) -> list[_Instruction]:
    """Allow when the low word is one of the values: for arguments that the kernel itself reads as 32-bit numbers."""
    count = len(values)
    body: list[_Instruction] = [(_LD, 0, 0, _ARG[argument])]
    if mask != 0xFFFFFFFF:
        body.append((_AND, 0, 0, mask))
    for index, value in enumerate(values):
        body.append((_JEQ, count - index, 0, value))
    return [*body, _deny(refusal), (_RET, 0, 0, _ALLOW)]
