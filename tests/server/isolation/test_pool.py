"""The pool under honest and hostile plugins: every end is a typed result, and the next call works."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.server.isolation.conftest import LIMITS, Probe


async def _has_started(probe: Probe) -> None:
    async with asyncio.timeout(5):
        while not probe.pool.stats().alive:  # noqa: ASYNC110  # the pool announces nothing
            await asyncio.sleep(0)


def _exists(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_warm_isolate_is_used_again_by_the_same_installation_only(probe: Probe) -> None:
    counts = [Probe.value(await probe.call("pid")) for _ in range(3)]
    other = Probe.value(await probe.call("pid", spec=probe.spec("b")))
    assert counts == [1, 2, 3]
    assert other == 1


async def test_a_new_revision_gets_a_new_isolate(probe: Probe) -> None:
    assert Probe.value(await probe.call("pid")) == 1
    assert Probe.value(await probe.call("pid", spec=probe.spec(revision=2))) == 1


async def test_a_second_isolate_serves_when_the_first_is_busy(probe: Probe) -> None:
    slow = asyncio.create_task(probe.call("sleep", {"seconds": 0.5}))
    await _has_started(probe)
    quick = await probe.call("echo", {"text": "hi"})
    assert Probe.value(quick) == "hi"
    assert not slow.done()
    assert (await slow).status == "ok"


async def test_more_calls_than_isolates_wait_their_turn(probe: Probe) -> None:
    results = await asyncio.gather(*(probe.call("sleep", {"seconds": 0.05}) for _ in range(8)))
    assert [result.status for result in results] == ["ok"] * 8
    assert probe.pool.stats().alive <= 2


async def test_who_waits_too_long_is_told_so(probe: Probe) -> None:
    spec = probe.spec(concurrency=1)
    slow = asyncio.create_task(probe.call("sleep", {"seconds": 1.0}, spec=spec))
    await _has_started(probe)
    result = await probe.call("echo", {"text": "hi"}, spec=spec, limits=replace(LIMITS, wall_ms=100))
    assert result.status == "overloaded"
    assert result.failure is not None
    assert result.failure.code == "overloaded"
    await slow


async def test_the_least_recently_used_isolate_makes_room(probe: Probe) -> None:
    for owner in "abcdefgh":
        Probe.value(await probe.call("pid", spec=probe.spec(owner)))
    assert probe.pool.stats().alive <= 6
    assert Probe.value(await probe.call("pid", spec=probe.spec("h"))) == 2
    assert Probe.value(await probe.call("pid", spec=probe.spec("a"))) == 1


async def test_retired_isolates_serve_no_further_call(probe: Probe) -> None:
    assert Probe.value(await probe.call("pid")) == 1
    await probe.pool.retire("a")
    assert Probe.value(await probe.call("pid")) == 1


ENDINGS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("loop", {}, {"cpu", "timeout"}),
    ("loop_in_c", {}, {"cpu", "memory", "timeout"}),
    ("swallow", {}, {"timeout"}),
    ("sleep", {"seconds": 60}, {"timeout"}),
    ("eat", {}, {"memory"}),
    ("die", {"status": 7}, {"crashed"}),
    ("die", {"status": 0}, {"crashed"}),
    ("segfault", {}, {"crashed"}),
    ("recurse", {}, {"failed", "crashed"}),
    ("fork", {}, {"failed"}),
    ("shout", {"lines": 100_000}, {"violation"}),
    ("garbage", {"data": "ffffffff"}, {"violation"}),
    ("garbage", {"data": "01000000c1"}, {"violation"}),
    ("garbage", {"data": "0400000093a3666f6f"}, {"violation", "timeout"}),
    ("garbage", {"data": "0a00000094a6726573756c7463c0"}, {"violation"}),
    ("not_data", {}, {"failed"}),
    ("large", {"size": 150_000}, {"failed"}),
    ("large", {"size": 2_000_000}, {"violation"}),
    ("secret_error", {}, {"failed"}),
]


@pytest.mark.parametrize(
    ("handler", "arguments", "statuses"), ENDINGS, ids=[f"{e[0]}-{i}" for i, e in enumerate(ENDINGS)]
)
async def test_every_end_is_typed_and_the_next_call_works(
    probe: Probe, handler: str, arguments: dict[str, Any], statuses: set[str]
) -> None:
    neighbour = asyncio.create_task(probe.call("echo", {"text": "neighbour"}, spec=probe.spec("b")))
    result = await probe.call(handler, arguments)
    assert result.status in statuses, result
    assert result.failure is not None
    assert result.failure.code
    assert Probe.value(await neighbour) == "neighbour"
    assert Probe.value(await probe.call("echo", {"text": "next"})) == "next"


async def test_a_warm_call_has_its_whole_deadline_and_no_more(probe: Probe) -> None:
    await probe.call("echo", {"text": "warm"})
    result = await probe.call("sleep", {"seconds": 60}, limits=replace(LIMITS, wall_ms=200))
    assert result.status == "timeout"
    assert result.duration_us >= 200_000


async def test_cost_is_measured_from_outside(probe: Probe) -> None:
    # Time enough that a busy machine does not end it before it has burnt what it may.
    result = await probe.call("loop", limits=replace(LIMITS, wall_ms=60_000))
    assert result.status == "cpu"
    assert 590_000 <= result.cpu_us <= 1_500_000


async def test_threads_work_and_are_bounded(probe: Probe) -> None:
    started = Probe.value(await probe.call("threads", limits=replace(LIMITS, cpu_ms=5_000)))
    assert 4 <= started < 5000


async def test_async_handlers_run(probe: Probe) -> None:
    assert Probe.value(await probe.call("later")) == "later"


async def test_capability_calls_are_counted_and_bounded(probe: Probe) -> None:
    assert Probe.value(await probe.call("ask", {"times": 20})) == 20
    assert len(probe.host_calls) == 20
    result = await probe.call("ask", {"times": 60})
    assert result.status == "failed"
    assert result.failure is not None
    assert result.failure.code == "host-calls-exceeded"
    assert len(probe.host_calls) == 70


async def test_output_over_the_limit_is_cut_with_a_note(probe: Probe) -> None:
    result = await probe.call("shout", {"lines": 60})
    assert result.status == "ok"
    assert len(result.log) < 25
    assert "cut" in result.log[-1][1]


async def test_a_trace_tells_the_author_where_and_nobody_where_the_host_keeps_its_files(probe: Probe) -> None:
    result = await probe.call("secret_error")
    assert result.failure is not None
    assert "plugin.py" in result.failure.trace
    assert str(Path(__file__).parents[3]) not in result.failure.trace
    assert "jackfield_sdk" not in result.failure.trace


async def test_a_zygote_that_is_killed_is_replaced(probe: Probe) -> None:
    Probe.value(await probe.call("pid"))
    pids = probe.pool.pids()
    zygote = probe.pool._supervisor.zygote_pid  # pyright: ignore[reportPrivateUsage]  # only the test kills it
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    async with asyncio.timeout(10):
        while True:
            result = await probe.call("echo", {"text": "back"})
            if result.status == "ok" and probe.pool.stats().zygote_restarts:
                break
            assert result.status in ("ok", "unsealed", "crashed")
            await asyncio.sleep(0.01)
    for pid in pids:
        assert not _exists(pid)


def _own_groups() -> int:
    """Memory groups of this process, those of other tests' pools included."""
    return sum(
        1 for root in ("memory/jackfield", "jackfield") for _ in Path("/sys/fs/cgroup", root).glob(f"{os.getpid()}*")
    )


async def test_nothing_is_left_when_the_pool_stops(probe: Probe) -> None:
    before = _own_groups() - (1 if probe.pool._supervisor.level == "strict" else 0)  # pyright: ignore[reportPrivateUsage]  # only the test looks
    Probe.value(await probe.call("pid"))
    await probe.call("loop")
    pids = [*probe.pool.pids(), probe.pool._supervisor.zygote_pid]  # pyright: ignore[reportPrivateUsage]  # only the test looks
    await probe.pool.stop()
    for pid in pids:
        assert not _exists(pid)
    assert _own_groups() == before
