"""Signals to anybody but oneself, and every other way to have one sent."""

from __future__ import annotations

from tests.hostile.case import CRASHED, OK, Case, Class, denied
from tests.hostile.cases.plugins import PLAIN

__all__ = ["SIGNALS"]

SIGNALS = Class("signals", PLAIN, [
    Case("signal the server", "os.kill(about['pid'], 10)", gentle=True),
    Case("signal the zygote", "os.kill(1, 0)", gentle=True),
    Case("signal a neighbour", "on_any(lambda pid: os.kill(pid, 0))", gentle=True),
    Case("signal everybody", "os.kill(-1, 0)", gentle=True),
    Case("signal the process group", "os.kill(0, 0)", gentle=True),
    Case("signal a thread of the server", "call(234, about['pid'], about['pid'], 10)", gentle=True),
    Case("signal a thread by its number alone", "on_any(lambda pid: call(200, pid, 0))", gentle=True),
    Case("queue a signal with data", "call(129, about['pid'], 10, ctypes.create_string_buffer(128))"),
    Case("queue a signal for a thread", "call(297, about['pid'], about['pid'], 10, ctypes.create_string_buffer(128))"),
    Case("signal by descriptor", "call(424, CHANNEL, 10, None, 0)"),
    Case("have a descriptor signal the server", """
        import fcntl
        fcntl.fcntl(CHANNEL, fcntl.F_SETOWN, about['pid'])
    """),
    Case("choose the signal of a descriptor", """
        import fcntl
        fcntl.fcntl(CHANNEL, 10, 10)
    """),
    Case("name a descriptor's owner by ioctl", """
        import fcntl
        fcntl.ioctl(CHANNEL, 0x8901, about['pid'].to_bytes(4, 'little'))
    """, denied("ENOTTY")),
    Case("ask for signals of the channel", """
        import fcntl
        fcntl.fcntl(CHANNEL, fcntl.F_SETFL, os.O_RDWR | os.O_ASYNC)
        return fcntl.fcntl(CHANNEL, fcntl.F_GETFL) & os.O_ASYNC != 0
    """, OK, denied(), accepts=lambda value: True),
    Case("watch a folder by signals", """
        import fcntl
        fcntl.fcntl(CHANNEL, 1026, 1)
    """),
    Case("ignore what cannot be ignored", """
        import signal
        signal.signal(signal.SIGKILL, signal.SIG_IGN)
    """, denied("EINVAL")),
    Case("take signals from a descriptor", "call(289, -1, ctypes.create_string_buffer(8), 8, 0)"),
    Case("kill oneself, as if from outside", "call(234, os.getpid(), os.getpid(), 9)"),
    Case("end by a signal of one's own", """
        import signal
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    """, CRASHED),
])  # fmt: skip
