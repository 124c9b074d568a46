"""What processes use of the processors, for both sides of a question. Standard library only."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["share_of_a_processor"]


def share_of_a_processor(process: int, seconds: int) -> float:
    """What a process and all its descendants use meanwhile: 0.01 is a hundredth of one processor."""
    start, before = time.perf_counter(), _used_s(process)
    time.sleep(seconds)
    return (_used_s(process) - before) / (time.perf_counter() - start)


def _used_s(process: int) -> float:
    """Seconds of processor time so far, by the scheduler's own clock: in nanoseconds, where `stat` knows hundredths."""
    used, waiting = 0.0, [process]
    while waiting:
        folder = Path("/proc", str(waiting.pop()), "task")
        try:
            for task in folder.iterdir():
                used += int((task / "schedstat").read_text().split()[0]) / 1e9
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return used
