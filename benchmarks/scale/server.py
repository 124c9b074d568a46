"""`python -m benchmarks.scale.server`: a node with eight callers, asked by lines as the peers are.

In: how many stretches of time. Out: calls per second in each, as a JSON list.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter

import uvloop

from benchmarks.host import SMALL, Installed, started

# As at the peer, `peers/ping.py`.
AT_ONCE = 8
STRETCH_S = 0.2


async def serve() -> None:
    """Answer until the input closes."""
    async with started(SMALL, isolates=4 * AT_ONCE) as host:
        installed = await host.install("small", tenants=AT_ONCE)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps([await rate(installed) for _ in range(int(line))]), flush=True)


async def rate(installed: list[Installed]) -> float:
    """Calls per second, all callers together."""
    start = perf_counter()

    async def caller(one: Installed) -> int:
        calls = 0
        while perf_counter() - start < STRETCH_S:
            await one.timed_echo()
            calls += 1
        return calls

    calls = sum(await asyncio.gather(*map(caller, installed)))
    return calls / (perf_counter() - start)


if __name__ == "__main__":
    uvloop.run(serve())
