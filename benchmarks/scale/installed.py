"""100,000 installations in the database, ten at each of 10,000 tenants, beside a node that has one such tenant alone.

Goal: at most 1.2 times the cost. The plugins of a tenant are `plugins/echo` and nine instances of a small one.

- `scale_warm_100k`: a warm call.
- `scale_cold_100k`: a first call at a tenant that is not in the node's memory, so that its ten installations are read
  from the database first.
- `scale_filter_100k`: a filter with one subscriber.
- `scale_event_100k`: from the emission of an event until nothing of it is left to do.

The many are written straight into the tables, by copying the one tenant's rows: that is set-up, and not timed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.cold_call import PAUSE_S
from benchmarks.harness import Effort, Figure, Ours, Question, Sampler, Series, p50
from jackfield_sdk import hooks

if TYPE_CHECKING:
    from benchmarks.host import Host, Installed

TENANTS = 10_000
QUICK_TENANTS = 20
EACH = 10
BOOKING = hooks.Booking(id="b-1", customer_id="c-1", service="cut", starts_at="2030-01-01T10:00:00Z")


@asynccontextmanager
async def ours(effort: Effort) -> AsyncIterator[Mapping[str, Ours]]:
    """Two nodes in this process; only one of them is asked at a time."""
    async with AsyncExitStack() as stack:
        few = await stack.enter_async_context(_node(1))
        many = await stack.enter_async_context(_node(QUICK_TENANTS if effort.quick else TENANTS))
        yield {
            name: Ours(sampler(*many), beside=((f"{EACH} installations", sampler(*few)),))
            for name, _, _, sampler in ASKED
        }


@asynccontextmanager
async def _node(tenants: int) -> AsyncIterator[tuple[Host, Installed]]:
    """A node with so many tenants, and one tenant's echo, from their middle."""
    from benchmarks.host import ECHO, SMALL, started

    async with started(ECHO, SMALL) as host:
        (echo,) = await host.install("echo", tenants=1)
        for number in range(1, EACH):
            await host.platform.lifecycle.install(echo.tenant.id, "small", instance=f"copy{number}")
        copies = await host.copies(echo.tenant.id, tenants - 1)
        # Sorted as the pattern's: by slug.
        yield host, copies[len(copies) // 2][0] if copies else echo


def warm(_host: Host, echo: Installed) -> Sampler:
    """Calls one after the other."""

    async def sample(count: int) -> list[float]:
        return [await echo.timed_echo() for _ in range(count)]

    return sample


def cold(host: Host, echo: Installed) -> Sampler:
    """First calls, at a tenant that was forgotten."""

    async def sample(count: int) -> list[float]:
        times: list[float] = []
        for _ in range(count):
            await echo.stop()
            host.platform.active.invalidate(echo.tenant.id)
            await asyncio.sleep(PAUSE_S)
            times.append(await echo.timed_echo())
        return times

    return sample


def filtered(_host: Host, echo: Installed) -> Sampler:
    """A booking through the one plugin that listens."""

    async def sample(count: int) -> list[float]:
        times: list[float] = []
        for _ in range(count):
            start = perf_counter()
            booking = await echo.tenant.filter("booking.beforeCreate", BOOKING)
            times.append(perf_counter() - start)
            if not booking.notes:
                raise RuntimeError("the filter did not run")
        return times

    return sample


def delivered(host: Host, echo: Installed) -> Sampler:
    """Events one after the other, each to its end."""

    async def sample(count: int) -> list[float]:
        times: list[float] = []
        for number in range(count):
            start = perf_counter()
            await echo.tenant.emit("demo.ping", {"n": number})
            await host.platform.drain_events()
            times.append(perf_counter() - start)
        return times

    return sample


ASKED = (
    ("scale_warm_100k", "µs", 1000, warm),
    ("scale_cold_100k", "ms", 40, cold),
    ("scale_filter_100k", "µs", 500, filtered),
    ("scale_event_100k", "ms", 50, delivered),
)
QUESTIONS = (
    Series(
        name="scale_installed",
        ours=ours,
        questions=tuple(
            Question(name=name, figures=(Figure(name, unit, p50),), count=count, ours=None, peers=())
            for name, unit, count, _ in ASKED
        ),
    ),
)
