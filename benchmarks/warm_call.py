"""Warm call: a typed function through the whole public path, in an isolate that runs already.

Goal: p50 at most 150 µs and at most 3 × a bare socketpair ping. The path is permission check, schemas, limits, isolate,
statistics; the ping is a message to another process and back, and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50, p99
from benchmarks.peers import OUR_PYTHON, Program


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Ours]:
    """Calls one after the other, of one installation."""
    from benchmarks.host import ECHO, started

    async with started(ECHO) as host:
        (echo,) = await host.install("echo", tenants=1)

        async def sample(count: int) -> list[float]:
            return [await echo.timed_echo() for _ in range(count)]

        yield Ours(sample)


QUESTIONS = (
    Question(
        name="warm_call",
        figures=(Figure("warm_call_p50", "µs", p50), Figure("warm_call_p99", "µs", p99)),
        count=1000,
        ours=ours,
        peers=(
            Beside(Program("socketpair ping", "ping", (OUR_PYTHON, "ping.py", "blocking")), 2000),
            Beside(Program("socketpair ping, two CPUs", "ping", (OUR_PYTHON, "ping.py", "apart")), 2000),
            Beside(Program("socketpair ping, event loop", "ping", (OUR_PYTHON, "ping.py", "loop")), 2000),
            Beside(Program("isolated-vm apply", "isolated-vm", ("node", "isolated_vm.js", "warm")), 2000),
            Beside(Program("isolated-vm applySync", "isolated-vm", ("node", "isolated_vm.js", "warm-sync")), 2000),
        ),
    ),
)
