"""Storage keeps what JSON can carry, by key, in order, within its space."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackfield.capabilities.errors import ArgumentsInvalidError, StorageFullError
from jackfield.capabilities.usage import OVERHEAD
from jackfield.db import Database
from tests.server.capabilities.installations import Installed, installed, make_gate

VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 1.5, 1e300, "", "text", "with \0 and \x1b", "\U0001f600", [], {},
    [1, [2, [3]]], {"a": {"b": None}, "": "empty key"},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_what_is_set_is_what_one_gets(plugin: Installed, value: Any) -> None:
    assert await plugin.call("storage", "set", key="k", value=value) is None
    answer = await plugin.call("storage", "get", key="k")
    assert answer == {"found": True, "value": value}
    assert type(answer["value"]) is type(value)


async def test_what_is_not_there_is_not_found_and_null_is_there(plugin: Installed) -> None:
    assert await plugin.call("storage", "get", key="k") == {"found": False, "value": None}
    await plugin.call("storage", "set", key="k", value=None)
    assert await plugin.call("storage", "get", key="k") == {"found": True, "value": None}


async def test_a_value_replaces_the_one_before(plugin: Installed) -> None:
    await plugin.call("storage", "set", key="k", value=1)
    await plugin.call("storage", "set", key="k", value={"n": 2})
    assert (await plugin.call("storage", "get", key="k"))["value"] == {"n": 2}


async def test_delete_says_whether_it_was_there(plugin: Installed) -> None:
    await plugin.call("storage", "set", key="k", value=1)
    assert await plugin.call("storage", "delete", key="k") is True
    assert await plugin.call("storage", "delete", key="k") is False
    assert (await plugin.call("storage", "get", key="k"))["found"] is False


async def test_keys_come_by_prefix_in_order_and_page_by_page(plugin: Installed) -> None:
    names = ["a", "a%b", "a_b", "ab", "aé", "a\ud7ff", "a\U0010ffff", "a\U0010ffffz", "b", "B"]
    for name in names:
        await plugin.call("storage", "set", key=name, value=1)
    assert await plugin.call("storage", "keys") == sorted(names)
    assert await plugin.call("storage", "keys", prefix="a") == sorted(name for name in names if name.startswith("a"))
    assert await plugin.call("storage", "keys", prefix="a_") == ["a_b"]
    assert await plugin.call("storage", "keys", prefix="a\ud7ff") == ["a\ud7ff"]
    assert await plugin.call("storage", "keys", prefix="a\U0010ffff") == ["a\U0010ffff", "a\U0010ffffz"]
    first = await plugin.call("storage", "keys", limit=3)
    assert first + await plugin.call("storage", "keys", limit=100, after=first[-1]) == sorted(names)


async def test_the_largest_key_and_value_fit_and_one_more_does_not(plugin: Installed) -> None:
    largest = "x" * (256 * 1024 - 5)
    await plugin.call("storage", "set", key="ü" * 256, value=largest)
    assert (await plugin.call("storage", "get", key="ü" * 256))["value"] == largest
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("storage", "set", key="k", value=largest + "x")


async def test_a_full_storage_takes_no_more_until_something_goes(database: Database) -> None:
    one = OVERHEAD + 2 + 1
    plugin = installed(make_gate(database, storage_bytes=10 * one))
    for number in range(10):
        await plugin.call("storage", "set", key=f"k{number}", value=1)
    with pytest.raises(StorageFullError):
        await plugin.call("storage", "set", key="kx", value=1)
    with pytest.raises(StorageFullError):
        await plugin.call("storage", "set", key="k1", value="more")
    with pytest.raises(StorageFullError):
        await plugin.call("tables", "insert", table="ledger", row={"customer": "c"})
    await plugin.call("storage", "set", key="k1", value=2)
    await plugin.call("storage", "delete", key="k2")
    await plugin.call("storage", "set", key="kx", value=1)
    assert len(await plugin.call("storage", "keys")) == 10


async def test_lowering_the_limit_never_keeps_a_plugin_from_deleting(database: Database) -> None:
    await installed(make_gate(database)).call("storage", "set", key="k", value="x" * 5000)
    small = installed(make_gate(database, storage_bytes=1000))
    await small.call("storage", "delete", key="k")
    await small.call("storage", "set", key="k", value="y")


async def test_writers_at_the_same_time_lose_nothing(plugin: Installed) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(plugin.call("storage", "set", key=f"k{number % 8}", value=number))
    found = {
        key: (await plugin.call("storage", "get", key=key))["value"] for key in await plugin.call("storage", "keys")
    }
    assert sorted(found) == [f"k{number}" for number in range(8)]
    assert all(value % 8 == int(key[1:]) for key, value in found.items())
