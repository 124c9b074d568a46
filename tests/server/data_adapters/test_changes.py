"""The change log: what plugins write leaves an entry with before and after, and can be taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, update

from jackfield.data_adapters import (
    Author,
    Change,
    ChangeFilter,
    ChangeNotFoundError,
    ChangeNotRevertibleError,
    ChangeOvertakenError,
    ChangeRevertedError,
    Changes,
    EntityConflictError,
    HostOnly,
    SqlAdapter,
    router,
)
from jackfield.data_adapters.models import DataChange
from jackfield.db import Database
from jackfield.http import Caller, PageRequest
from jackfield.surface import Entity, Surface
from tests.server.conftest import KnownCallers, ManualClock, application, client

host = MetaData()
people = Table(
    "logged_people",
    host,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(40), nullable=False),
    Column("name", String(20), nullable=False),
    Column("level", Integer),
    Column("note", String(20)),
    Column("hidden", String(20), default="secret"),
    Column("version", Integer),
)
visits = Table(
    "logged_visits",
    host,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(40), nullable=False),
    Column("person", ForeignKey("logged_people.id")),
)
SURFACE = Surface(
    entities=[
        Entity(
            "people",
            people,
            readable=("id", "name", "level", "version"),
            writable=("name", "level", "note"),
            version_column="version",
        ),
        Entity("visits", visits, readable=("id", "person"), writable=("person",)),
    ]
)
ADA = Author("inst_a", "loyalty", "inv_1", "ada")
BOB = Author("inst_b", "booking", "inv_2", "bob")
PAGE = PageRequest()


class House:
    """The adapter, and the log of what it did."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.clock = clock
        self.database = database
        self.adapter = SqlAdapter(database, SURFACE, clock=clock)
        self.changes = Changes(database, HostOnly(self.adapter), clock)

    async def add(self, by: Author = ADA, tenant: str = "t", **values: Any) -> str:
        (written,) = await self.adapter.create(tenant, "people", [{"name": "Ada", **values}], by=by)
        return written.key

    async def set(self, key: str, by: Author = ADA, tenant: str = "t", **values: Any) -> None:
        await self.adapter.update(tenant, "people", [Change(key, values)], by=by)

    async def row(self, key: str, tenant: str = "t") -> dict[str, Any]:
        return await self.adapter.get(tenant, "people", key) or {}

    async def log(self, tenant: str = "t", **wanted: Any) -> list[DataChange]:
        return (await self.changes.list(tenant, PAGE, ChangeFilter(**wanted))).items


@pytest.fixture
async def house(either_database: Database, clock: ManualClock) -> House:
    async with either_database.engine.begin() as connection:
        await connection.run_sync(host.create_all)
    return House(either_database, clock)


async def test_each_write_leaves_what_was_before_and_after(house: House) -> None:
    key = await house.add(level=1, note="n")
    await house.set(key, by=BOB, level=2)
    await house.set(key, level=2)
    await house.adapter.delete("t", "people", key, by=ADA)
    deleted, same, changed, created = await house.log()
    assert [entry.operation for entry in (created, changed, same, deleted)] == ["create", "update", "update", "delete"]
    first = {"id": int(key), "name": "Ada", "level": 1, "note": "n", "version": 1}
    assert (created.before, created.after) == (None, first)
    assert (changed.before, changed.after) == (first, {**first, "level": 2, "version": 2})
    assert (deleted.before, deleted.after) == ({**first, "level": 2, "version": 3}, None)
    assert (created.slug, created.installation_id, created.invocation_id, created.user_id) == (
        "loyalty", "inst_a", "inv_1", "ada",
    )  # fmt: skip
    assert (changed.slug, changed.user_id) == ("booking", "bob")
    assert (created.entity, created.key, created.at) == ("people", key, house.clock.now())
    assert "hidden" not in (created.after or {})


async def test_what_fails_or_changes_nothing_leaves_no_entry(house: House) -> None:
    key = await house.add()
    await house.set(key)
    with pytest.raises(EntityConflictError):
        await house.adapter.create("t", "people", [{"name": "Bob"}, {"level": 1}], by=ADA)
    await house.adapter.delete("t", "people", "99", by=ADA)
    assert len(await house.log()) == 1
    assert await house.adapter.count("t", "people", ()) == 1


async def test_the_version_counts_up_with_each_change(house: House) -> None:
    key = await house.add()
    assert (await house.row(key))["version"] == 1
    await house.set(key, level=1)
    assert (await house.row(key))["version"] == 2
    await house.set(key)
    assert (await house.row(key))["version"] == 2


async def test_entries_are_found_by_plugin_user_entity_key_and_time(house: House) -> None:
    first = await house.add()
    house.clock.advance(60)
    moment = house.clock.now()
    second = await house.add(by=BOB)
    await house.add(tenant="u")
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [second, first]), ({"slug": "loyalty"}, [first]), ({"user_id": "bob"}, [second]),
        ({"invocation_id": "inv_1"}, [first]), ({"key": second}, [second]), ({"entity": "visits"}, []),
        ({"since": moment}, [second]), ({"until": moment}, [first]), ({"slug": "booking", "user_id": "ada"}, []),
    ]  # fmt: skip
    for wanted, keys in cases:
        assert [entry.key for entry in await house.log(**wanted)] == keys, wanted
    assert len(await house.log("u")) == 1
    page = await house.changes.list("t", PageRequest(limit=1), ChangeFilter())
    assert [entry.key for entry in page.items] == [second]
    rest = await house.changes.list("t", PageRequest(page.next_cursor, 1), ChangeFilter())
    assert ([entry.key for entry in rest.items], rest.next_cursor) == ([first], None)


async def test_a_change_is_taken_back_and_that_is_a_change_too(house: House) -> None:
    key = await house.add(level=1, note="first")
    await house.set(key, level=2, note="second")
    (entry, _) = await house.log()
    made = await house.changes.revert("t", entry.id, "member:eve")
    assert (await house.row(key))["level"] == 1
    assert made.after == {**(entry.before or {}), "version": 3}
    assert (made.reverts, made.slug, made.user_id, made.invocation_id) == (entry.id, "loyalty", "member:eve", "")
    (again, marked, _) = await house.log()
    assert again.id == made.id
    assert marked.reverted_by == made.id
    with pytest.raises(ChangeRevertedError):
        await house.changes.revert("t", entry.id, "member:eve")
    # The revert itself can be taken back.
    await house.changes.revert("t", made.id, "member:eve")
    assert (await house.row(key))["level"] == 2


async def test_what_was_created_is_removed_and_what_was_deleted_comes_back(house: House) -> None:
    key = await house.add(level=1, note="n")
    row = await house.row(key)
    await house.adapter.delete("t", "people", key, by=ADA)
    (deleted, created) = await house.log()
    with pytest.raises(ChangeOvertakenError):
        await house.changes.revert("t", created.id, "member:eve")
    await house.changes.revert("t", deleted.id, "member:eve")
    assert await house.row(key) == row
    await house.changes.revert("t", created.id, "member:eve")
    assert await house.row(key) == {}
    with pytest.raises(ChangeRevertedError):
        await house.changes.revert("t", deleted.id, "member:eve")


async def test_a_row_that_was_changed_since_is_left_alone(house: House) -> None:
    key = await house.add(level=1)
    await house.set(key, level=2)
    (entry, created) = await house.log()
    # By the host itself, which counts no version up and leaves no entry.
    async with house.database.engine.begin() as connection:
        await connection.execute(update(people).values(note="the host's"))
    for number in (entry.id, created.id):
        with pytest.raises(ChangeOvertakenError):
            await house.changes.revert("t", number, "member:eve")
    assert (await house.row(key))["level"] == 2
    assert [item.reverted_by for item in await house.log()] == [None, None]


async def test_what_the_host_did_between_two_changes_is_not_lost(house: House) -> None:
    key = await house.add(level=1)
    async with house.database.engine.begin() as connection:
        await connection.execute(update(people).values(note="the host's"))
    await house.set(key, level=2)
    (changed, created) = await house.log()
    await house.changes.revert("t", changed.id, "member:eve")
    with pytest.raises(ChangeOvertakenError):
        await house.changes.revert("t", created.id, "member:eve")


async def test_what_the_host_does_not_allow_is_not_taken_back(house: House) -> None:
    key = await house.add(level=1)
    await house.adapter.create("t", "visits", [{"person": int(key)}], by=ADA)
    (_, created) = await house.log()
    with pytest.raises(ChangeNotRevertibleError):
        await house.changes.revert("t", created.id, "member:eve")
    narrow = Surface(entities=[Entity("people", people, readable=("id", "name"), writable=("name",))])
    await house.set(key, level=2)
    (changed, *_) = await house.log()
    elsewhere = Changes(house.database, HostOnly(SqlAdapter(house.database, narrow)), house.clock)
    with pytest.raises(ChangeNotRevertibleError):
        await elsewhere.revert("t", changed.id, "member:eve")
    nowhere = Changes(house.database, HostOnly(SqlAdapter(house.database, Surface())), house.clock)
    with pytest.raises(ChangeNotRevertibleError):
        await nowhere.revert("t", changed.id, "member:eve")


async def test_nobody_takes_back_what_is_anothers(house: House) -> None:
    key = await house.add()
    (entry,) = await house.log()
    for number in (entry.id, 999):
        with pytest.raises(ChangeNotFoundError):
            await house.changes.revert("u", number, "member:eve")
    assert await house.row(key)


async def test_all_of_a_call_or_a_plugin_is_taken_back_as_far_as_possible(house: House) -> None:
    first = await house.add(level=1)
    second = await house.add(by=BOB, level=1)
    await house.set(first, level=2)
    await house.set(first, level=3)
    await house.set(second, level=2)
    await house.set(second, by=BOB, level=9)
    result = await house.changes.revert_all("t", ChangeFilter(slug="loyalty"), "member:eve")
    assert await house.row(first) == {}
    assert (await house.row(second))["level"] == 9
    assert [item.change.key for item in result.refused] == [second]
    assert [item.error.code for item in result.refused] == ["change-overtaken"]
    assert (len(result.changes), result.next_before) == (3, None)
    again = await house.changes.revert_all("t", ChangeFilter(slug="loyalty"), "member:eve")
    assert (len(again.changes), len(again.refused)) == (0, 1)
    result = await house.changes.revert_all("t", ChangeFilter(invocation_id="inv_2"), "member:eve")
    assert (len(result.changes), len(result.refused)) == (1, 1)
    assert (await house.row(second))["level"] == 2


# -- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    callers = KnownCallers(
        {
            "admin": Caller("admin", "t", "eve"),
            "member": Caller("member", "t", "joe"),
            "other": Caller("owner", "u", "zoe"),
            "operator": Caller("operator"),
        }
    )
    async with client(application(callers, router(house.changes)), "admin") as http:
        yield http


async def test_the_list_pages_and_filters(house: House, http: httpx.AsyncClient) -> None:
    key = await house.add(level=1)
    await house.set(key, by=BOB, level=2)
    answer = (await http.get("/api/data/changes", params={"limit": 1})).json()
    assert [item["operation"] for item in answer["items"]] == ["update"]
    item = answer["items"][0]
    assert (item["slug"], item["user_id"], item["entity"], item["key"]) == ("booking", "bob", "people", key)
    assert item["before"]["level"] == 1
    assert item["after"]["level"] == 2
    rest = (await http.get("/api/data/changes", params={"limit": 1, "cursor": answer["next_cursor"]})).json()
    assert [item["operation"] for item in rest["items"]] == ["create"]
    found = (await http.get("/api/data/changes", params={"slug": "loyalty", "since": "2026-01-01T00:00:00Z"})).json()
    assert [item["operation"] for item in found["items"]] == ["create"]
    assert (await http.get("/api/data/changes", params={"since": "yesterday"})).status_code == 422
    assert (await http.get("/api/data/changes", params={"since": "2026-01-01T00:00:00"})).status_code == 422


async def test_reverts_over_http(house: House, http: httpx.AsyncClient) -> None:
    key = await house.add(level=1)
    await house.set(key, level=2)
    number = (await house.log())[0].id
    answer = await http.post(f"/api/data/changes/{number}/revert")
    assert answer.status_code == 200
    assert (answer.json()["reverts"], answer.json()["user_id"]) == (number, "member:eve")
    problem = await http.post(f"/api/data/changes/{number}/revert")
    assert (problem.status_code, problem.json()["code"]) == (409, "change-reverted")
    assert (await http.post("/api/data/changes/999/revert")).json()["code"] == "change-not-found"
    assert (await http.post("/api/data/changes/0/revert")).status_code == 422
    for body in ({}, {"since": "2026-01-01T00:00:00Z"}, {"slug": "loyalty", "tenant_id": "u"}):
        assert (await http.post("/api/data/changes/revert", json=body)).status_code == 422
    await house.set(key, level=7, by=BOB)
    answer = await http.post("/api/data/changes/revert", json={"slug": "loyalty"})
    assert [item["code"] for item in answer.json()["refused"]] == ["change-overtaken"]
    answer = await http.post("/api/data/changes/revert", json={"user_id": "bob"})
    assert [item["entity"] for item in answer.json()["reverted"]] == ["people"]
    answer = await http.post("/api/data/changes/revert", json={"invocation_id": "inv_1"})
    assert [item["operation"] for item in answer.json()["reverted"]] == ["delete"]


async def test_only_owners_and_admins_of_the_tenant_see_and_revert(house: House, http: httpx.AsyncClient) -> None:
    await house.add()
    number = (await house.log())[0].id
    for token, status, revert in (("member", 403, 403), ("operator", 403, 403), ("other", 200, 404)):
        headers = {"Authorization": f"Bearer {token}"}
        answer = await http.get("/api/data/changes", headers=headers)
        assert answer.status_code == status
        assert answer.json().get("items", []) == []
        assert (await http.post(f"/api/data/changes/{number}/revert", headers=headers)).status_code == revert
        everything = await http.post("/api/data/changes/revert", headers=headers, json={"slug": "loyalty"})
        assert everything.status_code == status
        assert everything.json().get("reverted", []) == []
    assert await house.adapter.count("t", "people", ()) == 1


async def test_entities_are_described(http: httpx.AsyncClient) -> None:
    entities = {entity["name"]: entity for entity in (await http.get("/api/data/entities")).json()}
    assert set(entities) == {"people", "visits"}
    fields = {field["name"]: field for field in entities["people"]["fields"]}
    assert fields["level"]["json_schema"] == {"type": "integer"}
    assert fields["name"]["json_schema"] == {"type": "string", "maxLength": 20}
    assert (fields["note"]["readable"], fields["note"]["writable"]) == (False, True)
    assert entities["people"]["version_field"] == "version"
    assert {field["name"]: field["references"] for field in entities["visits"]["fields"]} == {
        "id": None, "person": "people"
    }  # fmt: skip
    assert "hidden" not in fields
