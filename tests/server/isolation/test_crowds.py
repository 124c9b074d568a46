"""The pool under crowds, cancelled callers and plugins that go on after the end: nothing is lost, nothing grows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from jackfield.isolation import IsolatePool, IsolationError, PoolSettings, Supervisor
from jackfield_sandbox import sealed
from tests.server.isolation.conftest import LIMITS, Probe

SOURCE = b"""
import threading
import time

import jackfield_sdk as jf

plugin = jf.Plugin("probe", version="1.0.0")


@plugin.function()
def echo(ctx: jf.Context, text: str) -> str:
    return text


@plugin.function()
def sleep(ctx: jf.Context, seconds: float) -> None:
    time.sleep(seconds)


@plugin.function()
def leave_a_thread(ctx: jf.Context) -> None:
    def burn():
        while True:
            pass
    threading.Thread(target=burn, daemon=True).start()


@plugin.function()
def log_beside(ctx: jf.Context) -> int:
    stop = threading.Event()

    def talk():
        while not stop.wait(0.001):
            ctx.log.info("still here")
    thread = threading.Thread(target=talk)
    thread.start()
    for n in range(10):
        ctx.storage.get(f"slow{n}")
    stop.set()
    thread.join()
    return n
"""


@pytest_asyncio.fixture
async def pool(cache: Path) -> AsyncIterator[IsolatePool]:
    pool = IsolatePool(
        Supervisor("unprivileged", cache), PoolSettings(budget=6, spares=1, spare_memory_mb=64, waiting=5)
    )
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "probe.img"
    path.write_bytes(sealed.build_image({"src/plugin.py": SOURCE}))
    return path


@pytest.fixture
def probe(pool: IsolatePool, image: Path) -> Probe:
    return Probe(pool, image)


async def waiting(pool: IsolatePool, count: int) -> None:
    async with asyncio.timeout(10):
        while pool.stats().waiting != count:  # noqa: ASYNC110  # the pool tells nobody
            await asyncio.sleep(0.001)


async def test_a_crowd_before_one_installation_is_bounded_and_the_next_is_told_at_once(probe: Probe) -> None:
    spec = probe.spec(concurrency=1)
    busy = [asyncio.create_task(probe.call("sleep", {"seconds": 0.3}, spec=spec)) for _ in range(6)]
    await waiting(probe.pool, 5)
    refused = await asyncio.wait_for(probe.call("echo", {"text": "hi"}, spec=spec), 0.1)
    assert refused.status == "overloaded"
    assert Probe.value(await probe.call("echo", {"text": "hi"}, spec=probe.spec("b"))) == "hi"
    assert {result.status for result in await asyncio.gather(*busy)} == {"ok"}
    assert probe.pool.stats().waiting == 0


async def test_callers_that_go_away_while_they_wait_leave_nothing_behind(probe: Probe) -> None:
    spec = probe.spec(concurrency=1)
    for _ in range(20):
        busy = asyncio.create_task(probe.call("sleep", {"seconds": 0.03}, spec=spec))
        gone = [asyncio.create_task(probe.call("echo", {"text": "gone"}, spec=spec)) for _ in range(2)]
        await waiting(probe.pool, 2)
        # At the very moment at which the isolate is handed over.
        busy.add_done_callback(lambda _task, tasks=tuple(gone): [task.cancel() for task in tasks])
        await asyncio.wait([busy, *gone])
        assert Probe.value(await asyncio.wait_for(probe.call("echo", {"text": "next"}, spec=spec), 2)) == "next"
    assert probe.pool.stats().waiting == 0
    assert probe.pool.stats().alive <= 1


async def test_a_caller_that_goes_away_takes_its_isolate_with_it(probe: Probe) -> None:
    task = asyncio.create_task(probe.call("sleep", {"seconds": 60}))
    while not probe.pool.stats().alive:  # noqa: ASYNC110  # the pool tells nobody
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert probe.pool.stats().alive == 0


async def test_an_isolate_that_works_between_calls_is_ended(probe: Probe) -> None:
    assert (await probe.call("leave_a_thread")).status == "ok"
    async with asyncio.timeout(10):
        while probe.pool.stats().alive:  # noqa: ASYNC110  # the sweeper tells nobody
            await asyncio.sleep(0.01)


async def test_what_was_burnt_between_calls_is_charged_to_the_next(probe: Probe) -> None:
    assert (await probe.call("leave_a_thread")).status == "ok"
    await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0.3))})
    result = await probe.call("echo", {"text": "hi"})
    assert result.is_cold or result.cpu_us > 50_000


async def test_an_honest_thread_may_log_while_a_capability_is_asked(probe: Probe) -> None:
    result = await probe.call("log_beside", limits=replace(LIMITS, output_bytes=1 << 20))
    assert result.status == "ok", result.failure
    assert result.host_calls == 10


async def test_a_stopped_pool_can_be_started_again(probe: Probe) -> None:
    assert Probe.value(await probe.call("echo", {"text": "a"})) == "a"
    await probe.pool.stop()
    assert (await probe.call("echo", {"text": "b"})).status == "unsealed"
    await probe.pool.start()
    assert Probe.value(await probe.call("echo", {"text": "c"})) == "c"


async def test_no_descriptor_is_lost_where_no_isolate_can_be_had(probe: Probe, tmp_path: Path) -> None:
    Probe.value(await probe.call("echo", {"text": "warm"}))
    before = len(os.listdir("/proc/self/fd"))
    lost = replace(probe.spec("lost", memory_mb=32), image_path=tmp_path / "none.img")
    for _ in range(20):
        result = await probe.call("echo", {"text": "x"}, spec=lost)
        assert result.status == "unsealed"
        assert result.failure is not None
        assert str(tmp_path) not in result.failure.message
    assert len(os.listdir("/proc/self/fd")) <= before + 2, "a spare may have been made meanwhile"


async def test_a_zygote_that_cannot_be_started_again_at_once_is_tried_again(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jackfield.isolation import supervisor

    real, failures = supervisor.start_zygote, 2

    def fails_twice(*args: object, **kwargs: object) -> object:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(24, "Too many open files")
        return real(*args, **kwargs)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(supervisor, "start_zygote", fails_twice)
    zygote = probe.pool._supervisor.zygote_pid  # pyright: ignore[reportPrivateUsage]  # only the test kills it
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    async with asyncio.timeout(20):
        while probe.pool.stats().zygote_restarts < 3:  # noqa: ASYNC110  # the supervisor tells nobody
            await asyncio.sleep(0.01)
        while (await probe.call("echo", {"text": "x"})).status != "ok":  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)


async def test_a_pool_without_its_level_says_so_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jackfield.isolation import supervisor

    def fails(*_args: object, **_kwargs: object) -> object:
        raise OSError(1, "no Landlock here")

    monkeypatch.setattr(supervisor, "start_zygote", fails)
    pool = IsolatePool(Supervisor("unprivileged", cache), PoolSettings())
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(IsolationError, match="no Landlock here"):
        await pool.start()
    assert len(os.listdir("/proc/self/fd")) == before
