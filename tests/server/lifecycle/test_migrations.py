"""Data between releases: migrated on a copy, kept for going back, put back exactly or transformed, never half of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield.capabilities.errors import ReleaseReplacedError, UpdateUnderwayError
from jackfield.capabilities.models import StorageItem, TableRow, UsageRow
from jackfield.errors import JackfieldError
from jackfield.invocation import Invocation
from jackfield.lifecycle import State
from jackfield.lifecycle.history import Kept
from jackfield.lifecycle.models import PastRelease
from tests.server.lifecycle.conftest import CONFIG, OWNER, TENANT, House, plugin_of, with_config, with_hooks
from tests.server.lifecycle.migrating import gated, handlers, isolate_of, migrating, with_ledger


async def code_of(call: Any) -> str:
    with pytest.raises(JackfieldError) as refused:
        await call
    return refused.value.code


async def settled_in(house: House, *, rows: int = 3, downs: bool = True, tenant: str = TENANT) -> Any:
    """Version 1.0 with rows and a key, and 2.0 in the catalogue."""
    if "points" not in house.catalogue.by_slug:
        house.catalogue.add(with_ledger(plugin_of()))
        house.catalogue.add(migrating(downs=downs))
        house.runner.handlers |= handlers(house)
    seen = await house.lifecycle.install(tenant, "points", version="1.0.0")
    plugin = gated(house.lifecycle, seen)
    made = [{"customer": f"c{number % 7}", "points": number} for number in range(rows)]
    for start in range(0, rows, 500):
        await plugin.call("tables", "insert_many", table="ledger", rows=made[start : start + 500])
    await plugin.call("storage", "set", key="since", value=2024)
    return seen


async def update(house: House, tenant: str = TENANT, **options: Any) -> Any:
    return await house.lifecycle.update(tenant, "points", version="2.0.0-rc.1", actor=OWNER, **options)


async def now(house: House, tenant: str = TENANT) -> Any:
    return gated(house.lifecycle, await house.lifecycle.get(tenant, "points"))


async def ledger(house: House, tenant: str = TENANT) -> list[dict[str, Any]]:
    plugin = await now(house, tenant)
    rows = await plugin.call("tables", "find", table="ledger", limit=1000)
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


async def test_a_plan_says_what_becomes_of_the_data(house: House) -> None:
    await settled_in(house)
    plan = await house.lifecycle.plan_update(TENANT, "points", "2.0.0-rc.1")
    assert [migration.name for migration in plan.migrations] == ["rename", "keep_count"]
    assert (plan.moves_data, plan.amount["rows"], plan.amount["storage_keys"], plan.conflicts) == (True, 3, 1, ())
    back = await house.lifecycle.plan_rollback(TENANT, "points")
    assert [error.code for error in back.conflicts] == ["no-way-back"]
    await update(house)
    back = await house.lifecycle.plan_rollback(TENANT, "points")
    assert (back.release.version, back.way, [down.name for down in back.downs]) == (
        "1.0.0", "transform", ["keep_count", "rename"],
    )  # fmt: skip


async def test_the_new_release_sees_its_columns_and_the_index_finds_them(house: House) -> None:
    before = await settled_in(house)
    updated = await update(house)
    assert (updated.id, updated.version, updated.state) == (before.id, "2.0.0-rc.1", State.ACTIVE)
    assert sorted(row["amount"] for row in await ledger(house)) == [0, 1, 2]
    plugin = await now(house)
    found = await plugin.call("tables", "find", table="ledger", where=[["customer", "eq", "c1"], ["amount", "gte", 1]])
    assert [(row["customer"], row["amount"]) for row in found] == [("c1", 1)]
    assert await code_of(plugin.call("tables", "insert", table="ledger", row={"customer": "x", "serial": 1})) == (
        "unique-violation"
    ), "the group that the release added holds for rows from before"
    assert {row.data.get("points") for row in await house.rows(TableRow) if row.installation_id == before.id} == {None}


async def test_the_old_release_reads_its_data_meanwhile_and_writers_wait_for_the_end(house: House) -> None:
    await settled_in(house)
    begun, may_end = asyncio.Event(), asyncio.Event()
    rename = house.runner.handlers["migrate rename"]

    async def slowly(invocation: Invocation) -> None:
        await rename(invocation)
        begun.set()
        await may_end.wait()

    house.runner.handlers["migrate rename"] = slowly
    plugin = await now(house)
    updating = asyncio.create_task(update(house))
    await begun.wait()
    assert await plugin.call("tables", "count", table="ledger", where=[["points", "gte", 1]]) == 2
    writing = asyncio.create_task(plugin.call("tables", "insert", table="ledger", row={"customer": "late"}))
    setting = asyncio.create_task(plugin.call("storage", "set", key="late", value=1))
    await asyncio.sleep(0)
    may_end.set()
    await updating
    # They began on a release that is gone, and its tables with it; tried again, they run on the new one.
    for call in (writing, setting):
        with pytest.raises((ReleaseReplacedError, UpdateUnderwayError)):
            await call
    assert len(await ledger(house)) == 3
    again = await (await now(house)).call("tables", "insert", table="ledger", row={"customer": "late"})
    assert again["amount"] == 0


async def test_a_call_of_the_old_release_finds_nothing_by_an_index_that_is_gone_rather_than_wrong_rows(
    house: House,
) -> None:
    await settled_in(house)
    old = await now(house)
    assert await old.call("tables", "count", table="ledger", where=[["customer", "eq", "c1"]]) == 1
    await update(house)
    with pytest.raises(ReleaseReplacedError):
        await old.call("tables", "find", table="ledger", where=[["customer", "eq", "c1"]])


@pytest.mark.parametrize("hook", ["migrate rename", "migrate keep_count", "on_update"])
async def test_a_failure_puts_everything_back(house: House, hook: str) -> None:
    await settled_in(house)
    house.catalogue.by_slug["points"].pop()
    house.catalogue.add(with_config(with_hooks(migrating(), "on_update")))
    working = house.runner.handlers.get(hook)

    async def fail(invocation: Invocation) -> None:
        if working is not None:
            await working(invocation)
        plugin = isolate_of(house, invocation.installation)
        await plugin.call("tables", "insert", table="ledger", row={"customer": "half-way"})
        await plugin.call("storage", "set", key="since", value="lost")
        raise jf.UserError("the moon is wrong")

    house.runner.handlers[hook] = fail
    before = await ledger(house)
    expected = "update-failed" if hook == "on_update" else "migration-failed"
    assert await code_of(update(house, config=CONFIG)) == expected
    seen = await house.lifecycle.get(TENANT, "points")
    assert (seen.version, seen.state) == ("1.0.0", State.ACTIVE)
    assert await ledger(house) == before
    plugin = await now(house)
    assert (await plugin.call("storage", "get", key="since"))["value"] == 2024
    await plugin.call("tables", "insert", table="ledger", row={"customer": "after"})
    assert await house.rows(PastRelease) == []
    assert {row.installation_id for row in await house.rows(TableRow)} == {seen.id}


async def test_rows_that_are_alike_are_named_and_the_update_is_refused(house: House) -> None:
    await settled_in(house)

    async def same(invocation: Invocation) -> None:
        plugin = isolate_of(house, invocation.installation)
        page = await plugin.call("migration", "rows", table="ledger")
        rows = [{"id": row["id"], "set": {"serial": 7}} for row in page["rows"]]
        await plugin.call("migration", "put", table="ledger", rows=rows)

    house.runner.handlers["migrate keep_count"] = same
    with pytest.raises(JackfieldError) as refused:
        await update(house)
    assert refused.value.code == "rows-not-unique"
    alike = refused.value.data["alike"]
    assert (refused.value.data["count"], alike[0]["table"], alike[0]["columns"]) == (2, "ledger", "serial")
    assert {alike[0]["row"], alike[0]["like"]} < {row.id for row in await house.rows(TableRow)}
    assert (await house.lifecycle.get(TENANT, "points")).version == "1.0.0"


async def test_a_release_without_migrations_may_demand_more_and_is_refused_where_the_data_is_not_so(
    house: House,
) -> None:
    await settled_in(house)
    plugin = plugin_of(version="1.5.0")

    @plugin.table("ledger", unique=[["customer"]])
    class Ledger:
        customer: str
        points: int = 0

    house.catalogue.add(plugin)
    old = await now(house)
    double = await old.call("tables", "insert", table="ledger", row={"customer": "c1"})
    assert await code_of(house.lifecycle.update(TENANT, "points", version="1.5.0")) == "rows-not-unique"
    await old.call("tables", "delete", table="ledger", id=double["id"])
    await house.lifecycle.update(TENANT, "points", version="1.5.0")
    again = (await now(house)).call("tables", "insert", table="ledger", row={"customer": "c1"})
    assert await code_of(again) == "unique-violation"


async def test_references_that_a_release_adds_must_lead_somewhere(house: House) -> None:
    await settled_in(house, rows=1)
    plugin = plugin_of(version="1.5.0")

    @plugin.table("people")
    class Person:
        name: str

    @plugin.table("ledger", references={"customer": "people"})
    class Ledger:
        customer: str

    house.catalogue.add(plugin)
    with pytest.raises(JackfieldError) as refused:
        await house.lifecycle.update(TENANT, "points", version="1.5.0")
    assert refused.value.code == "references-dangling"
    assert refused.value.data["dangling"][0]["column"] == "customer"


async def test_going_back_keeps_what_was_written_since_where_migrations_can_be_undone(house: House) -> None:
    seen = await settled_in(house)
    await update(house)
    plugin = await now(house)
    await plugin.call("tables", "insert", table="ledger", row={"customer": "new", "amount": 9, "serial": 99})
    await plugin.call("storage", "set", key="since", value=2025)
    back, done = await house.lifecycle.rollback(TENANT, "points", actor=OWNER)
    assert (back.id, back.version, done.data, done.export_id) == (seen.id, "1.0.0", "transformed", None)
    assert sorted(row["points"] for row in await ledger(house)) == [0, 1, 2, 9]
    plugin = await now(house)
    assert (await plugin.call("storage", "get", key="since"))["value"] == 2025
    assert await plugin.call("tables", "count", table="ledger", where=[["customer", "eq", "new"]]) == 1
    assert all("amount" not in row.data for row in await house.rows(TableRow))
    assert (await house.audit())[-1].action == "plugin.rollback"


async def test_going_back_restores_the_data_exactly_and_exports_what_there_was_otherwise(house: House) -> None:
    await settled_in(house, downs=False)
    before = sorted((row.id, str(row.data), row.size_bytes) for row in await house.rows(TableRow))
    await update(house)
    plugin = await now(house)
    await plugin.call("tables", "insert", table="ledger", row={"customer": "new", "amount": 9})
    await plugin.call("tables", "delete_many", table="ledger", where=[["customer", "eq", "c1"]])
    await plugin.call("storage", "set", key="since", value=2025)
    plan = await house.lifecycle.plan_rollback(TENANT, "points")
    assert (plan.way, plan.can_restore) == ("restore", True)
    assert await code_of(house.lifecycle.rollback(TENANT, "points", way="transform")) == "no-way-back"
    _, done = await house.lifecycle.rollback(TENANT, "points")
    assert done.data == "restored"
    assert sorted((row.id, str(row.data), row.size_bytes) for row in await house.rows(TableRow)) == before
    plugin = await now(house)
    assert (await plugin.call("storage", "get", key="since"))["value"] == 2024
    assert done.export_id is not None
    row, path = await house.lifecycle.exports.find(TENANT, done.export_id)
    assert '"customer":"new"' in path.read_text()
    assert row.slug == "points"
    # And the count of what it takes is that of what it has.
    assert await plugin.call("tables", "count", table="ledger", where=[["customer", "eq", "c1"]]) == 1
    [usage] = await house.rows(UsageRow)
    kept = [*await house.rows(TableRow), *await house.rows(StorageItem)]
    assert (usage.used_rows, usage.used_bytes) == (3, sum(one.size_bytes for one in kept))


async def test_a_down_that_fails_leads_to_the_data_of_then(house: House) -> None:
    await settled_in(house)
    await update(house)
    house.fails("down keep_count", "cannot")
    before = house.runner.names
    _, done = await house.lifecycle.rollback(TENANT, "points")
    assert (done.data, done.problems) == ("restored", ("cannot",))
    assert "points.down rename" not in house.runner.names[len(before) :], "what comes after is not tried"
    assert sorted(row["points"] for row in await ledger(house)) == [0, 1, 2]


async def test_a_rollback_may_be_asked_to_restore(house: House) -> None:
    await settled_in(house)
    await update(house)
    await (await now(house)).call("tables", "insert", table="ledger", row={"customer": "new"})
    _, done = await house.lifecycle.rollback(TENANT, "points", way="restore")
    assert done.data == "restored"
    assert len(await ledger(house)) == 3
    assert house.runner.names[-1] == "points.migrate keep_count", "nothing is undone by the plugin"


async def test_configuration_secrets_and_grants_come_back_too(house: House) -> None:
    house.catalogue.add(with_config(plugin_of(permissions=["customers:read"])))
    seen = await house.lifecycle.install(TENANT, "points", grants=["customers:read"], config=CONFIG)
    house.catalogue.add(plugin_of(version="2.0.0", permissions=["customers:write"]))
    await house.lifecycle.update(TENANT, "points", grants=["customers:write"])
    assert await house.secret(seen.id) is None
    back, done = await house.lifecycle.rollback(TENANT, "points")
    assert (back.version, done.data) == ("1.0.0", "kept")
    assert (back.config["shop"], back.secrets) == ("north", {"api_key": True})
    assert await house.secret(seen.id) == CONFIG["api_key"]
    assert "customers:read" in back.grants
    assert "customers:write" not in back.grants


async def test_what_was_withdrawn_since_stays_withdrawn(house: House) -> None:
    house.catalogue.add(plugin_of(optional_permissions=["customers:read"]))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    house.catalogue.add(plugin_of(version="2.0.0", optional_permissions=["customers:read"]))
    updated = await house.lifecycle.update(TENANT, "points")
    await house.lifecycle.set_grants(TENANT, "points", set(updated.grants) - {"customers:read"})
    back, _ = await house.lifecycle.rollback(TENANT, "points")
    assert "customers:read" not in back.grants
    again = await house.lifecycle.update(TENANT, "points")
    assert "customers:read" not in again.grants


async def test_there_are_three_ways_back_and_history_knows_the_rest(house: House) -> None:
    for minor in range(6):
        house.catalogue.add(with_ledger(with_hooks(plugin_of(version=f"1.{minor}.0"), "on_update")))
    seen = await house.lifecycle.install(TENANT, "points", version="1.0.0")
    plugin = await now(house)
    await plugin.call("tables", "insert", table="ledger", row={"customer": "a"})
    for minor in range(1, 6):
        await house.lifecycle.update(TENANT, "points", version=f"1.{minor}.0", actor=OWNER)
    _, past = await house.lifecycle.history(TENANT, "points")
    assert [(row.version, row.copy_id is not None) for row in past] == [
        ("1.4.0", True), ("1.3.0", True), ("1.2.0", True), ("1.1.0", False), ("1.0.0", False),
    ]  # fmt: skip
    owned = (await house.lifecycle.inventory(TENANT, "points")).owned
    assert (owned["table_rows"], owned["kept_releases"], owned["kept_rows"]) == (1, 3, 3)
    assert await code_of(house.lifecycle.rollback(TENANT, "points", version="1.0.0")) == "no-way-back"
    back, _ = await house.lifecycle.rollback(TENANT, "points", version="1.3.0")
    assert back.version == "1.3.0"
    _, past = await house.lifecycle.history(TENANT, "points")
    assert (past[0].version, past[0].ended_by) == ("1.5.0", "rollback")
    assert [row.version for row in past if row.copy_id] == ["1.2.0"]
    await house.lifecycle.uninstall(TENANT, "points")
    assert await house.residue() == {}
    assert await house.rows(PastRelease) == []
    assert seen.id


async def test_more_than_may_be_moved_at_once_is_refused_before_anything_happens(house: House) -> None:
    await settled_in(house)
    house.lifecycle._planner._move_limit = 3
    plan = await house.lifecycle.plan_update(TENANT, "points", "2.0.0-rc.1")
    assert [error.code for error in plan.conflicts] == ["update-too-large"]
    assert await code_of(update(house)) == "update-too-large"
    assert house.runner.names == []


async def test_what_was_kept_for_long_enough_goes(house: House) -> None:
    await settled_in(house)
    await update(house)
    assert {row.installation_id[:5] for row in await house.rows(TableRow)} == {"inst_", "past_"}
    house.lifecycle._kept = Kept(days=0)
    await house.lifecycle.keep_house()
    assert {row.installation_id[:5] for row in await house.rows(TableRow)} == {"inst_"}
    assert await code_of(house.lifecycle.rollback(TENANT, "points")) == "no-way-back"


async def test_two_tenants_have_different_releases_of_it(house: House) -> None:
    await settled_in(house)
    await settled_in(house, tenant="globex", rows=5)
    await update(house)
    assert sorted(row["amount"] for row in await ledger(house)) == [0, 1, 2]
    assert sorted(row["points"] for row in await ledger(house, "globex")) == [0, 1, 2, 3, 4]
    assert await code_of(house.lifecycle.rollback("globex", "points")) == "no-way-back"
    await update(house, "globex")
    await house.lifecycle.rollback(TENANT, "points", way="restore")
    assert sorted(row["points"] for row in await ledger(house)) == [0, 1, 2]
    assert sorted(row["amount"] for row in await ledger(house, "globex")) == [0, 1, 2, 3, 4]


async def test_ten_thousand_rows_go_there_and_back(house: House) -> None:
    await settled_in(house, rows=10_000)
    before = {row.id: row.data for row in await house.rows(TableRow)}
    await update(house)
    plugin = await now(house)
    measures = {"s": ["sum", "amount"], "n": ["count", None]}
    [total] = await plugin.call("tables", "aggregate", table="ledger", measures=measures)
    assert total == {"s": sum(range(10_000)), "n": 10_000}
    assert await plugin.call("tables", "count", table="ledger", where=[["customer", "eq", "c3"]]) == 1429
    _, done = await house.lifecycle.rollback(TENANT, "points")
    assert done.data == "transformed"
    assert {row.id: row.data for row in await house.rows(TableRow)} == before


async def test_data_that_was_kept_is_not_handed_to_a_release_that_would_migrate_it(house: House) -> None:
    await settled_in(house)
    await house.lifecycle.uninstall(TENANT, "points", data="keep")
    assert await code_of(house.lifecycle.install(TENANT, "points", version="2.0.0-rc.1")) == "kept-data-older"
    await house.lifecycle.install(TENANT, "points", version="1.0.0")
    await update(house)
    assert sorted(row["amount"] for row in await ledger(house)) == [0, 1, 2]


async def test_only_a_migration_sees_rows_as_they_are_stored(house: House) -> None:
    await settled_in(house)
    plugin = await now(house)
    for operation, arguments in (("rows", {}), ("put", {"rows": []}), ("delete", {"ids": []})):
        assert await code_of(plugin.call("migration", operation, table="ledger", **arguments)) == "migration-only"
