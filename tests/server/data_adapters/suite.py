"""What every data adapter has to do. Derive a class, give it the fixture `adapter`, and pytest runs it.

The adapter opens, for the tenants `t` and `u`, both without rows:

| entity | fields |
| --- | --- |
| `people` | `id` (text or number, given by the adapter), `name` (text, not null), `code` (text), `age` (whole number) |
| `orders` | `id`, `person` (key of `people`), `amount` (whole number), `price` (number), `paid` (truth), `day` (date) |
| `names` | `people` again, with `id` and `name`, read-only |

All but `id` can be written, in `people` and `orders`. `people` has a field `secret_note` beside, which is not opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from jackfield.data_adapters import (
    Aggregation,
    Change,
    ComparisonInvalidError,
    CursorMismatchError,
    DataAdapter,
    EntityChangedError,
    EntityNotFoundError,
    EntityNotOpenError,
    EntityOutOfScopeError,
    EntityReadOnlyError,
    FeatureMissingError,
    FieldRefusedError,
    FieldValueError,
    Measure,
    Query,
    Row,
    TransactionConflictError,
    Written,
    parse_order,
    parse_where,
)


def query(where: object = (), order: Sequence[str] = (), **rest: Any) -> Query:
    return Query(parse_where(list(where) if isinstance(where, tuple) else where), parse_order(order), **rest)


async def add(adapter: DataAdapter, entity: str, *rows: Row, tenant: str = "t") -> list[Row]:
    """Create entities; what plugins may see of them, as it is then."""
    written = await adapter.create(tenant, entity, rows)
    found = [await adapter.get(tenant, entity, item.key) for item in written]
    assert None not in found
    return [row for row in found if row is not None]


async def names(adapter: DataAdapter, where: object = (), order: Sequence[str] = (), **rest: Any) -> list[str]:
    """Of people that are found."""
    page = await adapter.list("t", "people", query(where, order, **rest))
    return [row["name"] for row in page.rows]


def needs(adapter: DataAdapter, feature: Any) -> None:
    if feature not in adapter.features:
        pytest.skip(f"{adapter.name} has no {feature}")


class AdapterSuite:
    """Derive from it as `class TestSomething(AdapterSuite)`."""

    # -- what there is -----------------------------------------------------------------------------------------------

    async def test_it_says_what_it_has(self, adapter: DataAdapter) -> None:
        assert adapter.name
        assert {"people", "orders", "names"} <= set(adapter.entities())
        assert adapter.key("people") == "id"
        schema = adapter.schema("people")
        assert (schema.name, schema.key) == ("people", "id")
        fields = {field.name: field for field in schema.fields}
        assert {"id", "name", "code", "age"} <= set(fields)
        assert "secret_note" not in fields
        assert fields["id"].is_key
        assert not fields["id"].is_writable
        assert fields["name"].is_writable
        assert not fields["name"].is_nullable
        assert fields["name"].schema["type"] == "string"
        assert fields["age"].schema["type"] == "integer"
        assert fields["age"].is_nullable
        references = {field.name: field.references for field in adapter.schema("orders").fields}
        assert references["person"] == "people"
        assert not any(field.is_writable for field in adapter.schema("names").fields)

    async def test_unknown_entities_are_not_open(self, adapter: DataAdapter) -> None:
        for attempt in (
            adapter.get("t", "nothing", "1"),
            adapter.list("t", "nothing", Query()),
            adapter.count("t", "nothing", ()),
            adapter.create("t", "nothing", [{}]),
            adapter.update("t", "nothing", [Change("1", {})]),
            adapter.delete("t", "nothing", "1"),
        ):
            with pytest.raises(EntityNotOpenError):
                await attempt
        with pytest.raises(EntityNotOpenError):
            adapter.schema("nothing")
        with pytest.raises(EntityNotOpenError):
            adapter.key("nothing")

    # -- writing, reading --------------------------------------------------------------------------------------------

    async def test_what_is_created_can_be_read_changed_and_deleted(self, adapter: DataAdapter) -> None:
        (created,) = await adapter.create("t", "people", [{"name": "Ada", "age": 36}])
        assert created.before is None
        assert created.after is not None
        assert {"name": "Ada", "age": 36, "code": None}.items() <= created.after.items()
        assert created.key == str(created.after["id"])
        row = await adapter.get("t", "people", created.key)
        assert row == created.after
        (changed,) = await adapter.update("t", "people", [Change(created.key, {"age": 37, "code": "x"})])
        assert (changed.key, changed.before) == (created.key, created.after)
        assert changed.after == {**created.after, "age": 37, "code": "x"}
        assert await adapter.get("t", "people", created.key) == changed.after
        deleted = await adapter.delete("t", "people", created.key)
        assert deleted is not None
        assert (deleted.before, deleted.after) == (changed.after, None)
        assert await adapter.get("t", "people", created.key) is None
        assert await adapter.delete("t", "people", created.key) is None
        with pytest.raises(EntityNotFoundError):
            await adapter.update("t", "people", [Change(created.key, {"age": 1})])

    async def test_values_keep_their_kinds(self, adapter: DataAdapter) -> None:
        values = {"amount": -3, "price": 9.25, "paid": True, "day": "2026-03-01", "person": None}
        (row,) = await add(adapter, "orders", values)
        assert {name: row[name] for name in values} == values
        assert row["paid"] is True

    async def test_several_at_once(self, adapter: DataAdapter) -> None:
        rows = await add(adapter, "people", {"name": "A", "age": 1}, {"name": "B"}, {"name": "C", "code": "c"})
        assert [row["name"] for row in rows] == ["A", "B", "C"]
        changes = [Change(str(row["id"]), {"age": number}) for number, row in enumerate(rows)]
        changed = await adapter.update("t", "people", changes)
        assert [item.after and item.after["age"] for item in changed] == [0, 1, 2]
        assert await adapter.create("t", "people", []) == []

    async def test_of_several_all_are_written_or_none(self, adapter: DataAdapter) -> None:
        needs(adapter, "batch-atomic")
        (row,) = await add(adapter, "people", {"name": "A", "age": 1})
        with pytest.raises(FieldValueError):
            await adapter.create("t", "people", [{"name": "B"}, {"name": None}])
        with pytest.raises(EntityNotFoundError):
            await adapter.update("t", "people", [Change(str(row["id"]), {"age": 2}), Change("987654321", {"age": 2})])
        assert await adapter.list("t", "people", Query()) == await adapter.list(
            "t", "people", query([["age", "eq", 1]])
        )
        assert await adapter.count("t", "people", ()) == 1

    @pytest.mark.parametrize(
        ("entity", "values"),
        [
            ("people", {"name": None}), ("people", {"name": 5}), ("people", {"name": "x", "age": "1"}),
            ("people", {"name": "x", "age": 1.5}), ("people", {"name": "x", "age": True}),
            ("orders", {"paid": 1}), ("orders", {"day": "yesterday"}), ("orders", {"price": "1"}),
            ("orders", {"price": float("nan")}), ("people", {"name": "a\0b"}),
        ],
    )  # fmt: skip
    async def test_a_value_of_another_kind_is_refused(self, adapter: DataAdapter, entity: str, values: Row) -> None:
        with pytest.raises(FieldValueError):
            await adapter.create("t", entity, [values])
        assert await adapter.count("t", entity, ()) == 0

    @pytest.mark.parametrize("field", ["id", "secret_note", "tenant_id", "nothing", "name = 'x' --", ""])
    async def test_fields_that_are_not_open_look_like_fields_that_are_not_there(
        self, adapter: DataAdapter, field: str
    ) -> None:
        (row,) = await add(adapter, "people", {"name": "A"})
        with pytest.raises(FieldRefusedError):
            await adapter.create("t", "people", [{"name": "A", field: "u"}])
        with pytest.raises(FieldRefusedError):
            await adapter.update("t", "people", [Change(str(row["id"]), {field: "u"})])
        if field in ("id", ""):
            return
        for attempt in (
            adapter.list("t", "people", query([["name", "eq", "A"], [field, "like", "s%"]])),
            adapter.list("t", "people", query([{"or": [{"not": [field, "eq", None]}]}])),
            adapter.list("t", "people", query(order=[f"-{field}"])),
            adapter.count("t", "people", parse_where([[field, "eq", None]])),
            adapter.update("t", "people", [Change(str(row["id"]), {"age": 1}, {field: "u"})]),
            adapter.delete("t", "people", str(row["id"]), expected={field: "u"}),
        ):
            with pytest.raises(FieldRefusedError):
                await attempt

    async def test_a_read_only_entity_stays_as_it_is(self, adapter: DataAdapter) -> None:
        (row,) = await add(adapter, "people", {"name": "A"})
        id = str(row["id"])
        assert await adapter.get("t", "names", id) == {"id": row["id"], "name": "A"}
        for attempt in (
            adapter.create("t", "names", [{}]),
            adapter.update("t", "names", [Change(id, {})]),
            adapter.delete("t", "names", id),
        ):
            with pytest.raises(EntityReadOnlyError):
                await attempt

    # -- whose it is -------------------------------------------------------------------------------------------------

    async def test_tenants_do_not_see_one_another(self, adapter: DataAdapter) -> None:
        (mine,) = await add(adapter, "people", {"name": "Mine"})
        (theirs,) = await add(adapter, "people", {"name": "Theirs"}, tenant="u")
        id = str(theirs["id"])
        assert (await adapter.list("t", "people", Query())).rows == [mine]
        for where in ([["name", "eq", "Theirs"]], [{"or": [["name", "ne", "Mine"], ["name", "eq", "Theirs"]]}]):
            assert (await adapter.list("t", "people", query(where))).rows == []
            assert await adapter.count("t", "people", parse_where(where)) == 0
        if id != str(mine["id"]):
            assert await adapter.get("t", "people", id) is None
            assert await adapter.delete("t", "people", id) is None
            for values in ({"name": "Stolen"}, {}):
                with pytest.raises(EntityNotFoundError):
                    await adapter.update("t", "people", [Change(id, values)])
        assert await adapter.get("u", "people", id) == theirs

    async def test_a_reference_to_anothers_entity_is_refused_like_one_to_nothing(self, adapter: DataAdapter) -> None:
        (mine,) = await add(adapter, "people", {"name": "Mine"})
        (theirs,) = await add(adapter, "people", {"name": "Theirs"}, tenant="u")
        (order,) = await add(adapter, "orders", {"person": mine["id"]})
        nobody = 987654321 if isinstance(mine["id"], int) else "nobody"
        messages: set[str] = set()
        for person in (theirs["id"], nobody):
            with pytest.raises(FieldValueError) as created:
                await adapter.create("t", "orders", [{"person": person}])
            with pytest.raises(FieldValueError) as updated:
                await adapter.update("t", "orders", [Change(str(order["id"]), {"person": person})])
            messages |= {str(created.value), str(updated.value)}
        assert len(messages) == 1
        assert (await adapter.get("t", "orders", str(order["id"])) or {})["person"] == mine["id"]

    @pytest.mark.parametrize("id", ["x", "-1", "01", "1.0", "9" * 30, "١", "1 OR 1=1", "None", "../1", "1?x=1", "%"])
    async def test_a_key_that_no_entity_has_finds_nothing(self, adapter: DataAdapter, id: str) -> None:
        await add(adapter, "people", {"name": "A"})
        assert await adapter.get("t", "people", id) is None
        assert await adapter.delete("t", "people", id) is None
        assert await adapter.count("t", "people", ()) == 1

    # -- conditions, order, pages ------------------------------------------------------------------------------------

    async def _people(self, adapter: DataAdapter) -> None:
        await add(
            adapter,
            "people",
            {"name": "Ada", "age": 36, "code": "100%"},
            {"name": "Bob", "age": None, "code": None},
            {"name": "Cyd", "age": 20, "code": "100 per cent"},
            {"name": "Dot", "age": 28, "code": "a_b"},
        )

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ([], "Ada Bob Cyd Dot"),
            ([["age", "eq", None]], "Bob"),
            ([["age", "ne", None]], "Ada Cyd Dot"),
            ([["age", "ne", 36]], "Bob Cyd Dot"),
            ([["age", "in", [36, None]]], "Ada Bob"),
            ([["age", "in", []]], ""),
            ([["age", "gte", 28], ["age", "lt", 36]], "Dot"),
            ([["age", "gt", 28]], "Ada"),
            ([["age", "lte", 20]], "Cyd"),
            ([["name", "gt", "Bob"]], "Cyd Dot"),
            ([["name", "like", "%D%"]], "Ada Cyd Dot"),
            ([["code", "like", "100\\%"]], "Ada"),
            ([["code", "like", "A\\_b"]], "Dot"),
            ([["code", "like", "a_b"]], "Dot"),
            ([["code", "like", "100%"]], "Ada Cyd"),
            ([["code", "like", "%,%"]], ""),
            ([["code", "eq", "a,b).(x"]], ""),
            ([{"or": [["age", "eq", 36], ["name", "eq", "Bob"]]}], "Ada Bob"),
            ([{"or": []}], ""),
            ([{"and": []}], "Ada Bob Cyd Dot"),
            ([{"and": [["age", "gt", 10], {"or": [["name", "eq", "Ada"], ["name", "eq", "Cyd"]]}]}], "Ada Cyd"),
            ([{"not": ["age", "gt", 28]}], "Bob Cyd Dot"),
            ([{"not": ["age", "eq", None]}], "Ada Cyd Dot"),
            ([{"not": ["code", "like", "100%"]}], "Bob Dot"),
            ([{"not": ["age", "in", [36, 20]]}], "Bob Dot"),
            ([{"not": {"or": [["age", "lt", 30], {"not": ["age", "gt", 0]}]}}], "Ada"),
            ([{"not": {"not": ["age", "gt", 28]}}], "Ada"),
            ([{"or": [{"and": [["age", "gt", 20], {"not": ["name", "eq", "Ada"]}]}, ["age", "eq", None]]}], "Bob Dot"),
        ],
    )  # fmt: skip
    async def test_conditions(self, adapter: DataAdapter, where: list[Any], found: str) -> None:
        await self._people(adapter)
        assert await names(adapter, where, ["name"]) == found.split()
        assert await adapter.count("t", "people", parse_where(where)) == len(found.split())
        # A scope means the same, and narrows everything else.
        scope = parse_where(where)
        page = await adapter.list("t", "people", query(order=["name"]), scope=scope)
        assert [row["name"] for row in page.rows] == found.split()
        assert await adapter.count("t", "people", (), scope=scope) == len(found.split())

    @pytest.mark.parametrize(
        "condition",
        [
            ["age", "eq", "3"], ["age", "gt", 1.5], ["age", "like", "1%"], ["age", "in", [1, "2"]], ["age", "gt", None],
            ["name", "eq", 1], ["name", "eq", True], ["name", "in", "Ada"], ["name", "like", "x" * 101],
            ["name", "like", "x\\"],
        ],
    )  # fmt: skip
    async def test_conditions_that_do_not_go_with_their_field_are_refused(
        self, adapter: DataAdapter, condition: list[Any]
    ) -> None:
        with pytest.raises(ComparisonInvalidError):
            await adapter.list("t", "people", query([condition]))
        with pytest.raises(ComparisonInvalidError):
            await adapter.count("t", "people", parse_where([{"or": [{"not": condition}]}]))

    async def test_order_has_null_first_and_the_key_last(self, adapter: DataAdapter) -> None:
        await self._people(adapter)
        assert await names(adapter, order=["age"]) == ["Bob", "Cyd", "Dot", "Ada"]
        assert await names(adapter, order=["-age"]) == ["Ada", "Dot", "Cyd", "Bob"]
        await adapter.create("t", "people", [{"name": "Ada", "age": 1}])
        assert await names(adapter, order=["-name", "age"]) == ["Dot", "Cyd", "Bob", "Ada", "Ada"]
        ages = (await adapter.list("t", "people", query([["name", "eq", "Ada"]], ["name", "-age"]))).rows
        assert [row["age"] for row in ages] == [36, 1]
        keys = [row["id"] for row in (await adapter.list("t", "people", Query())).rows]
        assert keys == sorted(keys)

    async def test_pages_by_offset(self, adapter: DataAdapter) -> None:
        await self._people(adapter)
        assert await names(adapter, order=["name"], limit=2, offset=1) == ["Bob", "Cyd"]
        assert await names(adapter, order=["name"], limit=2, offset=9) == []

    @pytest.mark.parametrize("order", [[], ["age"], ["-age"], ["-name"], ["code", "-age"], ["-code", "name"], ["id"]])
    async def test_pages_by_cursor_have_everything_once(self, adapter: DataAdapter, order: list[str]) -> None:
        await self._people(adapter)
        await adapter.create("t", "people", [{"name": "Eve"}, {"name": "Fay", "age": 28}, {"name": "Ada", "age": 28}])
        whole = (await adapter.list("t", "people", query(order=order))).rows
        found: list[Row] = []
        cursor: str | None = None
        for _ in range(10):
            page = await adapter.list("t", "people", query(order=order, limit=3, cursor=cursor))
            found += page.rows
            cursor = page.cursor
            if cursor is None:
                break
        assert found == whole

    async def test_a_cursor_keeps_its_place_while_rows_come_and_go(self, adapter: DataAdapter) -> None:
        needs(adapter, "cursor")
        await self._people(adapter)
        first = await adapter.list("t", "people", query(order=["name"], limit=2))
        assert [row["name"] for row in first.rows] == ["Ada", "Bob"]
        await adapter.delete("t", "people", str(first.rows[0]["id"]))
        await adapter.create("t", "people", [{"name": "Aaa"}, {"name": "Bzz"}])
        assert await names(adapter, order=["name"], limit=9, cursor=first.cursor) == ["Bzz", "Cyd", "Dot"]

    async def test_a_cursor_belongs_to_its_query(self, adapter: DataAdapter) -> None:
        await self._people(adapter)
        cursor = (await adapter.list("t", "people", query(order=["name"], limit=1))).cursor
        assert cursor is not None
        for attempt in (
            adapter.list("t", "people", query(order=["-name"], limit=1, cursor=cursor)),
            adapter.list("t", "people", query([["age", "gt", 1]], ["name"], limit=1, cursor=cursor)),
            adapter.list("t", "names", query(order=["name"], limit=1, cursor=cursor)),
            adapter.list("t", "people", query(order=["name"], cursor=cursor), scope=parse_where([["age", "gt", 1]])),
            adapter.list("t", "people", query(order=["name"], cursor=cursor[:-2])),
            adapter.list("t", "people", query(order=["name"], cursor="x")),
            adapter.list("t", "people", query(order=["name"], cursor="é")),
        ):
            with pytest.raises(CursorMismatchError):
                await attempt

    # -- figures -----------------------------------------------------------------------------------------------------

    async def test_figures(self, adapter: DataAdapter) -> None:
        measures = [
            Measure("n", "count"), Measure("aged", "count", "age"), Measure("sum", "sum", "age"),
            Measure("mean", "avg", "age"), Measure("least", "min", "age"), Measure("last", "max", "name"),
        ]  # fmt: skip
        if "aggregate" not in adapter.features:
            with pytest.raises(FeatureMissingError):
                await adapter.aggregate("t", "people", Aggregation(measures))
            return
        empty = await adapter.aggregate("t", "people", Aggregation(measures))
        assert empty == [{"n": 0, "aged": 0, "sum": None, "mean": None, "least": None, "last": None}]
        await self._people(adapter)
        await add(adapter, "people", {"name": "Theirs", "age": 99}, tenant="u")
        assert await adapter.aggregate("t", "people", Aggregation(measures)) == [
            {"n": 4, "aged": 3, "sum": 84, "mean": 28, "least": 20, "last": "Dot"}
        ]
        narrow = Aggregation(measures, parse_where([["age", "lt", 36]]))
        assert await adapter.aggregate("t", "people", narrow, scope=parse_where([["name", "ne", "Cyd"]])) == [
            {"n": 1, "aged": 1, "sum": 28, "mean": 28, "least": 28, "last": "Dot"}
        ]

    async def test_figures_of_groups(self, adapter: DataAdapter) -> None:
        needs(adapter, "aggregate")
        await add(
            adapter, "orders", {"paid": True, "amount": 1, "price": 1.5}, {"paid": True, "amount": 2, "price": 2.5},
            {"paid": False, "amount": 5}, {"paid": None, "amount": None},
        )  # fmt: skip
        measures = [Measure("total", "sum", "amount"), Measure("price", "sum", "price")]
        groups = await adapter.aggregate(
            "t", "orders", Aggregation(measures, group_by=["paid"], order=parse_order(["-total"]))
        )
        assert groups == [
            {"paid": False, "total": 5, "price": None}, {"paid": True, "total": 3, "price": 4.0},
            {"paid": None, "total": None, "price": None},
        ]  # fmt: skip
        one = Aggregation(measures, group_by=["paid"], order=parse_order(["-paid"]), limit=1)
        assert await adapter.aggregate("t", "orders", one) == groups[1:2]
        for bad, error in (
            (Aggregation([Measure("x", "sum", "paid")]), ComparisonInvalidError),
            (Aggregation([Measure("x", "sum", "nothing")]), FieldRefusedError),
            (Aggregation([Measure("x", "sum")]), ComparisonInvalidError),
            (Aggregation(measures, group_by=["secret_note"]), FieldRefusedError),
            (Aggregation(measures, group_by=["paid"], order=parse_order(["day"])), FieldRefusedError),
        ):
            with pytest.raises(error):
                await adapter.aggregate("t", "orders", bad)

    # -- scope -------------------------------------------------------------------------------------------------------

    async def test_what_is_out_of_scope_is_not_there(self, adapter: DataAdapter) -> None:
        ada, bob = await add(adapter, "people", {"name": "Ada", "age": 1}, {"name": "Bob", "age": 2})
        scope = parse_where([["age", "eq", 1]])
        assert await adapter.get("t", "people", str(ada["id"]), scope=scope) == ada
        assert await adapter.get("t", "people", str(bob["id"]), scope=scope) is None
        assert (await adapter.list("t", "people", query([["name", "eq", "Bob"]]), scope=scope)).rows == []
        assert (await adapter.list("t", "people", query([{"or": [["age", "eq", 2]]}]), scope=scope)).rows == []
        with pytest.raises(EntityNotFoundError):
            await adapter.update("t", "people", [Change(str(bob["id"]), {"name": "X"})], scope=scope)
        assert await adapter.delete("t", "people", str(bob["id"]), scope=scope) is None
        assert await adapter.get("t", "people", str(bob["id"])) == bob

    async def test_nothing_is_put_out_of_scope(self, adapter: DataAdapter) -> None:
        (ada,) = await add(adapter, "people", {"name": "Ada", "age": 1})
        scope = parse_where([["age", "eq", 1]])
        with pytest.raises(EntityOutOfScopeError):
            await adapter.create("t", "people", [{"name": "Bob", "age": 2}], scope=scope)
        with pytest.raises(EntityOutOfScopeError):
            await adapter.update("t", "people", [Change(str(ada["id"]), {"age": 2})], scope=scope)
        assert (await adapter.list("t", "people", Query())).rows == [ada]
        await adapter.create("t", "people", [{"name": "Cyd", "age": 1}], scope=scope)
        await adapter.update("t", "people", [Change(str(ada["id"]), {"name": "Ida"})], scope=scope)
        assert await adapter.delete("t", "people", str(ada["id"]), scope=scope) is not None

    # -- others who write --------------------------------------------------------------------------------------------

    async def test_a_change_can_insist_on_what_was_read(self, adapter: DataAdapter) -> None:
        (ada,) = await add(adapter, "people", {"name": "Ada", "age": 1})
        id = str(ada["id"])
        await adapter.update("t", "people", [Change(id, {"age": 2}, {"age": 1, "code": None})])
        for attempt in (
            adapter.update("t", "people", [Change(id, {"age": 3}, {"age": 1})]),
            adapter.update("t", "people", [Change(id, {"age": 3}, {"age": True})]),
            adapter.update("t", "people", [Change(id, {"age": 3}, ada)]),
            adapter.delete("t", "people", id, expected={"code": "x"}),
        ):
            with pytest.raises(EntityChangedError):
                await attempt
        assert await adapter.get("t", "people", id) == {**ada, "age": 2}
        assert await adapter.delete("t", "people", id, expected={"age": 2}) is not None

    async def test_of_two_who_insist_one_wins(self, adapter: DataAdapter) -> None:
        needs(adapter, "transactions")
        (ada,) = await add(adapter, "people", {"name": "Ada", "age": 1})
        id = str(ada["id"])
        ends = await asyncio.gather(
            *(adapter.update("t", "people", [Change(id, {"age": age}, {"age": 1})]) for age in range(2, 8)),
            return_exceptions=True,
        )
        assert sum(isinstance(end, list) for end in ends) == 1
        assert all(isinstance(end, (list, EntityChangedError)) for end in ends)

    async def test_what_was_deleted_can_be_put_back(self, adapter: DataAdapter) -> None:
        needs(adapter, "restore")
        (ada,) = await add(adapter, "people", {"name": "Ada", "age": 1})
        deleted = await adapter.delete("t", "people", str(ada["id"]))
        assert deleted is not None
        assert deleted.before is not None
        restored = await adapter.restore("t", "people", deleted.key, deleted.before)
        assert (restored.key, restored.after) == (deleted.key, deleted.before)
        assert await adapter.get("t", "people", deleted.key) == ada

    # -- transactions ------------------------------------------------------------------------------------------------

    async def test_a_transaction_reads_what_it_wrote_and_commits_at_its_end(self, adapter: DataAdapter) -> None:
        if "transactions" not in adapter.features:
            with pytest.raises(FeatureMissingError):
                async with adapter.transaction("t"):
                    pass
            return
        (ada,) = await add(adapter, "people", {"name": "Ada", "age": 1})
        async with adapter.transaction("t") as tx:
            (bob,) = await tx.create("people", [{"name": "Bob", "age": 2}])
            await tx.update("people", [Change(str(ada["id"]), {"age": 3})])
            assert (await tx.list("people", query(order=["name"]))).rows == [{**ada, "age": 3}, bob.after]
            assert await tx.count("people", parse_where([["age", "gt", 1]])) == 2
            assert await tx.aggregate("people", Aggregation([Measure("sum", "sum", "age")])) == [{"sum": 5}]
            await tx.delete("people", bob.key)
            assert await tx.get("people", bob.key) is None
        assert (await adapter.list("t", "people", Query())).rows == [{**ada, "age": 3}]

    async def test_a_transaction_that_fails_leaves_nothing(self, adapter: DataAdapter) -> None:
        needs(adapter, "transactions")
        (ada,) = await add(adapter, "people", {"name": "Ada", "age": 1})
        with pytest.raises(EntityNotFoundError):  # noqa: PT012  # the point is what happened before
            async with adapter.transaction("t") as tx:
                await tx.create("people", [{"name": "Bob"}])
                await tx.delete("people", str(ada["id"]))
                await tx.update("people", [Change("987654321", {"age": 1})])
        assert (await adapter.list("t", "people", Query())).rows == [ada]

    async def test_what_was_rolled_back_can_be_done_again_to_the_letter(self, adapter: DataAdapter) -> None:
        needs(adapter, "transactions")
        ada, bob = await add(adapter, "people", {"name": "Ada", "age": 1}, {"name": "Bob"})

        class BackError(Exception):
            pass

        done: list[list[Written]] = []
        with pytest.raises(BackError):  # noqa: PT012  # as above
            async with adapter.transaction("t") as tx:
                done.append(await tx.create("people", [{"name": "Cyd"}]))
                done.append(await tx.update("people", [Change(str(ada["id"]), {"age": 2})]))
                deleted = await tx.delete("people", str(bob["id"]))
                done.append([] if deleted is None else [deleted])
                raise BackError
        assert [len(written) for written in done] == [1, 1, 1]
        assert (await adapter.list("t", "people", query(order=["name"]))).rows == [ada, bob]
        async with adapter.transaction("t") as tx:
            for written in done:
                await tx.redo("people", written)
        rows = (await adapter.list("t", "people", query(order=["name"]))).rows
        assert rows == [done[1][0].after, done[0][0].after]
        for again in done:
            with pytest.raises(TransactionConflictError):
                async with adapter.transaction("t") as tx:
                    await tx.redo("people", again)
