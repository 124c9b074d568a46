"""Who goes first on the processors: a plugin that burns them runs when nobody else wants to.

The kernel's idle class does this better than anything else that was measured: what wakes up takes the processor from
such a process at once, and not at the end of its slice (docs/decisions/0009-fair-turns.md).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["lower", "restore", "state"]

_PASSES = 3
"""A thread that is started while the others are gone through has its maker's class, which may be the old one."""


def lower(pid: int) -> None:
    """Let a process, all threads of it and all that it starts run only when nobody else does."""
    done: set[str] = set()
    for _ in range(_PASSES):
        threads = _threads(pid) - done
        if not threads:
            return
        for thread in threads:
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))
        done |= threads


def restore(pid: int) -> bool:
    """Let it run like any other again; False where only root could."""
    for thread in _threads(pid):
        try:
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))
        except PermissionError:
            return False
        except OSError:
            continue
    return True


def state(pid: int) -> str:
    """The kernel's letter for what a process is doing; empty when it is gone."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _threads(pid: int) -> set[str]:
    try:
        return set(os.listdir(Path("/proc", str(pid), "task")))
    except OSError:
        return set()
