"""User ids for isolates: each living isolate has one that no other process on the machine has.

A zygote takes a range of 65,536 by locking a file; the lock goes with the process, so a crash frees the range.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["UidRange"]

_FOLDER = Path("/run/jackfield/uids")
_BASE = 0x1000_0000
_SIZE = 65_536
_RANGES = 4096


@dataclass(frozen=True, slots=True)
class UidRange:
    """`first` … `first + size - 1`, ours while `descriptor` is open."""

    first: int
    size: int
    descriptor: int

    @staticmethod
    def open() -> UidRange:
        """Take a free range.

        Raises:
            OSError: The folder cannot be written, or all ranges are taken.
        """
        _FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(_RANGES):
            descriptor = os.open(_FOLDER / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return UidRange(_BASE + number * _SIZE, _SIZE, descriptor)
        raise OSError("all ranges of user ids are taken")

    @staticmethod
    @contextlib.contextmanager
    def take() -> Generator[UidRange]:
        """A range for the length of a block."""
        taken = UidRange.open()
        try:
            yield taken
        finally:
            taken.close()

    def close(self) -> None:
        """Give it back."""
        os.close(self.descriptor)
