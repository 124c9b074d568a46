"""Cold call: nothing runs for the installation, until the first result is here.

Goal: p50 at most 2.5 ms, p99 at most 10 ms, and below isolated-vm's. Each sample is the first call of an installation
that has no isolate, through the whole path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Beside, Figure, Question, Sampler, p50, p99
from benchmarks.peers import OUR_PYTHON, PEERS_PYTHON, Program

ROUNDS = 5
COUNT = 100


@asynccontextmanager
async def ours() -> AsyncIterator[Sampler]:
    """First calls, each of another tenant's installation."""
    from benchmarks.host import started

    # One more round's worth for the warm-up.
    async with started() as host:
        untouched = iter(await host.install_echo(tenants=COUNT * (ROUNDS + 1)))

        async def sample(count: int) -> list[float]:
            return [await host.timed_echo(next(untouched)) for _ in range(count)]

        yield sample


QUESTION = Question(
    name="cold_call",
    figures=(Figure("cold_call_p50", "ms", p50), Figure("cold_call_p99", "ms", p99)),
    count=COUNT,
    rounds=ROUNDS,
    ours=ours,
    peers=(
        Beside(Program("isolated-vm", "isolated-vm", ("node", "isolated_vm.js", "cold")), 100),
        Beside(Program("isolated-vm, blocking", "isolated-vm", ("node", "isolated_vm.js", "cold-sync")), 100),
        Beside(Program("python -I -S -c pass", "python", (OUR_PYTHON, "bare_python.py")), 100),
        Beside(Program("import dify_plugin", "dify_plugin", (PEERS_PYTHON, "dify_import.py", "time")), 2),
    ),
)
