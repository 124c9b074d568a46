"""A filter that no plugin subscribes to: what a host pays for leaving a hook point in its code.

The peer is pluggy, the plugin library of pytest: a call in the same process, with no implementation registered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50
from benchmarks.peers import PEERS_PYTHON, Program

# As at the peer: one call is near the clock's own cost, so a sample is the mean of a block.
BLOCK = 100
BOOKING = {"id": "b-1", "service": "cut", "minutes": 30}


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Ours]:
    """`tenant.filter` at a hook point without subscribers, by a tenant with a plugin installed."""
    from benchmarks.host import ECHO, UNHEARD, started

    async with started(ECHO) as host:
        (echo,) = await host.install("echo", tenants=1)
        tenant = echo.tenant

        async def sample(count: int) -> list[float]:
            times: list[float] = []
            for _ in range(count):
                start = perf_counter()
                for _ in range(BLOCK):
                    await tenant.filter(UNHEARD, BOOKING)
                times.append((perf_counter() - start) / BLOCK)
            return times

        yield Ours(sample)


QUESTIONS = (
    Question(
        name="filter_without_subscriber",
        figures=(Figure("filter_without_subscriber", "µs", p50),),
        count=50,
        ours=ours,
        peers=(Beside(Program("pluggy", "pluggy", (PEERS_PYTHON, "pluggy_hook.py")), 200),),
    ),
)
