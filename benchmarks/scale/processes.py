"""Warm calls per second, with one, two and four server processes on this machine.

Each process is a node of its own with its own data, and has eight callers, each with an installation of its own and the
next call as soon as it has its answer. The peer is the bare message to another process and back, by as many processes
with as many at once, each in an event loop as a node is.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, Sampler, Series, p50
from benchmarks.peers import OUR_PYTHON, Program

HOUSE = Path(__file__).resolve().parent.parent.parent
COUNTS = (1, 2, 4)
ROUND_TIMEOUT_S = 120
END_TIMEOUT_S = 30


class Server:
    """A server process, started and ended by us; `benchmarks.scale.server` is what runs in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, count: int) -> list[float]:
        """Calls per second, in so many stretches of time one after the other."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"%d\n" % count)
        async with asyncio.timeout(ROUND_TIMEOUT_S):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"a server process ended with status {await process.wait()}")
        return json.loads(line)


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """One that is ready to be asked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.scale.server", cwd=HOUSE,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield Server(process)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Mapping[str, Ours]]:
    """As many servers as the largest number; those that are not asked rest."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(server()) for _ in range(max(COUNTS))]

        def first(processes: int) -> Sampler:
            async def sample(count: int) -> list[float]:
                answers = await asyncio.gather(*(one.ask(count) for one in servers[:processes]))
                return [sum(rates) for rates in zip(*answers, strict=True)]

            return sample

        # A first question is answered when all have started: none must measure beside another's start.
        await first(max(COUNTS))(1)
        yield {_name(processes): Ours(first(processes)) for processes in COUNTS}


def _name(processes: int) -> str:
    return f"scale_calls_per_s_{processes}"


def _pings(processes: int) -> Beside:
    return Beside(Program("socketpair pings at once", "ping", (OUR_PYTHON, "ping.py", "rate", str(processes))), 10)


QUESTIONS = (
    Series(
        name="scale_processes",
        ours=ours,
        questions=tuple(
            Question(
                name=_name(processes),
                figures=(Figure(_name(processes), "/s", p50),),
                count=10,
                rounds=3,
                ours=None,
                peers=(_pings(processes),),
            )
            for processes in COUNTS
        ),
    ),
)
