"""A plugin that takes long to load is loaded before it is needed, so that only the very first call waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from jackfield.isolation import CallResult, IsolatePool, PoolSettings, Supervisor
from jackfield_sandbox import sealed
from tests.server.isolation.conftest import LEVELS, Probe
from tests.server.isolation.test_fairness import LONG, until

HEAVY = b"""
import hashlib
import os
import time

import jackfield_sdk as jf

# As long as a large library: until so much processor time is used up.
while time.process_time() < 0.25:
    hashlib.sha256(bytes(100_000))

plugin = jf.Plugin("probe", version="1.0.0")


@plugin.function()
def pid(ctx: jf.Context) -> int:
    return os.getpid()


@plugin.function()
def die(ctx: jf.Context) -> None:
    os._exit(1)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "heavy.img"
    path.write_bytes(sealed.build_image({"src/plugin.py": HEAVY}))
    return path


@pytest_asyncio.fixture(params=LEVELS)
async def heavy(request: pytest.FixtureRequest, image: Path, cache: Path) -> AsyncIterator[Probe]:
    pool = IsolatePool(Supervisor(request.param, cache), PoolSettings(budget=6, spares=1, spare_memory_mb=64, calls=5))
    await pool.start()
    try:
        yield Probe(pool, image)
    finally:
        await pool.stop()


async def test_a_worn_isolate_goes_on_until_the_next_one_is_loaded(heavy: Probe) -> None:
    results: list[CallResult] = []

    async def next_pid() -> int:
        results.append(await heavy.call("pid", limits=LONG))
        return Probe.value(results[-1])

    first = await next_pid()
    assert [await next_pid() for _ in range(4)] == [first] * 4
    assert heavy.pool.stats().alive == 2, "its heir is loading"
    while await next_pid() == first:
        pass
    assert len(results) > 6, "it was not held back while the heir was loading"
    assert heavy.pool.stats().alive == 1
    assert [result.is_cold for result in results] == [True] + [False] * (len(results) - 1)


async def test_one_that_died_is_loaded_again_at_once(heavy: Probe) -> None:
    await heavy.call("pid", limits=LONG)
    assert (await heavy.call("die", limits=LONG)).status == "crashed"
    assert heavy.pool.stats().alive == 1
    assert not (await heavy.call("pid", limits=LONG)).is_cold


async def test_an_heir_goes_with_those_that_are_retired(heavy: Probe) -> None:
    for _ in range(5):
        await heavy.call("pid", limits=LONG)
    assert heavy.pool.stats().alive == 2
    await heavy.pool.retire("a")
    await until(lambda: not heavy.pool.stats().alive)
    assert (await heavy.call("pid", spec=heavy.spec(revision=2), limits=LONG)).is_cold
