"""5,000 live isolates of a plugin with one function, each of another tenant: what they take, and whom they slow down.

Goals: at most 1.6 MB each, 9 GB together. Calls that are asked beside them should cost what they cost alone.

- `scale_memory_5000`: the mean of the isolates' proportional shares (PSS), of some 200 of them. Beside it, what their
  memory groups are charged for, kernel memory included (only where there are such groups), and what the machine had
  less afterwards; both divided by their number. `_total` is the mean times 5,000.
- `scale_warm_with_5000`, `scale_cold_with_5000`: one installation's calls while the others are alive and idle. The same
  with nobody else alive is measured before the others are started: taking turns would mean starting them anew for each
  round.

The tenants are written straight into the database: installing them one by one would take minutes, and is not the
question.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cold_call import PAUSE_S
from benchmarks.harness import Effort, Figure, Ours, Question, Sampler, Series, mean, p50
from benchmarks.isolate_memory import ISOLATED_VM, shares_of

if TYPE_CHECKING:
    from benchmarks.host import Installed

ALIVE = 5_000
QUICK = 100
# Beside the crowd: spares, and room for those who are asked.
ROOM = 50
AT_ONCE = 4
# Calls before the crowd is there.
ALONE = 200
# What the node has open for each isolate: channel, handle, memory group; and for everything else.
DESCRIPTORS_EACH = 3
DESCRIPTORS_ELSE = 256
# As the platform counts them before it starts.
MB_EACH = 2
SAFE_PART = 0.75


@asynccontextmanager
async def ours(effort: Effort) -> AsyncIterator[Mapping[str, Ours]]:
    """A node with one installation that is asked, and the crowd."""
    from benchmarks.host import SMALL, started

    alive = crowd_size(effort)
    # Nobody of the crowd is called again, and none of it may end for that.
    async with started(SMALL, isolates=alive + ROOM, isolate_idle_s=24 * 3600.0) as host:
        (asked,) = await host.install("small", tenants=1)
        alone = {name: await _alone(calls(asked), effort) for name, calls in CALLS.items()}
        await asked.timed_echo()
        before = _available_bytes()
        await _wake([installed for (installed,) in await host.copies(asked.tenant.id, alive)])
        less = (before - _available_bytes()) / alive
        groups = host.platform.supervisor.memory_bytes()

        async def shares(count: int) -> list[float]:
            pids = host.platform.isolates.pids()
            if len(pids) < alive:
                raise RuntimeError(f"{len(pids)} isolates are alive instead of {alive}")
            return shares_of(pids[:: max(1, len(pids) // count)])

        beside = [("what the machine has less", _always([less]))]
        if groups is not None:
            beside.append(("their memory groups", _always([groups / alive])))
        opened = {"scale_memory_5000": Ours(shares, beside=tuple(beside))}
        for name, calls in CALLS.items():
            opened[name] = Ours(calls(asked), beside=(("nobody else alive", _always(alone[name])),))
        yield opened
        # Nobody may have ended meanwhile.
        await shares(1)


async def _alone(sample: Sampler, effort: Effort) -> list[float]:
    count = effort.count(ALONE)
    await sample(count // 4 + 1)
    return await sample(count)


def warm(asked: Installed) -> Sampler:
    """Calls one after the other."""

    async def sample(count: int) -> list[float]:
        return [await asked.timed_echo() for _ in range(count)]

    return sample


def cold(asked: Installed) -> Sampler:
    """First calls, with a spare isolate at hand."""

    async def sample(count: int) -> list[float]:
        times: list[float] = []
        for _ in range(count):
            await asked.stop()
            await asyncio.sleep(PAUSE_S)
            times.append(await asked.timed_echo())
        return times

    return sample


CALLS = {"scale_warm_with_5000": warm, "scale_cold_with_5000": cold}


def crowd_size(effort: Effort) -> int:
    """How many can be alive here; said aloud when it is fewer than asked for."""
    wanted = QUICK if effort.quick else ALIVE
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = wanted if hard == resource.RLIM_INFINITY else (hard - DESCRIPTORS_ELSE) // DESCRIPTORS_EACH - ROOM
    memory = int(_available_bytes() / 1e6 * SAFE_PART / MB_EACH) - ROOM
    possible = {"descriptors (ulimit -Hn)": descriptors, "memory": memory}
    if _shares_a_user():
        processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        possible["processes of one user (ulimit -u)"] = wanted if processes == -1 else processes // 2
    what, most = min(possible.items(), key=lambda pair: pair[1])
    most = max(2, most)
    if most < wanted:
        print(f"benchmarks: only {most} of {wanted} isolates can be alive here, for want of {what}", file=sys.stderr)
    return min(wanted, most)


async def _wake(crowd: Sequence[Installed]) -> None:
    """One call each, after which they stay alive."""
    remaining = iter(crowd)

    async def some() -> None:
        for installed in remaining:
            await installed.timed_echo()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


def _always(figures: list[float]) -> Sampler:
    """What was measured once, in each round."""

    def sample(_count: int) -> Awaitable[list[float]]:
        return asyncio.sleep(0, figures)

    return sample


def _available_bytes() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say how much memory there is")


def _shares_a_user() -> bool:
    from benchmarks.host import isolation

    return isolation() != "strict"


def _of_all(figures: Sequence[float]) -> float:
    return mean(figures) * ALIVE


QUESTIONS = (
    Series(
        name="scale_alive",
        ours=ours,
        questions=(
            Question(
                name="scale_memory_5000",
                figures=(Figure("scale_memory_5000", "MB", mean), Figure("scale_memory_5000_total", "MB", _of_all)),
                count=200,
                rounds=1,
                ours=None,
                peers=(ISOLATED_VM,),
            ),
            Question(
                name="scale_warm_with_5000",
                figures=(Figure("scale_warm_with_5000", "µs", p50),),
                count=500,
                ours=None,
                peers=(),
            ),
            Question(
                name="scale_cold_with_5000",
                figures=(Figure("scale_cold_with_5000", "ms", p50),),
                count=50,
                rounds=3,
                ours=None,
                peers=(),
            ),
        ),
    ),
)
