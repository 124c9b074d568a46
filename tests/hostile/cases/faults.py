"""Plugins that fall down, in the ways that take others with them."""

from __future__ import annotations

from tests.hostile.case import CPU, CRASHED, MEMORY, OK, TIMEOUT, Case, Class, End, denied, raised
from tests.hostile.cases.plugins import SMALL

__all__ = ["FAULTS"]

FAULTS = Class("faults", SMALL, [
    Case("read from nowhere", "return ctypes.string_at(0)", CRASHED),
    Case("write to nowhere", "ctypes.memset(8, 0, 8)", CRASHED),
    Case("jump to nowhere", "return ctypes.PYFUNCTYPE(ctypes.c_int)(1)()", CRASHED),
    Case("abort", "os.abort()", CRASHED),
    Case("an illegal instruction's signal", """
        import signal
        signal.raise_signal(signal.SIGILL)
    """, CRASHED),
    Case("the filter's own signal", """
        import signal
        signal.raise_signal(signal.SIGSYS)
    """, CRASHED, End("violation", "protocol-violation")),
    Case("leave quietly", "os._exit(0)", CRASHED),
    Case("leave loudly", "os._exit(255)", CRASHED),
    Case("leave politely", "sys.exit('bye')", raised("SystemExit")),
    Case("interrupt", "raise KeyboardInterrupt", raised("KeyboardInterrupt")),
    Case("byte code that is none", """
        code = (lambda: None).__code__.replace(co_code=bytes([255, 255] * 8), co_stacksize=0)
        exec(code)
    """, CRASHED, raised("SystemError")),
    Case("objects that are none", "return ctypes.cast(4096, ctypes.py_object).value", CRASHED),
    Case("a reference too few", """
        victims = [str(number) * 3 for number in range(1000)]
        for victim in victims:
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(victim))
        return 1
    """, CRASHED, OK, MEMORY, raised("SystemError", "TypeError"), accepts=lambda value: value == 1),
    Case("no builtins", """
        import builtins
        for name in list(vars(builtins)):
            if name not in ('__name__', 'delattr'):
                delattr(builtins, name)
        return 1
    """, CRASHED, OK, End("error", "plugin-error"), accepts=lambda value: value == 1),
    Case("no modules", "sys.modules.clear()\nreturn 1", CRASHED, OK, End("error", "plugin-error"),
         accepts=lambda value: value == 1),
    Case("no garbage collector", """
        import gc
        gc.disable()
        gc.callbacks.append(lambda *_: os._exit(3))
        gc.collect()
    """, CRASHED),
    Case("all descriptors taken, then a question", """
        import select
        taken = []
        try:
            while True:
                taken.append(select.epoll())
        except OSError:
            return ctx.storage.get('k', 'asked')
    """, OK, accepts=lambda value: value == "asked"),
    Case("the stack used up in C", """
        import re
        sys.setrecursionlimit(1 << 30)
        return len(repr(__import__('functools').reduce(lambda inner, _: [inner], range(200_000), [])))
    """, CRASHED, MEMORY, raised("RecursionError")),
    Case("killed by the kernel for its memory", """
        hoard = []
        while True:
            block = mapping(1 << 20, 3)
            ctypes.memset(block, 1, 1 << 20)
            hoard.append(block)
    """, MEMORY, denied("ENOMEM")),
    Case("a handler for the worst", """
        import faulthandler, signal
        signal.signal(signal.SIGSEGV, signal.SIG_IGN)
        while True:
            ctypes.string_at(0)
    """, CRASHED, CPU, TIMEOUT, raised("ModuleNotFoundError"), timeout_ms=1000),
    Case("end in a thread", """
        threading.Thread(target=os._exit, args=(9,)).start()
        time.sleep(5)
    """, CRASHED),
    Case("end in the kernel's way", "call(231, 0)", CRASHED),
    Case("end this thread alone", "call(60, 0)", CRASHED),
    Case("break the library for the next call", """
        import json
        json.dumps = None
        msgspec.convert = None
        return 1
    """, OK, accepts=lambda value: value == 1),
])  # fmt: skip
