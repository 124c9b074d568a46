"""From the commit of a host's transaction to the first line of the plugin's handler, in a warm isolate.

Goal: p50 at most 3 ms. The host is the platform's own process; one event at a time. The peer is PgQueuer, woken by
`LISTEN`, whose handler is in its own process and sealed by nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter

from benchmarks.harness import Beside, Figure, Ours, Question, p50, p99
from benchmarks.peers import PEERS_PYTHON, Program

PAUSE_S = 0.005


@asynccontextmanager
async def _ours(on_postgresql: bool) -> AsyncIterator[Ours]:
    from benchmarks.host import CLOCK, started
    from benchmarks.postgres import durable

    async with AsyncExitStack() as stack:
        more: dict[str, str] = {}
        for_peers: tuple[str, ...] = ()
        if on_postgresql:
            server = await stack.enter_async_context(durable())
            more, for_peers = {"database_url": server.url(await server.create())}, (str(server.folder),)
        host = await stack.enter_async_context(started(CLOCK, **more))
        (clock,) = await host.install("clock", tenants=1, grants=["storage"])

        async def sample(count: int) -> list[float]:
            times: list[float] = []
            for number in range(count):
                async with host.platform.database.write(clock.tenant.id) as session:
                    await clock.tenant.emit("demo.ping", {"n": number}, session=session)
                committed = perf_counter()
                await host.platform.drain_events()
                n, began = await clock.call("began")
                if n != number:
                    raise RuntimeError("the event was not delivered")
                times.append(max(0.0, began - committed))
                await asyncio.sleep(PAUSE_S)
            return times

        yield Ours(sample, for_peers=for_peers)


def _question(name: str, *, on_postgresql: bool) -> Question:
    return Question(
        name=f"commit_to_handler_{name}",
        figures=(
            Figure(f"commit_to_handler_p50_{name}", "ms", p50),
            Figure(f"commit_to_handler_p99_{name}", "ms", p99),
        ),
        count=200,
        rounds=3,
        ours=lambda _effort: _ours(on_postgresql),
        peers=(Beside(Program("PgQueuer", "pgqueuer", (PEERS_PYTHON, "pgqueuer_queue.py", "latency")), 200),),
    )


QUESTIONS = (_question("pg", on_postgresql=True), _question("sqlite", on_postgresql=False))
