"""What a call uses of the platform is counted where it is used, and charged to that call alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from jackfield.capabilities import CapabilityContext, Gate, set_secrets
from jackfield.capabilities.errors import PermissionDeniedError, UnknownCapabilityError
from jackfield.db import Database
from tests.server.capabilities.installations import Installed, installed


@pytest.fixture
async def busy(gate: Gate, database: Database) -> Installed:
    """An installation of which nothing was counted yet, with a row, a value and a secret."""
    plugin = installed(gate)
    await plugin.call("storage", "set", key="k", value=1)
    await plugin.call("tables", "insert", table="ledger", row={"customer": "ann"})
    async with database.write("acme") as session:
        await set_secrets(session, "acme", "inst_a", plugin.context.slug, {"api_key": "sk"})
    return installed(gate)


OPERATIONS: Sequence[tuple[str, str, dict[str, Any], int]] = [
    ("storage", "get", {"key": "k"}, 1),
    ("storage", "keys", {}, 1),
    ("storage", "set", {"key": "k", "value": 2}, 2),
    ("tables", "find", {"table": "ledger"}, 1),
    ("data", "list", {"entity": "customers"}, 1),
    ("data", "entities", {}, 0),
    ("config", "get", {}, 0),
    ("secrets", "reveal", {"name": "api_key"}, 1),
]


@pytest.mark.parametrize(
    ("capability", "operation", "arguments", "queries"), OPERATIONS, ids=[f"{c}.{o}" for c, o, _, _ in OPERATIONS]
)
async def test_statements_are_counted_and_nothing_around_them(
    busy: Installed, capability: str, operation: str, arguments: dict[str, Any], queries: int
) -> None:
    await busy.call(capability, operation, **arguments)
    tally = busy.context.tally
    assert (tally.queries, tally.capabilities) == (queries, {capability: 1})


async def test_what_is_refused_is_counted_and_what_there_is_not_is_not(gate: Gate) -> None:
    plugin = installed(gate, grants=[])
    with pytest.raises(PermissionDeniedError):
        await plugin.call("storage", "get", key="k")
    with pytest.raises(UnknownCapabilityError):
        await plugin.call("x" * 1000, "get")
    assert (plugin.context.tally.queries, plugin.context.tally.capabilities) == (0, {"storage": 1})


async def test_calls_at_the_same_time_are_charged_apart(gate: Gate, database: Database) -> None:
    plugins = [installed(gate, "acme", f"inst_{number}") for number in range(8)]

    async def work(number: int) -> None:
        for step in range(number):
            await plugins[number].call("storage", "set", key=f"k{step}", value=step)

    async def platform() -> None:
        for _ in range(20):
            async with database.read(None) as session:
                await session.connection()

    await asyncio.gather(platform(), *map(work, range(8)))
    assert [plugin.context.tally.queries for plugin in plugins] == [2 * number for number in range(8)]


async def test_a_secret_that_was_told_is_remembered_for_the_call(busy: Installed) -> None:
    await busy.call("secrets", "reveal", name="api_key")
    assert busy.context.tally.revealed == ["sk"]


def test_each_call_has_a_tally_of_its_own(gate: Gate) -> None:
    one, other = installed(gate).context, installed(gate).context
    assert one.tally is not other.tally
    assert isinstance(one, CapabilityContext)
    assert one == other
