"""Cold call: nothing runs for the installation, until the first result is here.

Goal: p50 at most 2.5 ms, p99 at most 10 ms, and below isolated-vm's. Two figures, because the platform keeps a few
spare isolates that are sealed and hold no plugin yet:

- `cold_call`: as installations of ordinary limits see it, with a spare at hand.
- `cold_call_no_spare`: fork, seal, load and call, as a burst sees it, or a plugin with a memory limit of its own.

The peers make everything anew, so the second is the one to compare with theirs. They are asked back to back, ours after
a pause each: kinder to them, and what a call out of the blue meets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.harness import Beside, Figure, Ours, Question, p50, p99
from benchmarks.peers import OUR_PYTHON, PEERS_PYTHON, Program

# Long enough for a spare to be made again.
PAUSE_S = 0.02

PEERS = (
    Beside(Program("isolated-vm", "isolated-vm", ("node", "isolated_vm.js", "cold")), 100),
    Beside(Program("isolated-vm, blocking", "isolated-vm", ("node", "isolated_vm.js", "cold-sync")), 100),
    Beside(Program("python -I -S -c pass", "python", (OUR_PYTHON, "bare_python.py")), 100),
    Beside(Program("import dify_plugin", "dify_plugin", (PEERS_PYTHON, "dify_import.py", "time")), 2),
)


@asynccontextmanager
async def with_spare() -> AsyncIterator[Ours]:
    """First calls of the echo plugin."""
    from benchmarks.host import ECHO

    async with _first_calls(ECHO) as ours:
        yield ours


@asynccontextmanager
async def without_spare() -> AsyncIterator[Ours]:
    """First calls of a plugin that no spare fits."""
    from benchmarks.host import PROBE

    async with _first_calls(PROBE) as ours:
        yield ours


@asynccontextmanager
async def _first_calls(plugin: Path) -> AsyncIterator[Ours]:
    from benchmarks.host import started

    async with started(plugin) as host:
        (installed,) = await host.install(plugin.name, tenants=1)

        async def sample(count: int) -> list[float]:
            times: list[float] = []
            for _ in range(count):
                await installed.stop()
                await asyncio.sleep(PAUSE_S)
                times.append(await installed.timed_echo())
            return times

        yield Ours(sample)


QUESTIONS = (
    Question(
        name="cold_call",
        figures=(Figure("cold_call_p50", "ms", p50), Figure("cold_call_p99", "ms", p99)),
        count=100,
        ours=with_spare,
        peers=PEERS,
    ),
    Question(
        name="cold_call_no_spare",
        figures=(Figure("cold_call_no_spare_p50", "ms", p50), Figure("cold_call_no_spare_p99", "ms", p99)),
        count=100,
        ours=without_spare,
        peers=PEERS[:3],
    ),
)
