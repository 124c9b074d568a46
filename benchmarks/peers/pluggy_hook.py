"""Seconds of a pluggy hook call that no plugin implements. Run in the peers' venv."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pluggy
from rounds import answer_rounds

# One call is shorter than reading the clock, so a sample is the mean of a block.
BLOCK = 100

hookspec = pluggy.HookspecMarker("benchmark")
BOOKING = {"id": "b-1", "service": "cut", "minutes": 30}


class Hooks:
    """The one hook point."""

    @hookspec(firstresult=True)
    def booking_before_create(self, booking: dict[str, Any]) -> dict[str, Any] | None:
        """May change a booking."""


def sample(count: int) -> list[float]:
    """Seconds per call, one figure per block."""
    manager = pluggy.PluginManager("benchmark")
    manager.add_hookspecs(Hooks)
    call = manager.hook.booking_before_create
    times: list[float] = []
    for _ in range(count):
        start = perf_counter()
        for _ in range(BLOCK):
            call(booking=BOOKING)
        times.append((perf_counter() - start) / BLOCK)
    return times


if __name__ == "__main__":
    answer_rounds(sample)
