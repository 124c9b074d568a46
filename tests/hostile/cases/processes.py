"""More processes than one, and more threads than are allowed."""

from __future__ import annotations

from tests.hostile.case import MEMORY, OK, STRICT, TIMEOUT, Case, Class, denied, raised
from tests.hostile.cases.plugins import SMALL

__all__ = ["PROCESSES"]

PROCESSES = Class("processes", SMALL, [
    Case("fork bomb", """
        for _ in range(30):
            if os.fork() == 0:
                os._exit(0)
    """, gentle=True),
    Case("vfork", "call(58)"),
    Case("clone a process", """
        if call(56, 17, 0, 0, 0, 0) == 0:
            call(231, 0)
    """, gentle=True),
    Case("clone into new namespaces", "call(56, 0x3D0F00 | 0x10000000, 0, 0, 0, 0)"),
    Case("clone a thread that shares no files", "call(56, 0x3D0F00 & ~0x400, 0, 0, 0, 0)"),
    Case("clone with a high word set", "call(56, 0x3D0F00 | 1 << 33, 0, 0, 0, 0)"),
    Case("clone3", "call(435, ctypes.create_string_buffer(88), 88)", denied("ENOSYS")),
    Case("exec", "os.execv('/bin/true', ['true'])"),
    Case("execveat", "call(322, CHANNEL, b'', None, None, 0x1000)"),
    Case("memfd_create and exec from memory", """
        descriptor = os.memfd_create('x')
        os.write(descriptor, b'#!/bin/true')
        return descriptor
    """, gentle=True),
    Case("double fork into a daemon", """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(0.2)
            os._exit(0)
        os.wait()
    """, gentle=True),
    Case("zombie flood", """
        for _ in range(50):
            if os.fork() == 0:
                os._exit(0)
    """, gentle=True),
    Case("subprocess", """
        import subprocess
        return subprocess.run(['/bin/true']).returncode
    """, raised("ModuleNotFoundError", "ImportError"), denied("EPERM")),
    Case("os.system", "return os.system('true')", OK, accepts=lambda status: status != 0),
    Case("posix_spawn", "return os.posix_spawn('/bin/true', ['true'], {})"),
    Case("multiprocessing", """
        import multiprocessing
        multiprocessing.Process(target=print).start()
    """, raised("ModuleNotFoundError", "ImportError")),
    Case("thread bomb", """
        threading.stack_size(32768)
        gate = threading.Event()
        started = 0
        try:
            while started < 20000:
                threading.Thread(target=gate.wait, daemon=True).start()
                started += 1
        finally:
            gate.set()
        return started
    """, raised("RuntimeError"), MEMORY, TIMEOUT, timeout_ms=2000),
    Case("three hundred threads", """
        threading.stack_size(32768)
        gate = threading.Event()
        started = []
        try:
            for _ in range(300):
                started.append(threading.Thread(target=gate.wait, daemon=True))
                started[-1].start()
        finally:
            gate.set()
        return len(started)
    """, raised("RuntimeError"), levels=STRICT, gentle=True),
    Case("a session of its own", "os.setsid()"),
    Case("a process group of its own", "os.setpgid(0, 0)"),
    Case("outlive the zygote", "call(157, 1, 0, 0, 0, 0)"),
    Case("adopt orphans", "call(157, 36, 1, 0, 0, 0)"),
    Case("wait for strangers", "return os.waitpid(-1, 0)"),
])  # fmt: skip
