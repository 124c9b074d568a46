"""Cold call: nothing runs for the installation, until the first result is here.

Goal: p50 at most 2.5 ms, p99 at most 10 ms, and below isolated-vm's. Three figures, because what is loaded matters, and
because the platform keeps a few spare isolates that are sealed and hold no plugin yet:

- `cold_call`: `plugins/echo`, which has one of everything, with a spare at hand.
- `cold_call_small`: a plugin with one function, the same work as isolated-vm's script, with a spare at hand.
- `cold_call_no_spare`: fork, seal, load and call, for a plugin with a memory limit of its own, which no spare fits. The
  peers keep no spares, so this is the one that does all that they do.

The peers are asked back to back, ours after a pause each: kinder to them, and what a call out of the blue meets.
Without the pause `cold_call_no_spare` is several times smaller; `PoolSettings.spares` says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50, p99
from benchmarks.peers import OUR_PYTHON, PEERS_PYTHON, Program

# Long enough for a spare to be made again.
PAUSE_S = 0.02

ISOLATED_VM = (
    Beside(Program("isolated-vm", "isolated-vm", ("node", "isolated_vm.js", "cold")), 100),
    Beside(Program("isolated-vm, blocking", "isolated-vm", ("node", "isolated_vm.js", "cold-sync")), 100),
)
OTHERS = (
    Beside(Program("python -I -S -c pass", "python", (OUR_PYTHON, "bare_python.py")), 100),
    Beside(Program("import dify_plugin", "dify_plugin", (PEERS_PYTHON, "dify_import.py", "time")), 2),
)


@asynccontextmanager
async def with_spare(_effort: Effort) -> AsyncIterator[Ours]:
    """First calls of the echo plugin."""
    from benchmarks.host import ECHO

    async with _first_calls(ECHO) as ours:
        yield ours


@asynccontextmanager
async def small(_effort: Effort) -> AsyncIterator[Ours]:
    """First calls of a plugin as small as the peers'."""
    from benchmarks.host import SMALL

    async with _first_calls(SMALL) as ours:
        yield ours


@asynccontextmanager
async def without_spare(_effort: Effort) -> AsyncIterator[Ours]:
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
        rounds=3,
        peers=(*ISOLATED_VM, *OTHERS),
    ),
    Question(
        name="cold_call_small",
        figures=(Figure("cold_call_small_p50", "ms", p50), Figure("cold_call_small_p99", "ms", p99)),
        count=100,
        ours=small,
        rounds=3,
        peers=ISOLATED_VM,
    ),
    Question(
        name="cold_call_no_spare",
        figures=(Figure("cold_call_no_spare_p50", "ms", p50), Figure("cold_call_no_spare_p99", "ms", p99)),
        count=100,
        ours=without_spare,
        rounds=3,
        peers=ISOLATED_VM,
    ),
)
