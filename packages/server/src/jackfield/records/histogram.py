"""How long calls took, in few numbers that can be added up: counts by size of the duration.

Each bucket is √2 times as wide as the one before it, from 64 µs to 47 s. A quantile is read from between its bucket's
bounds, so it is off by less than a fifth, whatever the durations are; averages of quantiles would mean nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

__all__ = ["BOUNDS_US", "bucket", "quantile_us"]

BOUNDS_US = tuple(round(64 * 2 ** (step / 2)) for step in range(40))
"""Longest duration of each bucket, in microseconds; a last bucket takes what is longer."""


def bucket(duration_us: int) -> int:
    """Where a duration is counted."""
    return bisect_left(BOUNDS_US, duration_us)


def quantile_us(counts: Mapping[int, int], share: float, maximum_us: int) -> float:
    """The duration that this share of the calls did not exceed.

    Args:
        counts: Bucket → calls.
        share: From 0 to 1.
        maximum_us: The longest of all; no quantile is above it.
    """
    total = sum(counts.values())
    wanted = share * total
    seen = 0
    for number in sorted(counts):
        count = counts[number]
        if count and seen + count >= wanted:
            low = BOUNDS_US[number - 1] if number else 0
            high = min(BOUNDS_US[number] if number < len(BOUNDS_US) else maximum_us, maximum_us)
            return low + (high - low) * (wanted - seen) / count if high > low else float(high)
        seen += count
    return float(maximum_us if total else 0)
