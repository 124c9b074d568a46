"""Memory of an idle isolate: its proportional share (PSS) with 500 alive, each after one call.

Goal: at most 1.6 MB. PSS counts a page that n processes share as 1/n in each, so the sum over the isolates is what they
cost the machine, apart from the kernel's own bookkeeping.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.harness import Beside, Figure, Ours, Question, mean
from benchmarks.peers import PEERS_PYTHON, Program

ALIVE = 500


@asynccontextmanager
async def ours() -> AsyncIterator[Ours]:
    """The share of every isolate, all of them alive."""
    from benchmarks.host import ECHO, started

    # Room for the spares too: at the bound of the budget the oldest isolate would go.
    async with started(ECHO, isolates=ALIVE + 50) as host:
        for installed in await host.install("echo", tenants=ALIVE):
            await installed.timed_echo()

        async def sample(_count: int) -> list[float]:
            pids = host.platform.isolates.pids()
            if len(pids) != ALIVE:
                raise RuntimeError(f"{len(pids)} isolates are alive instead of {ALIVE}")
            return [pss_bytes(pid) for pid in pids]

        yield Ours(sample)


def pss_bytes(pid: int) -> float:
    """A process's proportional share of memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not say how much memory process {pid} has")


QUESTIONS = (
    Question(
        name="isolate_memory",
        figures=(Figure("isolate_memory", "MB", mean),),
        count=ALIVE,
        rounds=2,
        ours=ours,
        peers=(
            Beside(Program("isolated-vm", "isolated-vm", ("node", "isolated_vm.js", "memory"), once=True), 1),
            Beside(Program("import dify_plugin", "dify_plugin", (PEERS_PYTHON, "dify_import.py", "memory")), 2),
        ),
    ),
)
