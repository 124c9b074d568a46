"""Seconds to start and end a bare interpreter: `python -I -S -c pass`."""

from __future__ import annotations

import os
import sys
from time import perf_counter

from rounds import answer_rounds

COMMAND = [sys.executable, "-I", "-S", "-c", "pass"]


def sample(count: int) -> list[float]:
    """Seconds of each start, from spawn to reaped."""
    times: list[float] = []
    for _ in range(count):
        start = perf_counter()
        pid = os.posix_spawn(COMMAND[0], COMMAND, os.environ)
        _, status = os.waitpid(pid, 0)
        times.append(perf_counter() - start)
        if status:
            raise SystemExit(f"{' '.join(COMMAND)} ended with status {status}")
    return times


if __name__ == "__main__":
    answer_rounds(sample)
