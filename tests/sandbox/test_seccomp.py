"""The system call filter, one denied family at a time, in a process that it alone seals."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys

import pytest

# A child that installs the filter and nothing else, then tries one thing and exits with the errno it met, 0 when it
# worked.
_PROGRAM = """
import ctypes, errno, os, signal, socket, sys, threading, time, mmap, fcntl, select
from jackfield_sandbox import kernel, seccomp
program = seccomp.build()
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]) == -1:
        raise OSError(ctypes.get_errno(), "")
kernel.set_no_new_privileges()
program.install(os.getpid())
try:
    {action}
except OSError as error:
    os._exit(error.errno)
os._exit(0)
"""


def _try(action: str) -> int:
    done = subprocess.run([sys.executable, "-c", _PROGRAM.format(action=action)], check=False, timeout=30)
    return done.returncode


@pytest.mark.parametrize("action", [
    "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "socket.socket(16, socket.SOCK_RAW)",
    "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "os.open('/etc/passwd', os.O_RDONLY)",
    "os.stat('/')",
    "os.fork()",
    "call(56, 17, 0, 0, 0, 0)",
    "call(56, 0x3D0F00 | 0x10000000, 0, 0, 0, 0)",
    "call(59, ctypes.c_char_p(b'/bin/true'), None, None)",
    "os.kill(os.getppid(), 0)",
    "call(234, os.getppid(), os.getppid(), 0)",
    "call(157, 1, 0, 0, 0, 0)",
    "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "call(10, 0, 0, 4)",
    "call(302, os.getppid(), 7, None, None)",
    "fcntl.fcntl(0, 8, os.getpid())",
    "os.dup(0)",
    "os.pipe()",
    "call(425, 4, None)",
    "call(323, 0)",
    "call(272, 0x10000000)",
    "call(321, 0, None, 0)",
    "call(298, None, 0, -1, -1, 0)",
    "call(248, None, None, None, 0, 0)",
    "call(29, 0, 4096, 0o600)",
    "call(319, ctypes.c_char_p(b'x'), 0)",
    "call(39 | 0x40000000)",
    "call(46, 0, None, 0)",
    "call(47, 0, None, 0)",
    "call(54, 0, 1, 7, None, 0)",
    "time.clock_gettime(~1 << 3 | 2)",
    "call(229, ~1 << 3 | 2, None)",
    "call(230, ~1 << 3 | 2, 0, None, None)",
    "os.sched_getaffinity(1)",
    "socket.socketpair()[0].send(b'x', socket.MSG_OOB)",
    "socket.socketpair()[0].recv(1, socket.MSG_OOB)",
    "socket.socketpair()[0].send(b'x', 0x4000000)",
    "mmap.mmap(-1, 2 << 20, flags=0x40022)",
    "mmap.mmap(-1, 4096).madvise(12)",
    "mmap.mmap(-1, 4096).madvise(21)",
    "signal.raise_signal(signal.SIGKILL)",
    "signal.raise_signal(signal.SIGSTOP)",
])  # fmt: skip
def test_a_call_that_is_not_listed_is_refused(action: str) -> None:
    assert _try(action) == errno.EPERM


def test_sending_to_an_address_is_refused_but_sending_on_a_pair_works() -> None:
    assert _try("a, b = socket.socketpair(); a.send(b'x'); b.recv(1)") == 0
    assert (
        _try(
            "a, b = socket.socketpair(); buffer = ctypes.create_string_buffer(16);"
            " call(44, a.fileno(), buffer, 1, 0, buffer, 16)"
        )
        == errno.EPERM
    )


def test_clone3_says_that_it_does_not_exist_so_that_threads_fall_back() -> None:
    assert _try("call(435, None, 0)") == errno.ENOSYS
    assert _try("t = threading.Thread(target=lambda: None); t.start(); t.join()") == 0


def test_locks_with_priorities_say_that_they_do_not_exist() -> None:
    assert _try("call(202, ctypes.byref(ctypes.c_int(0)), 6, 0, None)") == errno.ENOSYS
    assert _try("call(202, ctypes.byref(ctypes.c_int(0)), 12 | 128, 1, 1, None, 0)") == errno.ENOSYS


def test_ones_own_clocks_locks_and_processors_work() -> None:
    assert _try("time.process_time(); time.thread_time(); time.monotonic(); time.sleep(0.001)") == 0
    assert _try("os.sched_getaffinity(0)") == 0
    assert _try("signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.raise_signal(signal.SIGUSR1)") == 0
    assert _try("call(202, ctypes.byref(ctypes.c_int(0)), 1 | 128, 1, None)") == 0
    assert _try("mmap.mmap(-1, 4096).madvise(mmap.MADV_DONTNEED)") == 0
    assert _try("a, b = socket.socketpair(); a.send(b'x', socket.MSG_DONTWAIT); b.recv(1, socket.MSG_PEEK)") == 0


def test_terminals_cannot_be_typed_into() -> None:
    assert _try("fcntl.ioctl(0, 0x5412, b'x')") == errno.ENOTTY


def test_an_event_loop_works() -> None:
    assert _try("import asyncio; asyncio.new_event_loop().run_until_complete(asyncio.sleep(0))") == 0


def test_a_call_of_the_other_architecture_ends_the_process() -> None:
    # int 0x80 needs executable memory, which has to be made before the filter forbids it.
    code = """
import ctypes, mmap, os
from jackfield_sandbox import kernel, seccomp
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, 20 (getpid); int 0x80; ret
function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
program = seccomp.build()
kernel.set_no_new_privileges()
program.install(os.getpid())
function()
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    # SIGSYS from the filter, or SIGSEGV where the kernel has no 32-bit entry at all.
    assert -done.returncode in (31, 11)


def test_the_filter_is_for_this_machine() -> None:
    assert ctypes.sizeof(ctypes.c_void_p) == 8
    assert os.uname().machine == "x86_64"
