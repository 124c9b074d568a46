"""A sliding minute, made of two counters: this minute's, and the part of the last one's that is still inside. Pure.

The exact way, a time for each call, costs memory by the call. This way supposes that the last minute's use was even; an
error of a few percent is known from others who count like this, and two counters are all that nodes have to share.
"""

from __future__ import annotations

__all__ = ["WINDOW_S", "refilled_at", "used", "wait_s"]

WINDOW_S = 60
_SOON_S = 0.05


def used(current: float, before: float, now: float) -> float:
    """What was used within the last minute.

    Args:
        current: Used since the minute began.
        before: Used in the minute before it.
        now: Seconds since 1970.
    """
    return current + before * (1 - now % WINDOW_S / WINDOW_S)


def wait_s(current: float, before: float, now: float, limit: float, need: float = 1) -> float:
    """Seconds until `need` more fit, if nothing is used meanwhile; two windows for what never fits."""
    elapsed, room = now % WINDOW_S, limit - need
    if room < 0:
        return 2.0 * WINDOW_S
    if used(current, before, now) <= room:
        return _SOON_S
    if current <= room:
        # before × (1 - t / window) = room - current
        return max(WINDOW_S * (1 - (room - current) / before) - elapsed, _SOON_S)
    # This minute's use has to become the last minute's first.
    return max(WINDOW_S - elapsed + WINDOW_S * (1 - room / current), _SOON_S)


def refilled_at(current: float, before: float, now: float) -> float | None:
    """Seconds since 1970 when all that was used will be outside; None when nothing is inside."""
    begin = now - now % WINDOW_S
    if current > 0:
        return begin + 2 * WINDOW_S
    return begin + WINDOW_S if before > 0 else None
