"""The host's entities, through the gate: by grant, within the tenant, never more than was given."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.capabilities import Gate
from jackfield.capabilities.data import Data
from jackfield.capabilities.errors import ArgumentsInvalidError, PermissionDeniedError
from jackfield.data_adapters import EntityNotOpenError, EntityReadOnlyError, FieldRefusedError, HostOnly, SqlAdapter
from jackfield.db import Database
from jackfield.surface import Entity, Surface
from tests.server.capabilities.installations import Installed, customers, installed


async def create(plugin: Installed, **values: Any) -> dict[str, Any]:
    return await plugin.call("data", "create", entity="customers", values=values)


async def test_entities_are_those_that_may_be_read(plugin: Installed) -> None:
    assert await plugin.call("data", "entities") == ["customers"]
    assert await plugin.holding(["visits:*", "customers:write"]).call("data", "entities") == ["visits"]
    assert await plugin.holding([]).call("data", "entities") == []


async def test_what_is_created_can_be_found_changed_and_deleted(plugin: Installed) -> None:
    entity = await create(plugin, name="Ada", email="ada@example.test")
    assert entity == {"id": entity["id"], "name": "Ada", "email": "ada@example.test"}
    id = str(entity["id"])
    assert await plugin.call("data", "get", entity="customers", id=id) == entity
    where = [["name", "like", "a%"], ["id", "eq", entity["id"]]]
    assert await plugin.call("data", "list", entity="customers", where=where, order=["-name"]) == [entity]
    assert await plugin.call("data", "count", entity="customers", where=where) == 1
    changed = await plugin.call("data", "update", entity="customers", id=id, changes={"email": None})
    assert changed == {**entity, "email": None}
    assert await plugin.call("data", "delete", entity="customers", id=id) is True


async def test_who_may_write_but_not_read_learns_nothing_by_writing(plugin: Installed) -> None:
    id = str((await create(plugin, name="Ada", email="ada@example.test"))["id"])
    writer = plugin.holding(["customers:write"])
    assert set(await create(writer, name="Bob")) == {"id", "name"}
    changed = await writer.call("data", "update", entity="customers", id=id, changes={"name": "Eve"})
    assert changed == {"id": int(id), "name": "Eve"}
    assert await writer.call("data", "update", entity="customers", id=id, changes={}) == {"id": int(id)}
    with pytest.raises(PermissionDeniedError):
        await writer.call("data", "get", entity="customers", id=id)


@pytest.mark.parametrize("field", ["tenant_id", "id", "notes", "nothing", "name; --"])
async def test_hidden_and_protected_fields_cannot_be_named(plugin: Installed, field: str) -> None:
    id = str((await create(plugin, name="Ada"))["id"])
    with pytest.raises(FieldRefusedError):
        await create(plugin, name="x", **{field: "globex"})
    with pytest.raises(FieldRefusedError):
        await plugin.call("data", "update", entity="customers", id=id, changes={field: "globex"})
    if field != "id":
        for question in ({"where": [[field, "eq", "private"]]}, {"order": [field]}):
            with pytest.raises(FieldRefusedError):
                await plugin.call("data", "list", entity="customers", **question)


async def test_the_tenant_is_never_an_argument(gate: Gate, plugin: Installed) -> None:
    await create(installed(gate, "globex", "inst_b"), name="Theirs")
    for arguments in ({"entity": "customers", "tenant_id": "globex"}, {"entity": "customers", "tenant": "globex"}):
        with pytest.raises(ArgumentsInvalidError):
            await plugin.call("data", "list", **arguments)
    assert await plugin.call("data", "list", entity="customers") == []


async def test_an_entity_that_the_host_opens_for_reading_stays_as_it_is(plugin: Installed) -> None:
    id = str((await create(plugin, name="Ada"))["id"])
    reader = plugin.holding(["visits:read", "visits:write"])
    assert await reader.call("data", "get", entity="visits", id=id) == {"id": int(id), "name": "Ada"}
    for operation, arguments in (
        ("create", {"values": {"name": "x"}}),
        ("update", {"id": id, "changes": {"name": "x"}}),
        ("delete", {"id": id}),
    ):
        with pytest.raises(EntityReadOnlyError):
            await reader.call("data", operation, entity="visits", **arguments)


@pytest.mark.parametrize("name", ["secrets", "events", "storage"])
def test_no_entity_is_called_like_something_else_that_is_granted(database: Database, name: str) -> None:
    surface = Surface(entities=[Entity(name, customers, readable=("id",))])
    with pytest.raises(ValueError, match=name):
        Data(HostOnly(SqlAdapter(database, surface)), database)


@pytest.mark.parametrize("entity", ["jf_secrets", "nothing"])
async def test_other_tables_are_no_entities(plugin: Installed, entity: str) -> None:
    with pytest.raises(PermissionDeniedError):
        await plugin.call("data", "list", entity=entity)
    with pytest.raises(EntityNotOpenError):
        await plugin.holding([f"{entity}:read"]).call("data", "list", entity=entity)
