"""Indexes find what a scan finds, in the same order, and references and unique groups hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.capabilities.declared import TableShape
from jackfield.capabilities.errors import (
    GroupNotUniqueError,
    ReferenceMissingError,
    RowChangedError,
    RowNotUniqueError,
    RowReferencedError,
    RowsTooManyError,
)
from jackfield.capabilities.index_keys import KEY_BYTES, key_of, span_of
from jackfield.capabilities.indexes import choose
from jackfield.capabilities.models import IndexEntry
from jackfield.data_adapters import CursorMismatchError, parse_order, parse_where
from jackfield.db import Database
from jackfield_sdk.manifest import Table
from tests.server.capabilities.installations import Installed, host, installed, make_gate, manifest

COLUMNS: dict[str, Any] = {"a": {}, "b": {}, "c": {"default": 5}}


def _kind(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    if isinstance(value, (bool, int, float)):
        return (1, float(value))
    return (2, value) if isinstance(value, str) else (3, 0)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
    | st.sampled_from(["", "a", "ab", "b" * 119, "b" * 120, "b" * 121, "b" * 500, "\U0001f600"])
    | st.lists(st.integers(), max_size=1)
)


@given(st.lists(VALUES, min_size=2, max_size=2), st.lists(VALUES, min_size=2, max_size=2))
def test_of_two_rows_the_lesser_one_never_has_the_greater_key(one: list[Any], other: list[Any]) -> None:
    if [_kind(value) for value in one] < [_kind(value) for value in other] and all(
        _kind(value)[0] != 3 for value in (*one, *other)
    ):
        assert key_of(one) <= key_of(other)
    assert len(key_of(one)) <= KEY_BYTES


@given(
    st.lists(VALUES, min_size=2, max_size=2), VALUES,
    st.sampled_from(["gt", "gte", "lt", "lte"]), st.integers(-(2**63), 2**63 - 1) | st.text("abc", max_size=130),
)  # fmt: skip
def test_a_span_holds_every_row_that_meets_it(row: list[Any], first: Any, operator: str, bound: Any) -> None:
    low, high = span_of([first])
    key = key_of(row)
    if _kind(row[0]) == _kind(first) and isinstance(row[0], type(first)):
        assert low <= key
        assert high is None or key < high
    low, high = span_of([], [(operator, bound)])
    mine, theirs = _kind(row[0]), _kind(bound)
    meets = {"gt": mine > theirs, "gte": mine >= theirs, "lt": mine < theirs, "lte": mine <= theirs}[operator]
    if meets and mine[0] == theirs[0]:
        assert low <= key
        assert high is None or key < high


def test_the_index_that_narrows_down_most_is_chosen() -> None:
    shape = TableShape(Table(name="t", columns=COLUMNS, indexes=[["a"], ["a", "b"], ["b", "c"]]))

    def chosen(where: list[Any], order: list[str] | None = None) -> tuple[tuple[str, ...], int] | None:
        access = choose(shape, parse_where(where), parse_order(order or []))
        return None if access is None else (access.index.columns, access.direction)

    assert chosen([["a", "eq", 1]]) == (("a",), 0)
    assert chosen([["a", "eq", 1], ["b", "gt", 1]]) == (("a", "b"), 0)
    assert chosen([{"and": [["a", "eq", 1], ["b", "eq", 1]]}]) == (("a", "b"), 0)
    assert chosen([["a", "eq", 1]], ["-b"]) == (("a", "b"), -1)
    assert chosen([], ["b", "c"]) == (("b", "c"), 1)
    assert chosen([], ["b", "-c"]) is None
    assert chosen([["b", "in", [1, 2]]], ["c"]) == (("b", "c"), 0)
    assert chosen([{"or": [["a", "eq", 1]]}]) is None, "what holds only perhaps narrows nothing down"
    assert chosen([{"not": ["a", "eq", 1]}]) is None
    assert chosen([["a", "ne", 1]]) is None
    assert shape.indexes[2].name.startswith("b,c#"), "with another default it is another index"


TABLES: list[dict[str, Any]] = [
    {"name": "people", "columns": {"name": {"type": "string"}, "boss": {"type": ["string", "null"]}},
     "unique": [["name"]], "references": {"boss": "people"}, "on_delete": {"boss": "set_null"}},
    {"name": "orders", "columns": {"person": {"type": "string"}, "total": {"type": "number", "default": 0}},
     "references": {"person": "people"}, "indexes": [["total"]]},
    {"name": "lines", "columns": {"of": {"type": "string"}}, "references": {"of": "orders"},
     "on_delete": {"of": "cascade"}},
]  # fmt: skip


@pytest.fixture
async def shop(either_database: Database) -> Installed:
    async with either_database.engine.begin() as connection:
        await connection.run_sync(host.create_all)
    return installed(make_gate(either_database), release=manifest(tables=TABLES))


async def insert(plugin: Installed, table: str, **row: Any) -> str:
    return (await plugin.call("tables", "insert", table=table, row=row))["id"]


async def count(plugin: Installed, table: str, *where: Any) -> int:
    return await plugin.call("tables", "count", table=table, where=list(where))


async def test_what_is_referred_to_must_be_there_and_stays(shop: Installed) -> None:
    ada = await insert(shop, "people", name="Ada")
    with pytest.raises(ReferenceMissingError):
        await insert(shop, "orders", person="row_none")
    order = await insert(shop, "orders", person=ada)
    with pytest.raises(ReferenceMissingError):
        await shop.call("tables", "update", table="orders", id=order, changes={"person": order})
    with pytest.raises(RowReferencedError):
        await shop.call("tables", "delete", table="people", id=ada)
    assert await count(shop, "people") == 1
    for _ in range(3):
        await insert(shop, "lines", of=order)
    assert await shop.call("tables", "delete", table="orders", id=order) is True
    assert await count(shop, "lines") == 0
    assert await shop.call("tables", "delete", table="people", id=ada) is True


async def test_references_to_ones_own_table_and_to_null(shop: Installed) -> None:
    ada = await insert(shop, "people", name="Ada")
    alan = await insert(shop, "people", name="Alan", boss=ada)
    await shop.call("tables", "update", table="people", id=ada, changes={"boss": ada})
    await shop.call("tables", "delete", table="people", id=ada)
    assert (await shop.call("tables", "get", table="people", id=alan))["boss"] is None
    other = installed(shop.gate, installation="inst_b", release=shop.context.manifest)
    with pytest.raises(ReferenceMissingError):
        await insert(other, "people", name="Spy", boss=alan)


async def test_more_than_a_thousand_do_not_go_at_once(shop: Installed) -> None:
    ada = await insert(shop, "people", name="Ada")
    order = await insert(shop, "orders", person=ada)
    for _ in range(3):
        await shop.call("tables", "insert_many", table="lines", rows=[{"of": order}] * 400)
    with pytest.raises(RowsTooManyError):
        await shop.call("tables", "delete", table="orders", id=order)
    assert await count(shop, "lines") == 1200
    assert await shop.call("tables", "delete_many", table="lines", where=[], limit=1000) == 1000
    await shop.call("tables", "delete", table="orders", id=order)
    assert await count(shop, "lines") == 0


async def test_of_many_rows_all_or_none_get_in(shop: Installed) -> None:
    with pytest.raises(RowNotUniqueError):
        await shop.call("tables", "insert_many", table="people", rows=[{"name": "a"}, {"name": "b"}, {"name": "a"}])
    assert await count(shop, "people") == 0
    rows = await shop.call("tables", "insert_many", table="people", rows=[{"name": name} for name in "cab"])
    assert [row["name"] for row in rows] == ["c", "a", "b"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    with pytest.raises(RowNotUniqueError):
        await shop.call("tables", "update_many", table="people", where=[["name", "ne", "c"]], changes={"name": "x"})


async def test_upsert_changes_or_adds(shop: Installed) -> None:
    async def upsert(**row: Any) -> dict[str, Any]:
        return await shop.call("tables", "upsert", table="people", unique=["name"], row=row)

    first = await upsert(name="Ada")
    again = await upsert(name="Ada", boss=first["row"]["id"])
    assert (first["is_new"], again["is_new"], again["row"]["id"]) == (True, False, first["row"]["id"])
    assert await count(shop, "people", ["boss", "eq", first["row"]["id"]]) == 1
    with pytest.raises(GroupNotUniqueError):
        await shop.call("tables", "upsert", table="people", unique=["boss"], row={"name": "x"})
    with pytest.raises(GroupNotUniqueError):
        await upsert(boss=None)


async def test_whoever_expects_something_else_changes_nothing(shop: Installed) -> None:
    ada = await insert(shop, "people", name="Ada")
    row = await shop.call("tables", "get", table="people", id=ada)
    await shop.call("tables", "update", table="people", id=ada, changes={"name": "Ada L"}, expected=row)
    for operation, more in (("update", {"changes": {"name": "x"}}), ("delete", {})):
        with pytest.raises(RowChangedError):
            await shop.call("tables", operation, table="people", id=ada, expected={"name": "Ada"}, **more)
    assert await count(shop, "people", ["name", "eq", "Ada L"]) == 1


async def test_a_transaction_is_whole_and_says_which_step_it_was(shop: Installed) -> None:
    steps: list[dict[str, Any]] = [
        {"op": "insert", "table": "people", "values": {"name": "Ada"}},
        {"op": "insert", "table": "orders", "values": {"person": {"$step": 0}, "total": 3}},
        {"op": "insert", "table": "lines", "values": {"of": {"$step": 1}}},
    ]
    person, order, line = await shop.call("tables", "transaction", steps=steps)
    assert (order["person"], line["of"]) == (person["id"], order["id"])
    bad = {"op": "insert", "table": "people", "values": {"name": "Ada"}}
    with pytest.raises(RowNotUniqueError, match="step 1: ") as refused:
        await shop.call("tables", "transaction", steps=[{"op": "delete", "table": "lines", "id": line["id"]}, bad])
    assert refused.value.data["step"] == 1
    assert await count(shop, "lines") == 1


async def test_a_cursor_goes_on_where_it_was_and_belongs_to_its_order(shop: Installed) -> None:
    await shop.call("tables", "insert_many", table="people", rows=[{"name": f"p{n:02}"} for n in range(10)])
    page = await shop.call("tables", "page", table="people", order=["-name"], limit=4)
    await insert(shop, "people", name="p99")
    rest = await shop.call("tables", "page", table="people", order=["-name"], limit=10, cursor=page["cursor"])
    assert [row["name"] for row in rest["rows"]] == [f"p{n:02}" for n in range(5, -1, -1)]
    assert rest["cursor"] is None
    for cursor in ("", "nonsense", page["cursor"][:-4], page["cursor"]):
        with pytest.raises(CursorMismatchError):
            await shop.call("tables", "page", table="people", order=["name"], cursor=cursor)


async def test_entries_go_with_their_rows(shop: Installed, either_database: Database) -> None:
    from sqlalchemy import func, select

    async def entries() -> int:
        async with either_database.read("acme") as session:
            return await session.scalar(select(func.count()).select_from(IndexEntry)) or 0

    ada = await insert(shop, "people", name="Ada")
    order = await insert(shop, "orders", person=ada)
    assert await entries() == 3
    await shop.call("tables", "update", table="orders", id=order, changes={"total": 9})
    assert await entries() == 3
    await shop.call("tables", "delete", table="orders", id=order)
    assert await entries() == 1
