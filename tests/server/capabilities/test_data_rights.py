"""Row filters of grants and of members: whatever a plugin does with entities, it stays within them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jackfield.capabilities import AccessBook, Gate
from jackfield.capabilities.errors import PermissionDeniedError
from jackfield.data_adapters import (
    CursorMismatchError,
    EntityChangedError,
    EntityNotFoundError,
    EntityNotOpenError,
    EntityOutOfScopeError,
    HostOnly,
    SqlAdapter,
)
from jackfield.db import Database
from jackfield.surface import Access, Entity, Surface
from jackfield_sdk.wire import Caller
from tests.server.capabilities.installations import SURFACE, Installed, customers, host, installed, make_gate

OSLO = [["email", "like", "%@oslo.test"]]


def narrowed(plugin: Installed, filters: dict[str, Any], caller: Caller | None = None) -> Installed:
    return Installed(plugin.gate, dataclasses.replace(plugin.context, grant_filters=filters, caller=caller))


@pytest.fixture
async def ids(plugin: Installed) -> dict[str, str]:
    rows = await plugin.call(
        "data",
        "create_many",
        entity="customers",
        rows=[
            {"name": "Ada", "email": "ada@oslo.test"},
            {"name": "Bob", "email": "bob@bergen.test"},
            {"name": "Cyd", "email": "cyd@oslo.test"},
        ],
    )
    return {row["name"]: str(row["id"]) for row in rows}


@pytest.fixture
def reader(plugin: Installed, ids: dict[str, str]) -> Installed:
    """Reads and writes customers in Oslo."""
    return narrowed(plugin, {"customers:read": OSLO, "customers:write": OSLO})


async def ask(plugin: Installed, operation: str, **arguments: Any) -> Any:
    return await plugin.call("data", operation, entity="customers", **arguments)


async def test_reads_stay_within_the_filter(reader: Installed, ids: dict[str, str]) -> None:
    assert [row["name"] for row in await ask(reader, "list", order=["name"])] == ["Ada", "Cyd"]
    anything = [{"or": [["name", "ne", "x"], ["email", "like", "%"]]}]
    assert await ask(reader, "count", where=anything) == 2
    assert await ask(reader, "count", where=[{"not": OSLO[0]}]) == 0
    assert await ask(reader, "get", id=ids["Bob"]) is None
    assert await ask(reader, "get", id=ids["Ada"]) is not None
    figures = await ask(reader, "aggregate", measures={"n": ["count", None], "last": ["max", "name"]})
    assert figures == [{"n": 2, "last": "Cyd"}]
    page = await ask(reader, "page", limit=1, order=["-name"])
    assert [row["name"] for row in page["rows"]] == ["Cyd"]
    rest = await ask(reader, "page", limit=5, order=["-name"], cursor=page["cursor"])
    assert [row["name"] for row in rest["rows"]] == ["Ada"]


async def test_a_cursor_of_somebody_who_sees_more_is_refused(
    plugin: Installed, reader: Installed, ids: dict[str, str]
) -> None:
    page = await ask(plugin, "page", limit=1, order=["name"])
    with pytest.raises(CursorMismatchError):
        await ask(reader, "page", limit=1, order=["name"], cursor=page["cursor"])


async def test_writes_stay_within_the_filter(plugin: Installed, reader: Installed, ids: dict[str, str]) -> None:
    for attempt in (
        ask(reader, "update", id=ids["Bob"], changes={"name": "X"}),
        ask(reader, "update", id=ids["Bob"], changes={"email": "bob@oslo.test"}),
        ask(reader, "update_many", changes=[{"id": ids["Ada"], "changes": {}}, {"id": ids["Bob"], "changes": {}}]),
    ):
        with pytest.raises(EntityNotFoundError):
            await attempt
    assert await ask(reader, "delete", id=ids["Bob"]) is False
    for attempt in (
        ask(reader, "update", id=ids["Ada"], changes={"email": "ada@bergen.test"}),
        ask(reader, "update", id=ids["Ada"], changes={"email": None}),
        ask(reader, "create", values={"name": "Dot", "email": "dot@bergen.test"}),
        ask(reader, "create_many", rows=[{"name": "E", "email": "e@oslo.test"}, {"name": "F"}]),
    ):
        with pytest.raises(EntityOutOfScopeError):
            await attempt
    assert [row["name"] for row in await ask(plugin, "list", order=["name"])] == ["Ada", "Bob", "Cyd"]
    assert (await ask(reader, "create", values={"name": "Dot", "email": "dot@oslo.test"}))["name"] == "Dot"


async def test_a_transaction_stays_within_the_filter(reader: Installed, ids: dict[str, str]) -> None:
    await reader.call("data", "begin")
    await ask(reader, "update", id=ids["Ada"], changes={"name": "Ida"}, tx=True)
    with pytest.raises(EntityNotFoundError):
        await ask(reader, "update", id=ids["Bob"], changes={"name": "X"}, tx=True)
    with pytest.raises(EntityOutOfScopeError):
        await ask(reader, "update", id=ids["Ada"], changes={"email": None}, tx=True)
    assert [row["name"] for row in await ask(reader, "list", order=["name"], tx=True)] == ["Cyd", "Ida"]
    await reader.call("data", "commit")
    assert (await ask(reader, "get", id=ids["Ada"]))["name"] == "Ida"


async def test_a_right_that_is_withdrawn_meanwhile_keeps_a_transaction_from_committing(
    plugin: Installed, ids: dict[str, str]
) -> None:
    await plugin.call("data", "begin")
    await ask(plugin, "update", id=ids["Ada"], changes={"name": "Ida"}, tx=True)
    poorer = plugin.holding(["customers:read"])
    assert poorer.context.tally is plugin.context.tally
    with pytest.raises(PermissionDeniedError):
        await poorer.call("data", "commit")
    assert (await ask(plugin, "get", id=ids["Ada"]))["name"] == "Ada"


async def test_what_is_written_is_shown_only_as_far_as_it_may_be_read(plugin: Installed, ids: dict[str, str]) -> None:
    writer = narrowed(plugin, {"customers:read": OSLO})
    changed = await ask(writer, "update", id=ids["Bob"], changes={"name": "Rob"})
    assert changed == {"id": int(ids["Bob"]), "name": "Rob"}
    changed = await ask(writer, "update", id=ids["Ada"], changes={"name": "Ida"})
    assert changed == {"id": int(ids["Ada"]), "name": "Ida", "email": "ada@oslo.test"}
    created = await ask(writer, "create_many", rows=[{"name": "D"}, {"name": "E", "email": "e@oslo.test"}])
    assert [set(row) for row in created] == [{"id", "name"}, {"id", "name", "email"}]


async def test_expectations_ask_nothing_about_what_may_not_be_read(plugin: Installed, ids: dict[str, str]) -> None:
    writer = narrowed(plugin, {"customers:read": OSLO})
    for email in ("bob@bergen.test", "x"):
        with pytest.raises(EntityNotFoundError):
            await ask(writer, "update", id=ids["Bob"], changes={"name": "X"}, expected={"email": email})
        assert await ask(writer, "delete", id=ids["Bob"], expected={"email": email}) is False
    with pytest.raises(EntityChangedError):
        await ask(writer, "update", id=ids["Ada"], changes={"name": "X"}, expected={"email": "x"})
    blind = plugin.holding(["customers:write"])
    with pytest.raises(PermissionDeniedError):
        await ask(blind, "update", id=ids["Ada"], changes={"name": "X"}, expected={"email": "x"})


async def test_the_acting_member_narrows_as_well(database: Database, plugin: Installed, ids: dict[str, str]) -> None:
    mine = Access(read=[["name", "eq", "$user.id"]], write=False)
    fields = {"readable": ("id", "name", "email"), "writable": ("name", "email")}
    surface = Surface(entities=[Entity("customers", customers, access={"member": mine}, **fields)])  # type: ignore[arg-type]
    gate = make_gate(database, access=AccessBook(surface))
    caller = Caller("Ada", "member")
    member = Installed(gate, dataclasses.replace(plugin.context, caller=caller))
    assert [row["name"] for row in await ask(member, "list")] == ["Ada"]
    assert await ask(member, "get", id=ids["Bob"]) is None
    for operation, arguments in (
        ("create", {"values": {"name": "X"}}),
        ("update", {"id": ids["Ada"], "changes": {}}),
        ("delete", {"id": ids["Ada"]}),
    ):
        with pytest.raises(PermissionDeniedError):
            await ask(member, operation, **arguments)


async def test_schemas_are_told_to_who_may_read_or_write(plugin: Installed) -> None:
    schema = await ask(plugin.holding(["customers:write"]), "schema")
    assert [field["name"] for field in schema["fields"]] == ["id", "name", "email"]
    assert schema["fields"][1] == {
        "name": "name", "schema": {"type": "string", "maxLength": 40}, "nullable": False, "readable": True,
        "writable": True, "key": False, "references": None,
    }  # fmt: skip
    with pytest.raises(PermissionDeniedError):
        await ask(plugin.holding(["visits:read"]), "schema")


@pytest.mark.parametrize("entity", ["http", "secrets", "storage"])
async def test_an_entity_never_goes_by_a_word_of_another_permission(plugin: Installed, entity: str) -> None:
    greedy = plugin.holding([f"{entity}:*", f"{entity}:read", f"{entity}:write", entity])
    for operation, arguments in (("list", {}), ("create", {"values": {}}), ("schema", {})):
        with pytest.raises(EntityNotOpenError):
            await greedy.call("data", operation, entity=entity, **arguments)


async def test_every_write_is_logged_with_plugin_call_and_user(database: Database, plugin: Installed) -> None:
    from jackfield.data_adapters import ChangeFilter, Changes
    from jackfield.http import PageRequest

    acting = dataclasses.replace(plugin.context, caller=Caller("ada", "member"), invocation_id="inv_9")
    plugin = Installed(plugin.gate, acting)
    id = str((await ask(plugin, "create", values={"name": "A"}))["id"])
    await ask(plugin, "update_many", changes=[{"id": id, "changes": {"name": "B"}}])
    await plugin.call("data", "begin")
    await ask(plugin, "update", id=id, changes={"name": "C"}, tx=True)
    await ask(plugin, "delete", id=id, tx=True)
    log = Changes(database, HostOnly(SqlAdapter(database, SURFACE)))
    assert len((await log.list("acme", PageRequest(), ChangeFilter())).items) == 2
    await plugin.call("data", "commit")
    entries = (await log.list("acme", PageRequest(), ChangeFilter())).items
    assert [(entry.operation, (entry.before or {}).get("name")) for entry in entries] == [
        ("delete", "C"), ("update", "B"), ("update", "A"), ("create", None)
    ]  # fmt: skip
    assert {(entry.slug, entry.invocation_id, entry.user_id) for entry in entries} == {("loyalty", "inv_9", "ada")}


async def test_two_transactions_at_once_end_as_if_one_came_after_the_other(either_database: Database) -> None:
    """Ten calls add one to a number that each has read; each that commits counts."""
    import asyncio

    async with either_database.engine.begin() as connection:
        await connection.run_sync(host.create_all)
    gate: Gate = make_gate(either_database)
    first = installed(gate)
    id = str((await ask(first, "create", values={"name": "0"}))["id"])

    async def add(number: int) -> bool:
        plugin = installed(gate, installation=f"inst_{number}")
        await plugin.call("data", "begin")
        name = (await ask(plugin, "get", id=id, tx=True))["name"]
        await ask(plugin, "update", id=id, changes={"name": str(int(name) + 1)}, tx=True)
        await plugin.call("data", "commit")
        return True

    ends = await asyncio.gather(*(add(number) for number in range(10)), return_exceptions=True)
    done = sum(end is True for end in ends)
    assert {getattr(end, "code", end) for end in ends if end is not True} <= {"transaction-conflict"}
    assert done >= 1
    assert (await ask(first, "get", id=id))["name"] == str(done)
