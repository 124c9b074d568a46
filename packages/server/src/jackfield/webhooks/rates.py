"""How many a minute: a bucket of tokens for each key, refilled evenly, in the node's memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["Buckets"]

_KEPT = 10_000


class Buckets:
    """Buckets of one size.

    Args:
        per_minute: What a bucket holds, and gets again in a minute.
        monotonic: Seconds.
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        self._size = float(per_minute)
        self._monotonic = monotonic
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> float:
        """Take one; 0 when there was one, else the seconds until there is."""
        now, per_second = self._monotonic(), self._size / 60
        level, last = self._levels.pop(key, (self._size, now))
        level = min(self._size, level + (now - last) * per_second)
        is_there = level >= 1
        self._levels[key] = (level - 1 if is_there else level, now)
        if len(self._levels) > _KEPT:
            self._levels.popitem(last=False)
        return 0.0 if is_there else (1 - level) / per_second
