"""Identifiers that sort by time of creation and that nobody guesses: UUID version 7 (RFC 9562)."""

from __future__ import annotations

import os
import re
import time

from jackfield_sdk.errors import PluginError

__all__ = ["Ids"]

_PREFIX = re.compile(r"[a-z][a-z0-9]{0,19}")


class Ids:
    """`ctx.ids`: new identifiers."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def new(self, prefix: str = "") -> str:
        """A new identifier: `order_0197f3c2a1b47e5c9d3f6a8b2c4d5e6f` for the prefix `order`.

        Those of one call sort in the order in which they were made: 60 bits of time in steps of a quarter of a
        microsecond, then 62 random bits.

        Args:
            prefix: Says what it names: at most 20 lower-case letters and digits. Without one it is a UUID with hyphens.

        Raises:
            PluginError: `id-prefix-invalid`.
        """
        if prefix and not _PREFIX.fullmatch(prefix):
            raise PluginError(f"{prefix[:40]!r} cannot begin an id", code="id-prefix-invalid", hint="As `order`.")
        # RFC 9562, 6.2, method 3: what is left of the millisecond goes into the 12 bits after the version.
        ticks = max(self._last + 1, (time.time_ns() << 12) // 1_000_000)
        self._last = ticks
        milliseconds, part = (ticks >> 12) & 0xFFFF_FFFF_FFFF, ticks & 0xFFF
        rest = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
        text = f"{milliseconds << 80 | 0x7 << 76 | part << 64 | 0b10 << 62 | rest:032x}"
        return f"{prefix}_{text}" if prefix else "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
