"""Counting from inside an isolate: out to the platform, a durable transaction in SQLite, and back.

Goal: p50 at most 2 ms; most of it is the disk, since every commit is synced. Beside it setting a value, which is one
statement less, and counting in the cache, which has no disk to wait for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Effort, Figure, Ours, Question, p50


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Ours]:
    """The plugin itself times each of them."""
    from benchmarks.host import PROBE, started

    async with started(PROBE) as host:
        (probe,) = await host.install("probe", tenants=1)

        async def increments(count: int) -> list[float]:
            return await probe.call("time_increments", count=count)

        async def sets(count: int) -> list[float]:
            return await probe.call("time_sets", count=count)

        async def cached(count: int) -> list[float]:
            return await probe.call("time_cached_increments", count=count)

        yield Ours(increments, beside=(("storage set", sets), ("cache increment", cached)))


QUESTIONS = (
    Question(
        name="storage_increment",
        figures=(Figure("storage_increment_p50", "µs", p50),),
        count=300,
        ours=ours,
        peers=(),
    ),
)
