"""Storage counts, compares, expires, and works on many keys at once; on SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackfield.capabilities import inventory
from jackfield.capabilities.errors import (
    ArgumentsInvalidError,
    NumberOutOfRangeError,
    StorageFullError,
    ValueKindError,
)
from jackfield.capabilities.usage import OVERHEAD
from jackfield.db import Database
from tests.server.capabilities.installations import Installed, installed, make_gate
from tests.server.conftest import ManualClock


@pytest.fixture
def plugin(either_database: Database, clock: ManualClock) -> Installed:
    return installed(make_gate(either_database, clock=clock))


async def value(plugin: Installed, key: str = "k") -> Any:
    return (await plugin.call("storage", "get", key=key))["value"]


async def used(plugin: Installed, database: Database) -> int:
    async with database.read(plugin.context.tenant_id) as session:
        return (await inventory(session, plugin.context.installation_id))["storage_bytes"]


# -- compare and set ---------------------------------------------------------------------------------------------------


async def test_a_value_is_set_when_what_is_there_is_what_was_expected(plugin: Installed) -> None:
    swap = {"capability": "storage", "operation": "compare_and_set", "key": "k"}
    assert await plugin.call(**swap, expected=None, value={"a": 1, "b": [2]}) is True
    assert await plugin.call(**swap, expected=None, value=2) is False
    assert await plugin.call(**swap, expected={"b": [2], "a": 1}, value=1) is True
    for other in (1.0, True, "1", [1], {}):
        assert await plugin.call(**swap, expected=other, value=3) is False
    assert await value(plugin) == 1
    assert await plugin.call(**swap, expected=1, value=None) is True
    # A null is there; no key is not.
    assert await plugin.call(**swap, expected=None, value=2) is False


async def test_a_version_is_never_the_one_before(plugin: Installed) -> None:
    assert await plugin.call("storage", "entry", key="k") is None
    await plugin.call("storage", "set", key="k", value=1)
    first = await plugin.call("storage", "entry", key="k")
    assert (first["value"], first["expires_at"]) == (1, None)
    await plugin.call("storage", "delete", key="k")
    await plugin.call("storage", "set", key="k", value=1)
    swap = {"capability": "storage", "operation": "compare_and_set", "key": "k", "value": 2}
    assert await plugin.call(**swap, version=first["version"]) is False
    second = await plugin.call("storage", "entry", key="k")
    assert await plugin.call(**swap, version=second["version"]) is True
    assert await plugin.call(**swap, version=second["version"]) is False


async def test_of_many_that_swap_at_once_each_wins_once(plugin: Installed) -> None:
    await plugin.call("storage", "set", key="k", value=0)

    async def add_one() -> None:
        while True:
            seen = await value(plugin)
            if await plugin.call("storage", "compare_and_set", key="k", expected=seen, value=seen + 1):
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(add_one())
    assert await value(plugin) == 12


# -- counting ----------------------------------------------------------------------------------------------------------


async def test_counting_loses_nothing_however_many_count(plugin: Installed) -> None:
    async with asyncio.TaskGroup() as group:
        counts = [group.create_task(plugin.call("storage", "increment", key="k", by=n)) for n in range(1, 31)]
    assert await value(plugin) == sum(range(1, 31))
    assert len({task.result() for task in counts}) == 30


async def test_a_number_stays_a_number_of_its_kind(plugin: Installed) -> None:
    assert await plugin.call("storage", "increment", key="k", by=-3, initial=10) == 7
    assert await plugin.call("storage", "increment", key="k", initial=99) == 8
    assert type(await value(plugin)) is int
    assert await plugin.call("storage", "increment", key="k", by=0.5) == 8.5
    await plugin.call("storage", "set", key="k", value=2**63 - 2)
    assert await plugin.call("storage", "increment", key="k") == 2**63 - 1
    for by in (1, 2**63, float("inf"), float("nan")):
        with pytest.raises(NumberOutOfRangeError):
            await plugin.call("storage", "increment", key="k", by=by)
    assert await value(plugin) == 2**63 - 1


@pytest.mark.parametrize("kept", [None, True, "1", [1], {"n": 1}, "long " * 100])
async def test_what_is_no_number_is_not_counted(plugin: Installed, kept: Any) -> None:
    await plugin.call("storage", "set", key="k", value=kept)
    with pytest.raises(ValueKindError) as refused:
        await plugin.call("storage", "increment", key="k")
    assert refused.value.code == "value-not-a-number"
    assert await value(plugin) == kept


# -- expiry ------------------------------------------------------------------------------------------------------------


async def test_what_has_expired_is_gone_for_every_reader_at_once(plugin: Installed, clock: ManualClock) -> None:
    await plugin.call("storage", "set", key="k", value=1, ttl_s=10)
    await plugin.call("storage", "set", key="l", value=2)
    assert (await plugin.call("storage", "entry", key="k"))["expires_at"] == clock.moment.timestamp() + 10
    clock.advance(9.9)
    assert await value(plugin) == 1
    clock.advance(0.1)
    assert await plugin.call("storage", "get", key="k") == {"found": False, "value": None}
    assert await plugin.call("storage", "entry", key="k") is None
    assert await plugin.call("storage", "keys") == ["l"]
    assert await plugin.call("storage", "items") == {"items": [["l", 2]], "next": None}
    assert await plugin.call("storage", "get_many", keys=["k", "l"]) == {"found": {"l": 2}, "rest": []}
    assert await plugin.call("storage", "compare_and_set", key="k", expected=None, value=3) is True
    await plugin.call("storage", "set", key="k", value=1, ttl_s=1)
    clock.advance(1)
    assert await plugin.call("storage", "delete", key="k") is False


async def test_a_counter_lives_as_long_as_it_was_given_when_it_was_made(plugin: Installed, clock: ManualClock) -> None:
    assert await plugin.call("storage", "increment", key="k", ttl_s=60) == 1
    clock.advance(59)
    assert await plugin.call("storage", "increment", key="k", ttl_s=60) == 2
    clock.advance(1)
    assert await plugin.call("storage", "increment", key="k", ttl_s=60) == 1


async def test_setting_without_a_lifetime_keeps_for_good(plugin: Installed, clock: ManualClock) -> None:
    await plugin.call("storage", "set", key="k", value=1, ttl_s=10)
    await plugin.call("storage", "set", key="k", value=2)
    clock.advance(11)
    assert await value(plugin) == 2


@pytest.mark.parametrize("ttl_s", [0, -1, 0.0001, 1e12, float("nan"), "10"])
async def test_a_lifetime_that_is_none_is_refused(plugin: Installed, ttl_s: Any) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("storage", "set", key="k", value=1, ttl_s=ttl_s)


async def test_sweeping_gives_the_space_back_to_the_last_byte(
    plugin: Installed, clock: ManualClock, either_database: Database
) -> None:
    other = installed(plugin.gate, "globex", "inst_b")
    await other.call("storage", "set", key="k", value=1)
    await plugin.call("storage", "set", key="stays", value=1)
    before = await used(plugin, either_database)
    for number in range(20):
        await plugin.call("storage", "set", key=f"k{number}", value="x" * number, ttl_s=5)
    await other.call("storage", "set", key="l", value=1, ttl_s=100)
    clock.advance(5)
    assert await plugin.gate.housekeeping.storage.sweep() == 20
    assert await plugin.gate.housekeeping.storage.sweep() == 0
    assert await used(plugin, either_database) == before
    assert await other.call("storage", "keys") == ["k", "l"]


async def test_nobody_is_full_because_of_what_has_expired(either_database: Database, clock: ManualClock) -> None:
    one = OVERHEAD + 2 + 1
    plugin = installed(make_gate(either_database, storage_bytes=5 * one, clock=clock))
    for number in range(5):
        await plugin.call("storage", "set", key=f"k{number}", value=1, ttl_s=5)
    with pytest.raises(StorageFullError):
        await plugin.call("storage", "set", key="kx", value=1)
    clock.advance(5)
    await plugin.call("storage", "set", key="kx", value=1)
    await plugin.call("storage", "set_many", items={f"m{number}": 1 for number in range(4)})
    assert await used(plugin, either_database) == 5 * one


# -- many at once ------------------------------------------------------------------------------------------------------


async def test_many_are_set_together_or_not_at_all(either_database: Database) -> None:
    one = OVERHEAD + 2 + 1
    plugin = installed(make_gate(either_database, storage_bytes=3 * one))
    await plugin.call("storage", "set_many", items={"k1": 1, "k2": 2})
    with pytest.raises(StorageFullError):
        await plugin.call("storage", "set_many", items={"k2": 3, "k3": 3, "k4": 4})
    assert await plugin.call("storage", "items") == {"items": [["k1", 1], ["k2", 2]], "next": None}
    await plugin.call("storage", "set_many", items={"k2": 3, "k3": 3})
    assert await used(plugin, either_database) == 3 * one
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("storage", "set_many", items={"k1": 1, "": 2})
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("storage", "set_many", items={f"k{number}": 1 for number in range(101)})


async def test_large_values_come_a_few_at_a_time(plugin: Installed) -> None:
    large = {f"k{number}": str(number) * 200_000 for number in range(9)}
    for key, text in large.items():
        await plugin.call("storage", "set", key=key, value=text)
    found, rest = {}, [*large, "nothing", "k1"]
    while rest:
        answer = await plugin.call("storage", "get_many", keys=rest)
        assert answer["found"]
        found |= answer["found"]
        rest = answer["rest"]
    assert found == large
    pairs, after = [], None
    while True:
        answer = await plugin.call("storage", "items", prefix="k", after=after)
        assert 0 < len(answer["items"]) <= 5
        pairs += answer["items"]
        after = answer["next"]
        if after is None:
            break
    assert pairs == [[key, text] for key, text in large.items()]


async def test_a_prefix_is_deleted_and_nothing_beside_it(plugin: Installed, either_database: Database) -> None:
    for key in ("a", "a/1", "a/2", "a0", "b"):
        await plugin.call("storage", "set", key=key, value=1)
    other = installed(plugin.gate, "acme", "inst_b")
    await other.call("storage", "set", key="a/1", value=1)
    assert await plugin.call("storage", "delete_prefix", prefix="a/") == {"deleted": 2, "more": False}
    assert await plugin.call("storage", "keys") == ["a", "a0", "b"]
    assert await other.call("storage", "keys") == ["a/1"]
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("storage", "delete_prefix", prefix="")
    for key in ("a", "a0", "b"):
        await plugin.call("storage", "delete", key=key)
    assert await used(plugin, either_database) == 0
