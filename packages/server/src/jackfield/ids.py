"""Identifiers: a prefix that names the kind, then a ULID, which sorts by time of creation (Crockford base 32)."""

from __future__ import annotations

import os
import time

__all__ = ["new_id", "new_ids", "next_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def new_id(prefix: str) -> str:
    """A new identifier such as `inst_01jd…`: 48 bits of milliseconds, 80 random bits."""
    return _written(prefix, _number())


def new_ids(prefix: str, count: int) -> list[str]:
    """So many of them, which takes less time."""
    moment, drawn = time.time_ns() // 1_000_000 << 80, os.urandom(10 * count)
    return [_written(prefix, moment | int.from_bytes(drawn[first : first + 10])) for first in range(0, 10 * count, 10)]


def next_id(prefix: str) -> str:
    """The same, behind all that this has given in this process: within a millisecond, too, in the order of the calls.

    How far behind is random, so that nobody can tell the next one.
    """
    global _last
    _last = max(_number(), _last + 1 + int.from_bytes(os.urandom(8)))
    return _written(prefix, _last)


_last = 0


def _number() -> int:
    return (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))


def _written(prefix: str, number: int) -> str:
    high, low = number >> 60, number & 0xFFF_FFFF_FFFF_FFFF
    # Spelled out: a loop takes twice as long, and every event and delivery has one.
    return (
        f"{prefix}_{_PAIRS[high >> 60]}{_PAIRS[high >> 50 & 0x3FF]}{_PAIRS[high >> 40 & 0x3FF]}"
        f"{_PAIRS[high >> 30 & 0x3FF]}{_PAIRS[high >> 20 & 0x3FF]}{_PAIRS[high >> 10 & 0x3FF]}{_PAIRS[high & 0x3FF]}"
        f"{_PAIRS[low >> 50]}{_PAIRS[low >> 40 & 0x3FF]}{_PAIRS[low >> 30 & 0x3FF]}{_PAIRS[low >> 20 & 0x3FF]}"
        f"{_PAIRS[low >> 10 & 0x3FF]}{_PAIRS[low & 0x3FF]}"
    )
