"""Zygotes that are killed, hang, grow or get old, and isolates that are taken away: no call is lost or runs twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jackfield.isolation import CallResult, IsolatePool, PoolSettings, Supervisor
from jackfield.isolation.supervisor import ZygoteSettings
from tests.server.isolation.conftest import LEVELS, Probe
from tests.server.isolation.test_fairness import LONG, end, until

LEVEL = LEVELS[0]


@asynccontextmanager
async def pool_of(image: Path, cache: Path, *, spares: int = 1, **zygote: Any) -> AsyncIterator[Probe]:
    settings = ZygoteSettings(**{"look_s": 0.02, "standby_after_s": 600.0, **zygote})
    pool = IsolatePool(
        Supervisor(LEVEL, cache, settings=settings), PoolSettings(spares=spares, spare_memory_mb=64, budget=64)
    )
    await pool.start()
    try:
        yield Probe(pool, image)
    finally:
        await pool.stop()


def supervisor(probe: Probe) -> Supervisor:
    return probe.pool._supervisor  # pyright: ignore[reportPrivateUsage]  # only the test looks


def inner(probe: Probe) -> int:
    zygote = supervisor(probe)._zygote  # pyright: ignore[reportPrivateUsage]  # only the test kills it
    assert zygote is not None
    return zygote.inner_pid


class Crowd:
    """Callers of several installations, all the time."""

    def __init__(self, probe: Probe, callers: int = 4) -> None:
        self.probe = probe
        self.results: list[CallResult] = []
        self.tasks = [asyncio.create_task(self._call(n)) for n in range(callers)]

    async def _call(self, caller: int) -> None:
        number = 0
        while True:
            number += 1
            # A new one now and then, so that isolates are asked for all the time.
            spec = self.probe.spec(f"c{caller}-{number // 4}", tenant=f"c{caller}")
            self.results.append(await self.probe.call("echo", {"text": "x"}, spec=spec, limits=LONG))
            await asyncio.sleep(0.001)

    async def more(self, count: int) -> None:
        wanted = len(self.results) + count
        await until(lambda: len(self.results) >= wanted)

    def failed(self) -> list[CallResult]:
        return [result for result in self.results if result.status != "ok"]


async def test_a_zygote_is_replaced_after_so_many_isolates_and_no_call_notices(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, spawns=10) as probe:
        first = supervisor(probe).zygote_pid
        crowd = Crowd(probe)
        await until(lambda: probe.pool.stats().zygote_rotations >= 2)
        await crowd.more(40)
        await end(crowd.tasks)
        assert crowd.failed() == []
        assert probe.pool.stats().zygote_restarts == 0
        await until(lambda: not Path(f"/proc/{first}").exists())


async def test_a_busy_isolate_of_an_old_zygote_ends_its_call(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        first = supervisor(probe).zygote_pid
        slow = asyncio.create_task(probe.call("sleep", {"seconds": 1.0}, limits=LONG))
        await until(lambda: probe.pool.pids() and probe.pool.stats().running)
        await supervisor(probe).rotate()
        assert Probe.value(await probe.call("pid", spec=probe.spec("b"))) == 1
        assert (await slow).status == "ok"
        await until(lambda: not Path(f"/proc/{first}").exists())
        await until(lambda: probe.pool.stats().alive == 1)


async def test_a_zygote_that_grows_too_large_is_replaced(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, memory_mb=1) as probe:
        await until(lambda: probe.pool.stats().zygote_rotations)
        assert Probe.value(await probe.call("echo", {"text": "x"})) == "x"


async def test_a_zygote_that_hangs_is_replaced_and_those_who_waited_for_it_are_served(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, spares=0, answer_s=0.3, rest_s=600.0) as probe:
        Probe.value(await probe.call("pid"))
        slow = asyncio.create_task(probe.call("sleep", {"seconds": 2.0}, spec=probe.spec("slow"), limits=LONG))
        await until(lambda: len(probe.pool.pids()) == 2)
        stopped = inner(probe)
        os.kill(stopped, signal.SIGSTOP)
        crowd = [
            asyncio.create_task(probe.call("pid", spec=probe.spec(f"n{n}", tenant=f"n{n}"), limits=LONG))
            for n in range(5)
        ]
        assert [Probe.value(result) for result in await asyncio.gather(*crowd)] == [1] * 5
        assert probe.pool.stats().zygote_rotations == 1
        # Nobody has to die for it: what ran before runs to its end.
        assert (await slow).status == "ok"
        await until(lambda: not Path(f"/proc/{stopped}").exists())


async def test_calls_wait_for_a_new_zygote_when_theirs_is_killed(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        crowd = Crowd(probe)
        for _ in range(3):
            await crowd.more(20)
            os.kill(inner(probe), signal.SIGKILL)
        await until(lambda: probe.pool.stats().zygote_restarts >= 1)
        await crowd.more(20)
        await end(crowd.tasks)
        # What ran in that moment is lost, and says so; what had not begun is not.
        for result in crowd.failed():
            assert result.failure is not None
            assert (result.status, result.failure.code) == ("crashed", "isolate-lost")
        assert len(crowd.failed()) <= 3 * 4


async def test_one_that_stands_by_takes_over_at_once(image: Path, cache: Path) -> None:
    async with pool_of(image, cache, standby_after_s=0.0) as probe:
        await until(lambda: len(supervisor(probe).zygote_pids) >= (4 if LEVEL == "strict" else 2))
        first = supervisor(probe).zygote_pid
        os.kill(inner(probe), signal.SIGKILL)
        await until(lambda: supervisor(probe).zygote_pid != first)
        assert supervisor(probe).is_ready
        assert Probe.value(await probe.call("echo", {"text": "x"})) == "x"
        # And another one stands by.
        await until(lambda: len(supervisor(probe).zygote_pids) >= (4 if LEVEL == "strict" else 2))
        assert probe.pool.stats().zygote_restarts == 1


async def test_an_idle_isolate_that_is_killed_is_replaced_before_the_next_call(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        Probe.value(await probe.call("pid"))
        (pid,) = probe.pool.pids()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: pid not in probe.pool.pids() and probe.pool.stats().idle == 1)
        assert Probe.value(await probe.call("pid")) == 1


async def test_a_call_that_its_isolate_never_read_is_made_again(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        for _ in range(5):
            Probe.value(await probe.call("echo", {"text": "warm"}))
            (pid,) = probe.pool.pids()
            # It lies in the channel of a process that cannot read.
            os.kill(pid, signal.SIGSTOP)
            call = asyncio.create_task(probe.call("ask", {"times": 3}, limits=LONG))
            await until(lambda: probe.pool.stats().running)
            os.kill(pid, signal.SIGKILL)
            assert Probe.value(await call) == 3
        assert len(probe.host_calls) == 15


async def test_a_call_that_may_have_begun_is_never_made_again(image: Path, cache: Path) -> None:
    async with pool_of(image, cache) as probe:
        Probe.value(await probe.call("echo", {"text": "warm"}))
        (pid,) = probe.pool.pids()
        call = asyncio.create_task(probe.call("sleep", {"seconds": 30}, limits=LONG))
        # It sleeps in the handler rather than waiting for a message, when its processor time stands still again.
        await until(lambda: probe.pool.stats().running)
        await asyncio.wait([call], timeout=0.2)
        os.kill(pid, signal.SIGKILL)
        result = await call
        assert result.status == "crashed"
        assert result.failure is not None
        assert result.failure.code == "plugin-crashed"
