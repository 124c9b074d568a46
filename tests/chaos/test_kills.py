"""`kill -9` of anything at any time: nothing that was acknowledged is lost, nothing runs twice, nothing is left over.

How long the service was away is printed, and bounded loosely: the machine is shared. `make soak` runs the long forms.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.house import TYPED, Callers, House, Server, prepare, start
from tests.chaos.processes import Family, descriptors_of, exists, family_of, groups_of, mounts_of, state_of, until

AWAY_S = 15.0
"""Two seconds on a machine of one's own."""
Pick = Callable[[Family], list[int]]
VICTIMS: dict[str, Pick] = {
    "zygote, outer half": lambda family: family.outer,
    "zygote, inner half": lambda family: family.inner,
    "isolate": lambda family: family.isolates,
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return asyncio.run(prepare(tmp_path_factory.mktemp("chaos"), "1.0.0", "1.0.1", "1.0.2"))


@pytest_asyncio.fixture
async def server(house: House) -> AsyncIterator[Server]:
    async with start(house) as server:
        yield server
        family, groups = family_of(server.pid), groups_of(server.pid)
        if server.process.poll() is None:
            assert family.isolates
            # uvicorn ends in good order, and then by the signal that it was asked with.
            assert await asyncio.to_thread(server.stop) in (0, -signal.SIGTERM)
        await until(lambda: not any(map(exists, family.all)))
        assert not any(map(Path.exists, groups))


async def settle(server: Server) -> Family:
    """Wait until there is a zygote that has spares again."""
    await until(lambda: len(family_of(server.pid).isolates) >= 4)
    return family_of(server.pid)


async def check(callers: Callers) -> None:
    """Every acknowledged call has run once, no other one more than once, and each of those has a typed error."""
    counts = await callers.counts()
    assert set(callers.failed.values()) <= TYPED
    assert [key for key in callers.acknowledged if counts[key] != 1] == []
    assert [key for key in callers.failed if counts[key] > 1] == []


async def storm(server: Server, chance: random.Random, kills: int, *, stops: bool) -> None:
    """Kill this and that, at moments that are not chosen."""
    callers = Callers(server, name=f"storm{chance.random()}")
    mounts = mounts_of(server.pid)
    away: list[float] = []
    async with callers.calling():
        # What connections to the database it wants to have, it has then.
        await until(lambda: len(callers.acknowledged) > 20)
    await settle(server)
    before = own_descriptors(server)
    async with callers.calling():
        for number in range(kills):
            await asyncio.sleep(chance.uniform(0.0, 0.2))
            name = list(VICTIMS)[number % len(VICTIMS)]
            candidates = VICTIMS[name](family_of(server.pid))
            if not candidates:
                continue
            is_stop = stops and name != "isolate" and chance.random() < 0.5
            try:
                os.kill(chance.choice(candidates), signal.SIGSTOP if is_stop else signal.SIGKILL)
            except ProcessLookupError:
                continue
            away.append(await callers.success_after(time.monotonic(), seconds=30))
    print(
        f"{len(away)} kills: away {max(away):.3f} s at most; {len(callers.acknowledged)} calls acknowledged,", end=" "
    )
    print(f"{len(callers.failed)} failed")
    assert max(away) < AWAY_S
    assert callers.unanswered == []
    await check(callers)
    await settle(server)
    # What was stopped is replaced and ended, too.
    await until(lambda: not [pid for pid in family_of(server.pid).all if state_of(pid) in ("T", "Z")], seconds=90)
    assert mounts_of(server.pid) == mounts
    await until(lambda: own_descriptors(server) <= before + 4)


def own_descriptors(server: Server) -> int:
    """Descriptors of a server without those of its isolates."""
    return descriptors_of(server.pid) - 2 * len(family_of(server.pid).isolates)


async def test_nothing_is_lost_in_a_storm_of_kills(server: Server) -> None:
    await storm(server, random.Random(3), 9, stops=False)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_in_a_long_storm_of_kills_and_stops(server: Server, seed: int) -> None:
    await storm(server, random.Random(seed), 60, stops=True)


async def test_a_server_that_is_killed_leaves_no_process_and_the_next_one_takes_its_groups_away(house: House) -> None:
    async with start(house) as first:
        callers = Callers(first, name="killed")
        async with callers.calling():
            await until(lambda: len(callers.acknowledged) > 50)
            family, groups = family_of(first.pid), groups_of(first.pid)
            assert family.isolates
            first.process.kill()
            await asyncio.to_thread(first.process.wait)
            died = time.monotonic()
            await until(lambda: not any(map(exists, family.all)))
            print(f"{len(family.all)} processes gone {time.monotonic() - died:.3f} s after their server")
    async with start(house) as second:
        print(f"serves again {second.started_in_s:.3f} s after its start, self-attack included")
        assert not any(map(Path.exists, groups))
        callers.server = second
        await check(callers)


async def test_a_zygote_that_is_stopped_is_replaced(server: Server) -> None:
    family = await settle(server)
    callers = Callers(server, name="stopped")
    async with callers.calling():
        await until(lambda: len(callers.acknowledged) > 20)
        for pid in family.inner:
            os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        await until(lambda: not set(family.inner) & set(family_of(server.pid).inner), seconds=100)
        away = await callers.success_after(stopped)
    print(f"away {away:.3f} s; {len(callers.failed)} of {len(callers.acknowledged)} failed")
    assert callers.failed == {}
    await check(callers)


async def test_an_update_drops_no_call(server: Server) -> None:
    await settle(server)
    callers = Callers(server, name="update")
    async with server.client() as client, callers.calling():
        for version in ("1.0.1", "1.0.2"):
            seen = len(callers.acknowledged)
            await until(lambda seen=seen: len(callers.acknowledged) > seen + 20)
            updated = await client.post("/api/plugins/ledger/update", json={"version": version})
            assert updated.status_code == 200, updated.text
            asked = time.monotonic()
            await callers.success_after(asked)
            assert callers.versions[-1] == version
    assert callers.failed == {}
    assert set(callers.versions) == {"1.0.0", "1.0.1", "1.0.2"}
    await check(callers)
