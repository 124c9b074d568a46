"""A tenant's warm calls while another tenant misbehaves, beside the same calls in peace.

Goal: p99 at most twice the quiet one. The tenant calls its plugin every other millisecond, as somebody busy would. The
other one has three installations of `benchmarks/rowdy`, and

- `flood`: 200 callers at once, each with the next call as soon as it has its answer;
- `slow`: 200 callers of a handler that sleeps;
- `cpu`: 200 callers of a handler that burns a processor until the limit ends it;
- `crash`: 200 callers of a handler that takes its process away.

Both tenants' callers are in the node's own process here, so the flood takes its time of the event loop as well. Quiet
and loud rounds take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.harness import Effort, Figure, Ours, Question, p50, p99

CALLERS = 200
INSTALLATIONS = 3
PAUSE_S = 0.002
SETTLED_S = 0.3


def _against(handler: str) -> Callable[[Effort], AbstractAsyncContextManager[Ours]]:
    @asynccontextmanager
    async def ours(_effort: Effort) -> AsyncIterator[Ours]:
        from benchmarks.host import ECHO, PATIENT, ROWDY, Installed, started

        async with started(ECHO, ROWDY, health=PATIENT) as host:
            (echo,) = await host.install("echo", tenants=1)
            rowdy = await host.install_more("rowdy", INSTALLATIONS)

            async def quiet(count: int) -> list[float]:
                times: list[float] = []
                for _ in range(count):
                    times.append(await echo.timed_echo())
                    await asyncio.sleep(PAUSE_S)
                return times

            async def misbehave(installed: Installed) -> None:
                while True:
                    result = await installed.attempt(handler, **({"text": "hi"} if handler == "echo" else {}))
                    if result.error is not None and result.error.code == "overloaded":
                        # It comes again when it was told to, or soon: HTTP clients that do not are slowed by HTTP.
                        await asyncio.sleep(0.1)

            async def loud(count: int) -> list[float]:
                tasks = [asyncio.create_task(misbehave(rowdy[number % INSTALLATIONS])) for number in range(CALLERS)]
                try:
                    await asyncio.sleep(SETTLED_S)
                    return await quiet(count)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.wait(tasks)
                    for task in tasks:
                        if not task.cancelled() and (error := task.exception()) is not None:
                            raise error
                    # What they have left behind is not the quiet rounds' business.
                    await asyncio.sleep(SETTLED_S)

            yield Ours(loud, beside=(("quiet", quiet),))

    return ours


QUESTIONS = tuple(
    Question(
        name=f"neighbour_{name}",
        figures=(Figure(f"neighbour_p50_{name}", "µs", p50), Figure(f"neighbour_p99_{name}", "µs", p99)),
        count=500,
        ours=_against(handler),
        peers=(),
        rounds=5,
    )
    for name, handler in (("flood", "echo"), ("slow", "nap"), ("cpu", "burn"), ("crash", "crash"))
)
