"""One tenant's crowds, sleepers, burners and crashes, and another one who just calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jackfield.isolation import IsolatePool, PoolSettings, Supervisor
from tests.server.isolation.conftest import LIMITS, Probe

LONG = replace(LIMITS, wall_ms=60_000, cpu_ms=60_000)
LEVEL = "strict" if os.geteuid() == 0 else "unprivileged"


@asynccontextmanager
async def pool_of(image: Path, cache: Path, **settings: Any) -> AsyncIterator[Probe]:
    pool = IsolatePool(Supervisor(LEVEL, cache), PoolSettings(**{"spares": 1, "spare_memory_mb": 64, **settings}))
    await pool.start()
    try:
        yield Probe(pool, image)
    finally:
        await pool.stop()


async def until(claim: Any) -> None:
    async with asyncio.timeout(20):
        while not claim():  # noqa: ASYNC110  # the pool tells nobody
            await asyncio.sleep(0.005)


async def end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_tenant_is_served_while_another_ones_crowd_waits(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        crowd = [
            asyncio.create_task(
                probe.call("sleep", {"seconds": 30}, spec=probe.spec(f"a{n % 5}", tenant="a"), limits=LONG)
            )
            for n in range(100)
        ]
        await until(lambda: probe.pool.stats().waiting >= 90)
        for _ in range(3):
            assert Probe.value(await probe.call("echo", {"text": "b"}, spec=probe.spec("b", tenant="b"))) == "b"
        assert probe.pool.stats().waiting >= 90
        await end(crowd)
        assert probe.pool.stats().waiting == 0
        assert probe.pool.stats().running == 0


async def test_a_call_that_sleeps_gives_its_slot_to_the_next_one(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, slots=1) as probe:
        sleepers = [
            asyncio.create_task(probe.call("sleep", {"seconds": 30}, spec=probe.spec(f"a{n}", tenant="a"), limits=LONG))
            for n in range(4)
        ]
        await until(lambda: probe.pool.stats().running == 4)
        assert Probe.value(await probe.call("echo", {"text": "a"}, spec=probe.spec("a9", tenant="a"))) == "a"
        await end(sleepers)


async def test_a_tenant_that_burns_has_no_more_than_its_slots(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, slots=2) as probe:
        burners = [
            asyncio.create_task(probe.call("loop", spec=probe.spec(f"a{n}", tenant="a"), limits=LONG)) for n in range(6)
        ]
        await until(lambda: probe.pool.stats().waiting == 4)
        await until(lambda: all(os.sched_getscheduler(pid) == os.SCHED_IDLE for pid in _busy(probe)))
        assert Probe.value(await probe.call("echo", {"text": "b"}, spec=probe.spec("b", tenant="b"))) == "b"
        assert probe.pool.stats().running == 2
        await end(burners)


def _busy(probe: Probe) -> list[int]:
    return [isolate.pid for isolate in probe.pool._slots.busy if isolate.pid]  # pyright: ignore[reportPrivateUsage]  # only the test looks


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can undo it")
async def test_who_has_burnt_runs_like_the_others_in_its_next_call(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        assert (await probe.call("leave_it_hot", limits=LONG)).status == "ok"
        (pid,) = [pid for pid in probe.pool.pids() if os.sched_getscheduler(pid) == os.SCHED_IDLE]
        assert Probe.value(await probe.call("echo", {"text": "a"})) == "a"
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER


async def test_a_tenant_has_no_more_isolates_than_it_may(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, tenant_isolates=3) as probe:
        for n in range(6):
            Probe.value(await probe.call("echo", {"text": "x"}, spec=probe.spec(f"a{n}", tenant="a")))
        assert probe.pool.stats().alive == 3
        spec = replace(probe.spec("b0", tenant="b"), tenant_isolates=1)
        for n in range(3):
            Probe.value(await probe.call("echo", {"text": "x"}, spec=replace(spec, key=(f"b{n}", 1), owner=f"b{n}")))
        assert probe.pool.stats().alive == 4


async def test_memory_is_made_room_in_by_who_has_most(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, memory_budget_mb=40, spares=0) as probe:
        Probe.value(await probe.call("echo", {"text": "x"}, spec=probe.spec("b", tenant="b")))
        for n in range(30):
            Probe.value(await probe.call("echo", {"text": "x"}, spec=probe.spec(f"a{n}", tenant="a")))
        stats = probe.pool.stats()
        assert 2 <= stats.alive < 25
        assert stats.memory_kb <= stats.memory_budget_kb
        kept = await probe.call("echo", {"text": "x"}, spec=probe.spec("b", tenant="b"))
        assert not kept.is_cold


async def test_a_full_queue_says_when_to_come_again(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, waiting=4) as probe:
        spec = probe.spec("a", concurrency=1)
        for _ in range(3):
            await probe.call("sleep", {"seconds": 0.4}, spec=spec)
        crowd = [asyncio.create_task(probe.call("sleep", {"seconds": 0.4}, spec=spec)) for _ in range(5)]
        await until(lambda: probe.pool.stats().waiting == 4)
        refused = await probe.call("echo", {"text": "x"}, spec=spec)
        assert refused.status == "overloaded"
        assert refused.failure is not None
        assert refused.failure.retry_after_s is not None
        assert 1.0 <= refused.failure.retry_after_s <= 60
        assert {result.status for result in await asyncio.gather(*crowd)} == {"ok"}


async def test_a_plugin_that_crashes_all_the_time_is_started_less_and_less(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        crashing = probe.spec("a", tenant="a")

        async def crash() -> None:
            while True:
                await probe.call("die", {"status": 1}, spec=crashing)

        task = asyncio.create_task(crash())
        await until(lambda: probe.pool.stats().killed >= 6)
        before = probe.pool.stats().killed
        assert Probe.value(await probe.call("echo", {"text": "b"}, spec=probe.spec("b", tenant="b"))) == "b"
        await asyncio.wait([task], timeout=1.0)
        assert probe.pool.stats().killed - before <= 8
        await end([task])
        assert Probe.value(await probe.call("echo", {"text": "a"}, spec=crashing)) == "a"
        assert probe.pool.stats().waiting == 0
