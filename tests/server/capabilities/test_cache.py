"""The cache forgets, keeps to its bounds, and shows nobody what is another's."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.capabilities.cache import Entries
from jackfield.capabilities.errors import ArgumentsInvalidError, PermissionDeniedError, ValueKindError
from jackfield.db import Database
from tests.server.capabilities.installations import Installed, installed, make_gate
from tests.server.conftest import ManualClock


@pytest.fixture
def plugin(database: Database, clock: ManualClock) -> Installed:
    return installed(make_gate(database, clock=clock))


async def get(plugin: Installed, key: str = "k") -> Any:
    answer = await plugin.call("cache", "get", key=key)
    return answer["value"] if answer["found"] else "nothing"


async def test_a_value_is_there_until_its_time_is_up(plugin: Installed, clock: ManualClock) -> None:
    await plugin.call("cache", "set", key="k", value={"a": None}, ttl_s=10)
    clock.advance(9.9)
    assert await get(plugin) == {"a": None}
    clock.advance(0.1)
    assert await get(plugin) == "nothing"
    assert plugin.gate.cache.entries.size == 0
    await plugin.call("cache", "set", key="k", value=None)
    clock.advance(299)
    assert await get(plugin) is None
    clock.advance(1)
    assert await plugin.call("cache", "delete", key="k") is False


async def test_it_asks_no_database(plugin: Installed) -> None:
    await plugin.call("cache", "set", key="k", value=1)
    await plugin.call("cache", "increment", key="k", by=2)
    assert await get(plugin) == 3
    assert await plugin.call("cache", "delete", key="k") is True
    assert plugin.context.tally.queries == 0
    assert plugin.context.tally.capabilities == {"cache": 4}


async def test_counting_counts_numbers_within_their_time(plugin: Installed, clock: ManualClock) -> None:
    assert await plugin.call("cache", "increment", key="k", initial=10, ttl_s=60) == 11
    clock.advance(59)
    assert await plugin.call("cache", "increment", key="k", ttl_s=60) == 12
    clock.advance(1)
    assert await plugin.call("cache", "increment", key="k", ttl_s=60) == 1
    await plugin.call("cache", "set", key="k", value="x")
    with pytest.raises(ValueKindError):
        await plugin.call("cache", "increment", key="k")


async def test_nobody_sees_what_is_anothers(plugin: Installed) -> None:
    others = [installed(plugin.gate, *who) for who in (("acme", "inst_b"), ("globex", "inst_c"), ("globex", "inst_a"))]
    await plugin.call("cache", "set", key="k", value="mine")
    for other in others[:2]:
        assert await get(other) == "nothing"
        assert await other.call("cache", "delete", key="k") is False
        await other.call("cache", "set", key="k", value="theirs")
    assert await get(plugin) == "mine"
    # It cannot happen. If it did, both ids would have to be right.
    assert await get(others[2]) == "nothing"


async def test_without_the_grant_there_is_none(plugin: Installed) -> None:
    with pytest.raises(PermissionDeniedError):
        await plugin.holding(["storage"]).call("cache", "get", key="k")


async def test_a_changed_plugin_begins_with_nothing(plugin: Installed) -> None:
    await plugin.call("cache", "set", key="k", value=1)
    plugin.gate.forget("inst_a")
    assert await get(plugin) == "nothing"
    assert plugin.gate.cache.entries.size == 0


@pytest.mark.parametrize("arguments", [{"ttl_s": 0}, {"ttl_s": 86_401}, {"value": "x" * 262_144}, {"key": ""}])
async def test_what_is_too_much_is_refused(plugin: Installed, arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("cache", "set", **{"key": "k", "value": 1, **arguments})


def entries(**bounds: int) -> Entries:
    return Entries(lambda: 0.0, **bounds)


def test_who_takes_too_much_loses_their_own_that_was_not_used_for_longest() -> None:
    kept = entries(installation_bytes=4 * 1404)
    kept.put("t", "other", "k", b"x" * 1000, 1.0)
    for number in range(4):
        kept.put("t", "a", f"{number}", b"x" * 1100, 1.0)
    assert kept.get("t", "a", "0")
    kept.put("t", "a", "4", b"x" * 1100, 1.0)
    assert [number for number in range(5) if kept.get("t", "a", str(number))] == [0, 2, 3, 4]
    assert kept.get("t", "other", "k")


def test_a_tenant_and_the_node_have_bounds_of_their_own() -> None:
    kept = entries(tenant_bytes=10_000, node_bytes=25_000)
    for tenant in ("t", "u", "v", "w"):
        for plugin in range(12):
            kept.put(tenant, f"{tenant}{plugin}", "k", b"x" * 1000, 1.0)
        assert kept.get(tenant, f"{tenant}11", "k")
        assert not kept.get(tenant, f"{tenant}0", "k")
        assert kept.size <= 25_000
    assert not kept.get("t", "t11", "k")
    assert kept.get("w", "w11", "k")
    for tenant in ("t", "u", "v", "w"):
        for plugin in range(12):
            kept.forget(f"{tenant}{plugin}")
    assert kept.size == 0
    assert kept.__dict__["_tenants"] == {}


def test_what_is_larger_than_its_bound_is_not_kept() -> None:
    kept = entries(installation_bytes=1000)
    kept.put("t", "a", "k", b"x" * 1000, 1.0)
    assert kept.get("t", "a", "k") is None
    assert kept.size == 0
