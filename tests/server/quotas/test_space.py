"""What installations keep is held to the plan: bytes and rows, of each and of the tenant with all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from jackfield.capabilities.errors import RowsFullError, StorageFullError
from jackfield.capabilities.models import UsageRow
from jackfield.db import Database
from jackfield.quotas import Space
from tests.server.capabilities.installations import Installed, installed, make_gate


async def insert(plugin: Installed, times: int = 1) -> list[str]:
    return [
        (await plugin.call("tables", "insert", table="ledger", row={"customer": f"c{n}"}))["id"] for n in range(times)
    ]


def gate_with(database: Database, **space: Any) -> Any:
    allowed = Space(**{"storage_bytes": None, "rows": None, **space})
    return make_gate(database, space_of=lambda _tenant: allowed)


async def test_rows_are_counted_and_refused_over_the_limit_until_one_goes(database: Database) -> None:
    plugin = installed(gate_with(database, rows=3))
    ids = await insert(plugin, 3)
    with pytest.raises(RowsFullError) as refused:
        await insert(plugin)
    assert (refused.value.code, refused.value.data["scope"], refused.value.data["limit"]) == ("rows-full", "plugin", 3)
    await plugin.call("storage", "set", key="k", value="keys are no rows")
    await plugin.call("tables", "update", table="ledger", id=ids[0], changes={"points": 7})
    await plugin.call("tables", "delete", table="ledger", id=ids[0])
    await insert(plugin)


async def test_a_first_row_that_is_not_allowed_is_refused(database: Database) -> None:
    with pytest.raises(RowsFullError):
        await insert(installed(gate_with(database, rows=0)))
    with pytest.raises(RowsFullError):
        await insert(installed(gate_with(database, tenant_rows=0)))
    with pytest.raises(StorageFullError):
        await insert(installed(gate_with(database, tenant_storage_bytes=10)))


async def test_a_tenants_plugins_share_its_rows(database: Database) -> None:
    gate = gate_with(database, tenant_rows=4)
    one, two = installed(gate), installed(gate, installation="inst_b")
    await insert(one, 3)
    ids = await insert(two)
    with pytest.raises(RowsFullError) as refused:
        await insert(two)
    assert (refused.value.data["scope"], refused.value.data["used"]) == ("tenant", 4)
    with pytest.raises(RowsFullError):
        await insert(one)
    await insert(installed(gate, "rival", "inst_r"), 4)
    await two.call("tables", "delete", table="ledger", id=ids[0])
    await insert(one)


async def test_a_tenants_plugins_share_its_bytes(database: Database) -> None:
    gate = gate_with(database, storage_bytes=8_000, tenant_storage_bytes=10_000)
    one, two = installed(gate), installed(gate, installation="inst_b")
    await one.call("storage", "set", key="k", value="x" * 7_000)
    with pytest.raises(StorageFullError) as refused:
        await two.call("storage", "set", key="k", value="x" * 7_000)
    assert refused.value.data["scope"] == "tenant"
    with pytest.raises(StorageFullError) as refused:
        await one.call("storage", "set", key="more", value="x" * 1_000)
    assert (refused.value.data["scope"], refused.value.data["limit"]) == ("plugin", 8_000)
    await two.call("storage", "set", key="k", value="x" * 2_000)
    await one.call("storage", "set", key="k", value="x" * 100)
    await two.call("storage", "set", key="k", value="x" * 7_000)


async def test_a_plan_that_became_smaller_never_keeps_a_plugin_from_removing(database: Database) -> None:
    plugin = installed(gate_with(database))
    ids = await insert(plugin, 3)
    await plugin.call("storage", "set", key="k", value="x" * 5_000)
    small = installed(gate_with(database, storage_bytes=10, rows=1, tenant_storage_bytes=10, tenant_rows=1))
    await small.call("tables", "delete", table="ledger", id=ids[0])
    await small.call("storage", "set", key="k", value="x" * 4_000)
    await small.call("storage", "delete", key="k")
    with pytest.raises((RowsFullError, StorageFullError)):
        await insert(small)


async def test_counts_stay_exact_when_many_write_at_once(either_database: Database) -> None:
    database = either_database
    gate = gate_with(database, tenant_rows=25)
    plugins = [installed(gate, installation=f"inst_{n}") for n in range(4)]

    async def one(plugin: Installed) -> bool:
        try:
            await insert(plugin)
        except RowsFullError:
            return False
        return True

    done = await asyncio.gather(*(one(plugin) for plugin in plugins for _ in range(10)))
    assert sum(done) == 25
    async with database.read(None) as session:
        assert sum(await session.scalars(select(UsageRow.used_rows))) == 25
