"""How much memory there is for isolates, and how much they take.

What isolates may grow to is not what they take: with a limit of 128 MB each, a machine would be full with a hundred of
them, where it holds thousands. So they are counted by what they take, one that is about to be started by what its like
took, and a reserve that the machine must keep is watched.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

__all__ = ["MemoryGauge", "machine_kb", "read_small"]

_GUESS_KB = 6 * 1024
"""What an isolate is taken to need before one of its installation has been looked at."""
_FLOOR_KB = 2 * 1024
_FRESH_S = 0.1
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limits of a container, as seen from within."""


def machine_kb() -> tuple[int, int]:
    """What this machine, or the container this process is in, has in all and has left."""
    total, left = 0, 0
    for line in read_small("/proc/meminfo").split(b"\n", 4)[:4]:
        name, _, value = line.partition(b":")
        if name == b"MemTotal":
            total = int(value.split()[0])
        elif name == b"MemAvailable":
            left = int(value.split()[0])
    for limit, used in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # no group, or `max`
            limit_kb = int(read_small(limit)) // 1024
            if limit_kb < total:
                total, left = limit_kb, min(left, limit_kb - int(read_small(used)) // 1024)
    return total, left


def read_small(path: str) -> bytes:
    """The first 4 KiB of a file of the kernel's, ten times as fast as by `open`: first calls wait for it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


class MemoryGauge:
    """Decides whether one more isolate fits.

    Args:
        budget_mb: What isolates may take together; 0: three quarters of the machine.
        reserve_mb: What must stay free for everything else; 0: a sixteenth of the machine, at most 512 MB.
        measure: What all isolates take, in bytes; None where the kernel does not count it.
    """

    def __init__(self, budget_mb: int, reserve_mb: int, measure: Callable[[], int | None]) -> None:
        total_kb, self._left_kb = machine_kb()
        self._measure = measure
        self._measured_kb: int | None = None
        self.budget_kb = budget_mb * 1024 or total_kb * 3 // 4
        self.reserve_kb = reserve_mb * 1024 or min(512 * 1024, total_kb // 16)
        self.taken_kb = 0
        """The sum of what isolates are taken to need; kept by who starts and ends them."""
        self._looked_at = float("-inf")
        self._promised_kb = 0

    @staticmethod
    def expected_kb(known_kb: int, limit_mb: int) -> int:
        """What an isolate is taken to need: as the last one of its installation, at most its limit."""
        return min(known_kb or _GUESS_KB, limit_mb * 1024)

    @staticmethod
    def footprint_kb(resident_kb: int, zygote_kb: int) -> int:
        """What an isolate takes beyond what it shares. The kernel counts shared pages as resident in each process."""
        return _FLOOR_KB + max(0, resident_kb - zygote_kb)

    def fits(self, expected_kb: int) -> bool:
        """Whether there is room for one more."""
        now = time.monotonic()
        if now - self._looked_at > _FRESH_S:
            self.look()
        taken = self.taken_kb if self._measured_kb is None else self._measured_kb + self._promised_kb
        return (
            taken + expected_kb <= self.budget_kb and self._left_kb - self._promised_kb - expected_kb >= self.reserve_kb
        )

    def promise(self, expected_kb: int) -> None:
        """One more is started; until the next look nobody else sees what it will take."""
        self._promised_kb += expected_kb

    def look(self) -> None:
        """See what is taken, and what is left."""
        _, self._left_kb = machine_kb()
        measured = self._measure()
        self._measured_kb = None if measured is None else max(measured // 1024, 0)
        self._looked_at = time.monotonic()
        self._promised_kb = 0

    @property
    def is_short(self) -> bool:
        """Whether the machine has less left than the reserve, at the last look."""
        return self._left_kb < self.reserve_kb

    @property
    def is_critical(self) -> bool:
        """Whether half of the reserve is gone: running isolates have to end before the kernel ends something else."""
        return self._left_kb < self.reserve_kb // 2
