"""Identifiers: a prefix that names the kind, then a ULID, which sorts by time of creation (Crockford base 32)."""

from __future__ import annotations

import os
import time

__all__ = ["new_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def new_id(prefix: str) -> str:
    """A new identifier such as `inst_01jd…`: 48 bits of milliseconds, 80 random bits."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    return f"{prefix}_{''.join([_PAIRS[(number >> shift) & 0x3FF] for shift in range(120, -1, -10)])}"
