"""How long after its time limit a call that does not end is over: the caller has its answer, and the process is gone.

Goal: at most 20 ms. Beside it, the least there is to it: a timer of the same event loop, and SIGKILL for a bare process
that sleeps.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.harness import Effort, Figure, Ours, Question, p50, p99

LIMIT_S = 0.2
GONE_TIMEOUT_S = 5


def _of(handler: str) -> Callable[[Effort], AbstractAsyncContextManager[Ours]]:
    @asynccontextmanager
    async def ours(_effort: Effort) -> AsyncIterator[Ours]:
        from benchmarks.host import PATIENT, ROWDY, started

        async with started(ROWDY, health=PATIENT) as host:
            (rowdy,) = await host.install("rowdy", tenants=1)

            async def sample(count: int) -> list[float]:
                return [await one() for _ in range(count)]

            async def one() -> float:
                # Warm, so that starting a process is not in the figure.
                await rowdy.timed_echo()
                pids = host.platform.isolates.pids()
                start = perf_counter()
                result = await rowdy.attempt(handler)
                answered = perf_counter() - start - LIMIT_S
                if result.error is None or result.error.code != "deadline-exceeded":
                    raise RuntimeError(f"{handler} ended with {result}")
                async with asyncio.timeout(GONE_TIMEOUT_S):
                    while any(map(_is_there, pids)):
                        await asyncio.sleep(0.0005)
                        answered = perf_counter() - start - LIMIT_S
                return answered

            yield Ours(sample, beside=(("timer and SIGKILL", bare),))

    return ours


def _is_there(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


async def bare(count: int) -> list[float]:
    """The same with a process that nobody seals."""
    times: list[float] = []
    for _ in range(count):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", "import time; print(flush=True); time.sleep(60)", stdout=-1
        )
        assert process.stdout is not None
        await process.stdout.readline()
        start = perf_counter()
        await asyncio.sleep(LIMIT_S)
        os.kill(process.pid, 9)
        await process.wait()
        times.append(perf_counter() - start - LIMIT_S)
    return times


QUESTIONS = tuple(
    Question(
        name=f"deadline_{name}",
        figures=(Figure(f"deadline_{name}_p50", "ms", p50), Figure(f"deadline_{name}_p99", "ms", p99)),
        count=20,
        ours=_of(handler),
        peers=(),
        rounds=3,
    )
    for name, handler in (("loop", "loop"), ("sleep", "sleep"), ("c", "loop_in_c"), ("swallowed", "swallow"))
)
