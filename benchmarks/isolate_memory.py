"""Memory of an idle isolate: its proportional share (PSS) with many alive, each after one call.

Goal: at most 1.6 MB. PSS counts a page that n processes share as 1/n in each, so the sum over the isolates is what they
cost the machine, apart from the kernel's own bookkeeping. Two figures:

- `isolate_memory`: 500 of `plugins/echo`, which has one of everything.
- `isolate_memory_small`: 200 of a plugin with one function; as many and as much as on isolated-vm's side.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, mean
from benchmarks.peers import PEERS_PYTHON, Program

ALIVE = 500
ALIVE_SMALL = 200


@asynccontextmanager
async def of_echo(effort: Effort) -> AsyncIterator[Ours]:
    """Isolates of the echo plugin."""
    from benchmarks.host import ECHO

    async with _alive(ECHO, effort.count(ALIVE)) as ours:
        yield ours


@asynccontextmanager
async def of_small(effort: Effort) -> AsyncIterator[Ours]:
    """Isolates of a plugin as small as the peers'."""
    from benchmarks.host import SMALL

    async with _alive(SMALL, effort.count(ALIVE_SMALL)) as ours:
        yield ours


@asynccontextmanager
async def _alive(plugin: Path, alive: int) -> AsyncIterator[Ours]:
    """The share of every isolate, all of them alive."""
    from benchmarks.host import started

    # Room for the spares too: at the bound of the budget the oldest isolate would go.
    async with started(plugin, isolates=alive + 50) as host:
        for installed in await host.install(plugin.name, tenants=alive):
            await installed.timed_echo()

        async def sample(_count: int) -> list[float]:
            pids = host.platform.isolates.pids()
            if len(pids) != alive:
                raise RuntimeError(f"{len(pids)} isolates are alive instead of {alive}")
            return shares_of(pids)

        yield Ours(sample)


def shares_of(pids: Sequence[int]) -> list[float]:
    """Their shares; none, and so an empty row, where the kernel keeps them from us: sealed processes of an ordinary
    user are open to root alone."""
    try:
        return [pss_bytes(pid) for pid in pids]
    except PermissionError:
        _say_why()
        return []


@cache
def _say_why() -> None:
    print("benchmarks: only root can see how much memory a sealed process has", file=sys.stderr)


def pss_bytes(pid: int) -> float:
    """A process's proportional share of memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not say how much memory process {pid} has")


ISOLATED_VM = Beside(Program("isolated-vm", "isolated-vm", ("node", "isolated_vm.js", "memory"), once=True), 1)
DIFY = Beside(Program("import dify_plugin", "dify_plugin", (PEERS_PYTHON, "dify_import.py", "memory")), 2)

QUESTIONS = (
    Question(
        name="isolate_memory",
        figures=(Figure("isolate_memory", "MB", mean),),
        count=1,
        rounds=2,
        ours=of_echo,
        peers=(ISOLATED_VM, DIFY),
    ),
    Question(
        name="isolate_memory_small",
        figures=(Figure("isolate_memory_small", "MB", mean),),
        count=1,
        rounds=2,
        ours=of_small,
        peers=(ISOLATED_VM,),
    ),
)
