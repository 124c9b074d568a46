"""A new revision takes over from running isolates, and no call is dropped."""

from __future__ import annotations

import asyncio

from jackfield.isolation import CallResult
from tests.server.isolation.conftest import Probe
from tests.server.isolation.test_fairness import LONG, until


async def test_no_call_is_dropped_when_a_new_revision_takes_over(probe: Probe) -> None:
    revision, is_over = 1, False
    results: list[tuple[int, CallResult]] = []

    async def call() -> None:
        while not is_over:
            asked = revision
            results.append(
                (asked, await probe.call("echo", {"text": "x"}, spec=probe.spec(revision=asked), limits=LONG))
            )
            await asyncio.sleep(0)

    callers = [asyncio.create_task(call()) for _ in range(6)]
    for _ in range(5):
        seen = len(results)
        await until(lambda seen=seen: len(results) >= seen + 30)
        revision += 1
        await probe.pool.retire("a")
    seen = len(results)
    await until(lambda: len(results) >= seen + 30)
    is_over = True
    await asyncio.gather(*callers)
    assert {result.status for _, result in results} == {"ok"}
    assert {asked for asked, _ in results} == set(range(1, 7))


async def test_a_busy_isolate_ends_its_call_while_new_calls_go_to_a_new_one(probe: Probe) -> None:
    spec = probe.spec(concurrency=1)
    slow = asyncio.create_task(probe.call("sleep", {"seconds": 0.5}, spec=spec))
    await until(lambda: probe.pool.stats().running)
    await probe.pool.retire("a")
    # The one isolate that it may have is not the retired one any more.
    assert Probe.value(await probe.call("pid", spec=probe.spec(revision=2, concurrency=1))) == 1
    assert not slow.done()
    assert (await slow).status == "ok"
    assert Probe.value(await probe.call("pid", spec=probe.spec(revision=2, concurrency=1))) == 2
    assert probe.pool.stats().alive == 1


async def test_two_revisions_may_be_at_work_until_one_of_them_is_retired(probe: Probe) -> None:
    # While the new release is told of an update, and may refuse it, the old one goes on.
    assert [Probe.value(await probe.call("pid")) for _ in range(2)] == [1, 2]
    assert Probe.value(await probe.call("pid", spec=probe.spec(revision=2))) == 1
    assert Probe.value(await probe.call("pid")) == 3


async def test_who_waited_for_a_retired_one_is_served_and_nobody_after_it(probe: Probe) -> None:
    spec = probe.spec(concurrency=1)
    slow = asyncio.create_task(probe.call("sleep", {"seconds": 0.3}, spec=spec))
    await until(lambda: probe.pool.stats().running)
    waits = asyncio.create_task(probe.call("pid", spec=spec))
    await until(lambda: probe.pool.stats().waiting)
    await probe.pool.retire("a")
    assert Probe.value(await waits) == 1
    assert (await slow).status == "ok"
    assert probe.pool.stats().alive == 0
