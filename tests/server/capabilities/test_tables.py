"""A plugin's tables: typed rows, conditions that mean the same for every value, uniqueness that holds."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from jackfield.capabilities import staging
from jackfield.capabilities.errors import (
    AnswerTooLargeError,
    ArgumentsInvalidError,
    ReleaseReplacedError,
    RowInvalidError,
    RowNotFoundError,
    RowNotUniqueError,
    SchemaRefusedError,
    TableNotDeclaredError,
)
from jackfield.capabilities.holdings import inventory
from jackfield.data_adapters import ComparisonInvalidError, QueryTooSlowError
from jackfield.db import Database
from jackfield_sdk.manifest import Table
from jackfield_sdk.plugin import Plugin
from tests.server.capabilities.installations import Installed, installed, make_gate, manifest


async def insert(plugin: Installed, **row: Any) -> dict[str, Any]:
    return await plugin.call("tables", "insert", table="ledger", row=row)


async def find(plugin: Installed, *where: list[Any], **more: Any) -> list[str]:
    """Customers of the rows that are found."""
    found = await plugin.call("tables", "find", table="ledger", where=list(where), **more)
    return [row["customer"] for row in found]


async def test_a_row_has_its_id_all_columns_and_their_defaults(plugin: Installed) -> None:
    row = await insert(plugin, customer="c1")
    assert row == {"id": row["id"], "customer": "c1", "points": 0, "note": None, "extra": None}
    assert row["id"].startswith("row_")
    assert await plugin.call("tables", "get", table="ledger", id=row["id"]) == row
    assert await plugin.call("tables", "find", table="ledger") == [row]
    assert await plugin.call("tables", "get", table="cards", id=row["id"]) is None


async def test_values_come_back_as_they_were(plugin: Installed) -> None:
    extra = {"deep": [1, 2.5, None, {"é": "\U0001f600"}], "big": 2**63 - 1}
    row = await insert(plugin, customer="Zoë ' \" \\ %", extra=extra)
    again = await plugin.call("tables", "get", table="ledger", id=row["id"])
    assert (again["customer"], again["extra"]) == ("Zoë ' \" \\ %", extra)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"customer": 5},
        {"customer": None},
        {"customer": "c", "points": 1.5},
        {"customer": "c", "points": "1"},
        {"customer": "c", "points": True},
        {"customer": "c", "note": "x" * 21},
        {"customer": "c", "id": "row_mine"},
        {"customer": "c", "tenant_id": "other"},
        {"customer": "c", 'x" = 1 --': 1},
        {"customer": "x" * 40_000},
    ],
)
async def test_a_row_that_does_not_fit_is_refused(plugin: Installed, row: dict[str, Any]) -> None:
    with pytest.raises(RowInvalidError):
        await plugin.call("tables", "insert", table="ledger", row=row)
    assert await plugin.call("tables", "count", table="ledger") == 0


@pytest.mark.parametrize("row", [[], "x", None, {"customer": "a\0b"}, {"customer": "c", "extra": b"raw"}])
async def test_what_is_no_row_at_all_is_refused(plugin: Installed, row: Any) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("tables", "insert", table="ledger", row=row)


async def test_a_message_says_what_is_wrong_and_does_not_repeat_the_value(plugin: Installed) -> None:
    with pytest.raises(RowInvalidError, match="points") as refused:
        await insert(plugin, customer="c", points="0xSECRET")
    assert "SECRET" not in str(refused.value)


async def test_only_declared_tables_and_columns_exist(plugin: Installed) -> None:
    with pytest.raises(TableNotDeclaredError):
        await plugin.call("tables", "count", table="jf_storage")
    for where in (
        ["tenant_id", "eq", "x"],
        ["data", "eq", 1],
        ["installation_id", "ne", "x"],
        ['a") OR 1=1 --', "eq", 1],
    ):
        with pytest.raises(ArgumentsInvalidError):
            await find(plugin, where)
    for order in ("created_at", "-size_bytes", "points; DROP TABLE jf_storage", "--points"):
        with pytest.raises(ArgumentsInvalidError):
            await find(plugin, order=[order])


async def test_update_changes_what_is_named_and_delete_removes(plugin: Installed) -> None:
    row = await insert(plugin, customer="c", points=5, note="n")
    changed = await plugin.call("tables", "update", table="ledger", id=row["id"], changes={"points": 6, "note": None})
    assert changed == {**row, "points": 6, "note": None}
    assert await plugin.call("tables", "find", table="ledger") == [changed]
    with pytest.raises(RowInvalidError):
        await plugin.call("tables", "update", table="ledger", id=row["id"], changes={"points": "x"})
    with pytest.raises(RowInvalidError):
        await plugin.call("tables", "update", table="ledger", id=row["id"], changes={"id": "other"})
    assert await plugin.call("tables", "delete", table="ledger", id=row["id"]) is True
    assert await plugin.call("tables", "delete", table="ledger", id=row["id"]) is False
    with pytest.raises(RowNotFoundError):
        await plugin.call("tables", "update", table="ledger", id=row["id"], changes={})


async def test_conditions_compare_values_of_one_kind_only(plugin: Installed) -> None:
    for name, extra in {
        "null": None, "true": True, "false": False, "zero": 0, "one": 1, "one-and-a-half": 1.5, "text": "1",
        "upper": "ABC", "list": [1], "map": {"a": 1},
    }.items():  # fmt: skip
        await insert(plugin, customer=name, extra=extra)
    await insert(plugin, customer="absent")
    everything = {
        "null", "true", "false", "zero", "one", "one-and-a-half", "text", "upper", "list", "map", "absent",
    }  # fmt: skip

    async def found(operator: str, value: Any) -> set[str]:
        return set(await find(plugin, ["extra", operator, value]))

    assert await found("eq", None) == {"null", "absent"}
    assert await found("ne", None) == everything - {"null", "absent"}
    assert await found("eq", True) == {"true"}
    assert await found("eq", 1) == await found("eq", 1.0) == {"one"}
    assert await found("ne", 1) == everything - {"one"}
    assert await found("eq", "1") == {"text"}
    assert await found("in", [None, True, "1", 1.5]) == {"null", "absent", "true", "text", "one-and-a-half"}
    assert await found("in", []) == set()
    assert await found("gt", 0) == {"one", "one-and-a-half"}
    assert await found("lte", 1) == {"zero", "one"}
    assert await found("gte", "1") == {"text", "upper"}
    assert await found("lt", "A") == {"text"}
    assert await found("like", "a_c") == {"upper"}
    assert await found("like", "%") == {"text", "upper"}
    assert await found("eq", 2**63 - 1) == set()


async def test_like_takes_an_escape(plugin: Installed) -> None:
    for name in ("100%", "100 percent", "a_b", "axb"):
        await insert(plugin, customer=name)
    assert await find(plugin, ["customer", "like", "100\\%"]) == ["100%"]
    assert await find(plugin, ["customer", "like", "a\\_b"]) == ["a_b"]


@pytest.mark.parametrize(
    "where",
    [
        ["extra", "in", 1],
        ["extra", "eq", [1]],
        ["extra", "gt", None],
        ["extra", "lt", True],
        ["extra", "like", 1],
        ["extra", "like", "x" * 101],
        ["extra", "like", "ends in \\"],
        ["extra", "eq", float("nan")],
        ["extra", "in", ["a\0"]],
    ],
)
async def test_conditions_without_a_meaning_are_refused(plugin: Installed, where: list[Any]) -> None:
    with pytest.raises(ComparisonInvalidError):
        await find(plugin, where)


@pytest.mark.parametrize(
    "arguments",
    [
        {"where": [["extra", "regexp", "x"]]},
        {"where": [["extra", "eq"]]},
        {"where": [["extra", "eq", 1, 2]]},
        {"where": {"extra": 1}},
        {"where": [["extra", "eq", 2**63]]},
        {"where": [["extra", "eq", {"a": 1}]]},
        {"where": [["extra", "eq", 1]] * 65},
        {"where": [["extra", "in", list(range(501))]]},
        {"order": ["points"] * 11},
        {"order": [1]},
        {"limit": 1001},
        {"offset": -1},
        {"offset": 2**70 // 2**8},
    ],
)
async def test_malformed_questions_are_refused(plugin: Installed, arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("tables", "find", table="ledger", **arguments)


async def test_all_conditions_hold_at_once_and_count_agrees_with_find(plugin: Installed) -> None:
    for number in range(20):
        await insert(plugin, customer=f"c{number % 4}", points=number)
    where = [["customer", "eq", "c1"], ["points", "gt", 4], ["points", "ne", 13]]
    assert await find(plugin, *where) == ["c1", "c1", "c1"]
    assert await plugin.call("tables", "count", table="ledger", where=where) == 3


async def test_order_is_total_and_pages_do_not_overlap(plugin: Installed) -> None:
    values = [3, None, "b", 1.5, "a", True, [1]]
    ids = [(await insert(plugin, customer=str(place), extra=value))["id"] for place, value in enumerate(values)]
    ascending = await find(plugin, order=["extra"])
    assert [values[int(place)] for place in ascending] == [None, True, 1.5, 3, "a", "b", [1]]
    assert await find(plugin, order=["-extra"]) == ascending[::-1]
    pages = [await find(plugin, order=["points"], limit=3, offset=offset) for offset in (0, 3, 6)]
    assert [int(place) for page in pages for place in page] == sorted(range(7), key=lambda place: ids[place])
    assert await find(plugin, ["id", "eq", ids[2]]) == ["2"]
    assert await find(plugin, ["id", "in", ids[:2]], order=["-id"]) == [
        str(place) for place in sorted((0, 1), key=lambda place: ids[place], reverse=True)
    ]


async def test_a_new_release_sees_old_rows_with_its_defaults(plugin: Installed, database: Database) -> None:
    await insert(plugin, customer="old", points=7)
    columns = {"customer": {"type": "string"}, "tier": {"type": "string", "default": "basic"}, "n": {"default": 3}}
    newer = installed(plugin.gate, release=manifest(version="2.0.0", tables=[{"name": "ledger", "columns": columns}]))
    row = (await newer.call("tables", "find", table="ledger", where=[["tier", "eq", "basic"], ["n", "gt", 2]]))[0]
    assert (row["customer"], row["tier"], row["n"], "points" in row) == ("old", "basic", 3, False)
    assert await newer.call("tables", "count", table="ledger", where=[["tier", "ne", "basic"]]) == 0
    assert await newer.call("tables", "count", table="ledger", where=[["tier", "eq", None]]) == 0
    with pytest.raises(ReleaseReplacedError):
        # The data is the other release's as long as no update has moved it.
        await newer.call("tables", "update", table="ledger", id=row["id"], changes={"tier": "gold"})
    async with database.write("acme") as session:
        await staging.forget_layout(session, "acme", "inst_a")
    await newer.call("tables", "update", table="ledger", id=row["id"], changes={"tier": "gold"})
    # And back: nothing of the old release is lost.
    assert (await plugin.call("tables", "get", table="ledger", id=row["id"]))["points"] == 7


async def test_unique_groups_hold(plugin: Installed) -> None:
    async def card(number: Any, shop: Any) -> str:
        return (await plugin.call("tables", "insert", table="cards", row={"number": number, "shop": shop}))["id"]

    first = await card("1", 1)
    with pytest.raises(RowNotUniqueError):
        await card("1", 1.0)
    second = await card("1", "1")
    await card(None, 1)
    await card(None, 1)
    with pytest.raises(RowNotUniqueError):
        await plugin.call("tables", "update", table="cards", id=second, changes={"shop": 1})
    await plugin.call("tables", "update", table="cards", id=first, changes={"number": "1"})
    await plugin.call("tables", "update", table="cards", id=first, changes={"number": "2"})
    await plugin.call("tables", "update", table="cards", id=second, changes={"shop": 1})
    await plugin.call("tables", "delete", table="cards", id=second)
    await card("1", 1)
    assert await plugin.call("tables", "count", table="cards") == 4


async def test_of_many_equal_inserts_at_once_one_gets_in(plugin: Installed) -> None:
    async def card() -> bool:
        try:
            await plugin.call("tables", "insert", table="cards", row={"number": "7", "shop": 1})
        except RowNotUniqueError:
            return False
        return True

    assert sum(await asyncio.gather(*(card() for _ in range(10)))) == 1
    assert await plugin.call("tables", "count", table="cards") == 1


async def test_a_refused_row_takes_no_space(plugin: Installed, database: Database) -> None:
    await plugin.call("tables", "insert", table="cards", row={"number": "7", "shop": 1})
    async with database.read("acme") as session:
        before = await inventory(session, "inst_a")
    with pytest.raises(RowNotUniqueError):
        await plugin.call("tables", "insert", table="cards", row={"number": "7", "shop": 1})
    async with database.read("acme") as session:
        assert await inventory(session, "inst_a") == before


async def test_an_answer_that_would_not_fit_is_refused(plugin: Installed) -> None:
    for _ in range(140):
        await insert(plugin, customer="x" * 31_000)
    with pytest.raises(AnswerTooLargeError):
        await find(plugin, limit=1000)
    assert len(await find(plugin, limit=100)) == 100


async def test_a_query_is_stopped_at_its_limit_and_the_connection_still_serves(database: Database) -> None:
    plugin = installed(make_gate(database, query_limit_s=0.02))
    for number in range(60):
        await insert(plugin, customer=f"{number}" + "a" * 30_000)
    slow = [["customer", "like", "%" + "a_" * 48 + "b"]] * 50
    with pytest.raises(QueryTooSlowError):
        await plugin.call("tables", "count", table="ledger", where=slow)
    async with database.read("acme") as session:
        # Longer than the limit, on the same connection: the limit was the query's, not the connection's.
        assert (await inventory(session, "inst_a"))["table_rows"] == 60


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"type": "nonsense"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    ],
)
async def test_a_column_with_a_dangerous_schema_is_refused(plugin: Installed, schema: dict[str, Any]) -> None:
    # Past `parse_manifest`, which would not let some of them in: the gate does not rely on it.
    release = msgspec.structs.replace(manifest(), tables=[Table(name="ledger", columns={"customer": schema})])
    with pytest.raises(SchemaRefusedError):
        await installed(plugin.gate, release=release).call("tables", "insert", table="ledger", row={"customer": 1})


async def test_tables_as_an_author_declares_them_work(plugin: Installed) -> None:
    author = Plugin("loyalty", version="1.0.0", name="Loyalty")

    @author.table("visits", unique=[["customer_id", "day"]])
    class Visit(msgspec.Struct):
        customer_id: str
        day: str
        points: int = 1
        tags: list[str] = []

    release = author.manifest()
    visits = installed(plugin.gate, release=release)
    row = await visits.call("tables", "insert", table="visits", row={"customer_id": "c", "day": "2026-03-01"})
    assert (row["points"], row["tags"]) == (1, [])
    with pytest.raises(RowNotUniqueError):
        await visits.call("tables", "insert", table="visits", row={"customer_id": "c", "day": "2026-03-01"})
