"""Memory of an idle isolate: its proportional share (PSS) with 500 alive, each after one call.

Goal: at most 1.6 MB. PSS counts a page that n processes share as 1/n in each, so the sum over the isolates is what they
cost the machine, apart from the kernel's own bookkeeping.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Beside, Figure, Question, Sampler, mean
from benchmarks.peers import PEERS_PYTHON, Program

ALIVE = 500


@asynccontextmanager
async def ours() -> AsyncIterator[Sampler]:
    """The share of every isolate, all of them alive."""
    from benchmarks.host import started

    async with started() as host:
        for tenant in await host.install_echo(tenants=ALIVE):
            await host.timed_echo(tenant)

        async def sample(_count: int) -> list[float]:
            return host.isolate_bytes(expected=ALIVE)

        yield sample


QUESTION = Question(
    name="isolate_memory",
    figures=(Figure("isolate_memory", "MB", mean),),
    count=ALIVE,
    rounds=2,
    ours=ours,
    peers=(
        Beside(Program("isolated-vm", "isolated-vm", ("node", "isolated_vm.js", "memory"), once=True), 1),
        Beside(Program("import dify_plugin", "dify_plugin", (PEERS_PYTHON, "dify_import.py", "memory")), 2),
    ),
)
