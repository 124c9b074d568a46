"""Time without end, in Python, in C, asleep, and in what runs when everything else is over."""

from __future__ import annotations

from tests.hostile.case import CPU, MEMORY, OK, TIMEOUT, Case, Class, denied, raised
from tests.hostile.cases.plugins import BRIEF

__all__ = ["TIMES"]

_SHORT = 400

TIMES = Class("time", BRIEF, [
    Case("busy loop", """
        while True:
            pass
    """, CPU, TIMEOUT, timeout_ms=_SHORT),
    Case("busy loop in C", "return pow(3, 10 ** 9) % 7", CPU, TIMEOUT, MEMORY, timeout_ms=_SHORT),
    Case("a pattern that backtracks", """
        import re
        return re.match('(a+)+$', 'a' * 60 + 'b')
    """, CPU, TIMEOUT, timeout_ms=_SHORT),
    Case("a hash of many rounds", """
        import hashlib
        return hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2 ** 30).hex()
    """, CPU, TIMEOUT, timeout_ms=_SHORT),
    Case("a number as text", """
        sys.set_int_max_str_digits(0)
        return len(str(1 << 30_000_000))
    """, CPU, TIMEOUT, MEMORY, timeout_ms=_SHORT),
    Case("keys that collide", """
        keys = [-(2 ** 61 - 1) * n + 2 ** 63 for n in range(4)]
        class Key(int):
            def __hash__(self):
                return 1
        return len({Key(n): n for n in range(100_000)})
    """, CPU, TIMEOUT, timeout_ms=_SHORT),
    Case("eight threads at once", """
        import hashlib
        def burn():
            hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2 ** 30)
        threads = [threading.Thread(target=burn) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    """, CPU, TIMEOUT, timeout_ms=_SHORT),
    Case("sleep", "time.sleep(3600)", TIMEOUT, timeout_ms=_SHORT),
    Case("sleep in the kernel", """
        call(35, ctypes.create_string_buffer((3600).to_bytes(8, 'little') + bytes(8)), None)
    """, TIMEOUT, timeout_ms=_SHORT),
    Case("deadlock", """
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    """, TIMEOUT, timeout_ms=_SHORT),
    Case("wait for oneself on a futex", """
        word = ctypes.c_int(7)
        call(202, ctypes.byref(word), 0, 7, None)
    """, TIMEOUT, timeout_ms=_SHORT),
    Case("swallow every exception", """
        while True:
            try:
                while True:
                    time.sleep(0.01)
            except BaseException:
                pass
    """, TIMEOUT, CPU, timeout_ms=_SHORT),
    Case("never leave finally", """
        try:
            return 1
        finally:
            while True:
                time.sleep(0.01)
    """, TIMEOUT, CPU, timeout_ms=_SHORT),
    Case("a finalizer that never ends", """
        class Storm:
            def __del__(self):
                while True:
                    Storm.__init__
        Storm()
    """, TIMEOUT, CPU, timeout_ms=_SHORT),
    Case("a coroutine that never ends", """
        import asyncio
        async def forever():
            while True:
                try:
                    await asyncio.sleep(0.01)
                except BaseException:
                    pass
        asyncio.run(forever())
    """, TIMEOUT, CPU, timeout_ms=_SHORT),
    Case("hang on the way out", """
        import atexit
        atexit.register(time.sleep, 3600)
        raise SystemExit(0)
    """, raised("SystemExit")),
    Case("an error that takes for ever to say what it is", """
        class Endless(Exception):
            def __str__(self):
                while True:
                    pass
        raise Endless
    """, TIMEOUT, CPU, timeout_ms=_SHORT),
    Case("timer flood", """
        for _ in range(100_000):
            timer = threading.Timer(60, print)
            timer.daemon = True
            timer.start()
    """, raised("RuntimeError"), MEMORY),
    Case("interval timers", """
        import signal
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    """, denied()),
    Case("timers of the kernel's", "call(222, 0, None, ctypes.create_string_buffer(8))"),
    Case("stop oneself", "call(234, os.getpid(), os.getpid(), 19)"),
    Case("mask all signals", """
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        time.sleep(3600)
    """, TIMEOUT, timeout_ms=_SHORT),
    Case("never let another thread run", """
        sys.setswitchinterval(1e6)
        threading.Thread(target=time.sleep, args=(3600,)).start()
        while True:
            pass
    """, CPU, TIMEOUT, timeout_ms=_SHORT),
    Case("give oneself more time", """
        import resource
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError):
            pass
        time.time = time.monotonic = lambda: 0.0
        time.sleep(3600)
    """, TIMEOUT, timeout_ms=_SHORT),
    Case("a higher priority", "os.setpriority(os.PRIO_PROCESS, 0, -5)", denied("EPERM")),
    Case("a real-time scheduler", "call(144, 0, 1, ctypes.create_string_buffer((50).to_bytes(4, 'little')))"),
    Case("choose processors", "os.sched_setaffinity(0, {0})", gentle=True),
    Case("change the clock", "time.clock_settime(time.CLOCK_REALTIME, 0.0)", denied()),
    Case("work that is done", "return sum(range(1000))", OK, accepts=lambda value: value == 499_500),
])  # fmt: skip
