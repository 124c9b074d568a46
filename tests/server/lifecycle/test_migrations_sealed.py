"""Migrations as an author writes them: packed, published, run in isolates, asked for over HTTP, taken home as files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import msgspec

from tests.server.health.house import House, running

OLD = """
import jackfield_sdk as jf

plugin = jf.Plugin("book", version="VERSION")


@plugin.table("people", indexes=[["name"]])
class Person:
    name: str


@plugin.function()
def add(ctx: jf.Context, names: list[str]) -> int:
    return len(ctx.tables["people"].insert_many([{"name": name} for name in names]))


@plugin.function()
def people(ctx: jf.Context) -> list[str]:
    return sorted(row["name"] for row in ctx.tables["people"].query(order="name"))
"""

NEW = """
import jackfield_sdk as jf

plugin = jf.Plugin("book", version="VERSION")


@plugin.table("people", indexes=[["last", "first"]], unique=[["last", "first"]])
class Person:
    first: str = ""
    last: str = ""


@plugin.table("visits", references={"person": "people"}, on_delete={"person": "cascade"})
class Visit:
    person: str
    place: str


@plugin.migration(to="2.0.0")
def split_names(ctx: jf.Context) -> None:
    def split(row: dict[str, str]) -> dict[str, str]:
        first, _, last = row["name"].partition(" ")
        return {"first": first, "last": last}

    ctx.migration.each("people", split, drop=["name"])
    for row in ctx.tables["people"].query():
        ctx.tables["visits"].insert(person=row["id"], place="before " + row["last"])


@split_names.down
def join_names(ctx: jf.Context) -> None:
    ctx.migration.each("people", lambda row: {"name": f"{row['first']} {row['last']}"}, drop=["first", "last"])


@plugin.function()
def visit(ctx: jf.Context, first: str, last: str, place: str) -> str:
    people, visits = ctx.tables["people"], ctx.tables["visits"]
    person, _ = ctx.tables.transaction([
        people.to_upsert(["last", "first"], first=first, last=last),
        visits.to_insert(person=ctx.tables.row_of(0), place=place),
    ])
    return person["id"]


@plugin.function()
def people(ctx: jf.Context) -> list[str]:
    return [f"{row['last']}, {row['first']}" for row in ctx.tables["people"].query(order=["last", "first"])]


@plugin.function()
def visits(ctx: jf.Context) -> list[str]:
    return [row["place"] for row in ctx.tables["visits"].aggregate({"n": "count"}, group_by="place", order="place")]


@plugin.function()
def peek(ctx: jf.Context) -> int:
    return len(list(ctx.migration.rows("people")))
"""


async def ready(house: House, source: str = NEW) -> None:
    await house.publish("1.0.0", OLD, slug="book")
    await house.publish("2.0.0", source, slug="book")
    await house.move_in()
    for tenant in (house.tenant, house.rival):
        await house.platform.lifecycle.install(tenant, "book", version="1.0.0")
    assert (await call(house, "add", names=["Ada Lovelace", "Alan Turing"]))["output"] == 2


async def call(house: House, function: str, **arguments: Any) -> dict[str, Any]:
    answer = await house.ask("POST", f"/book/functions/{function}", json={"arguments": arguments})
    return answer.json()


async def code(house: House, function: str) -> str:
    return (await call(house, function))["error"]["code"]


async def test_an_author_migrates_and_a_tenant_goes_there_and_back(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await ready(house)
        wanted = {"slug": "book", "version": "2.0.0", "action": "update"}
        plan = (await house.ask("POST", "/plan", json=wanted)).json()
        assert plan["data"]["text"] == "1 migration, reversible, 2 rows"
        assert plan["data"]["migrations"] == [{"name": "split_names", "to_version": "2.0.0", "is_reversible": True}]
        updated = await house.ask("POST", "/book/update", json={"version": "2.0.0"})
        assert (updated.status_code, updated.json()["version"]) == (200, "2.0.0")
        assert (await call(house, "people"))["output"] == ["Lovelace, Ada", "Turing, Alan"]
        assert (await call(house, "visits"))["output"] == ["before Lovelace", "before Turing"]
        assert await code(house, "peek") == "migration-only"
        again = await call(house, "visit", first="Ada", last="Lovelace", place="London")
        assert again["output"]
        assert (await call(house, "visit", first="Grace", last="Hopper", place="Yale"))["output"]
        past = (await house.ask("GET", "/book/history")).json()
        assert (past["version"], past["releases"][0]["version"], past["releases"][0]["can_return"]) == (
            "2.0.0", "1.0.0", True,
        )  # fmt: skip
        back = (await house.ask("POST", "/book/rollback")).json()
        assert (back["version"], back["data"], back["plugin"]["version"]) == ("1.0.0", "transformed", "1.0.0")
        assert (await call(house, "people"))["output"] == ["Ada Lovelace", "Alan Turing", "Grace Hopper"]
        assert (await house.ask("POST", "/book/rollback")).json()["code"] == "no-way-back"
        assert (await house.ask("GET", "/book/history", house.rival)).json()["releases"] == []


async def test_a_migration_that_breaks_is_told_with_its_trace_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await ready(house, NEW.replace('first, _, last = row["name"]', 'first, last = row["nome"]'))
        refused = await house.ask("POST", "/book/update", json={"version": "2.0.0"})
        assert (refused.status_code, refused.json()["code"]) == (409, "migration-failed")
        errors = (await house.ask("GET", "/book/errors")).json()["items"]
        assert "KeyError" in errors[0]["error_message"]
        assert "split" in errors[0]["error_trace"]
        assert (await call(house, "people"))["output"] == ["Ada Lovelace", "Alan Turing"]
        assert (await call(house, "add", names=["Grace Hopper"]))["output"] == 1


async def test_a_table_goes_home_as_lines_and_as_a_sheet_that_runs_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await ready(house)
        nasty = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\tx", " =1", 'a,"b"\nc', "ordinary"]
        await call(house, "add", names=nasty)
        listed = (await house.ask("GET", "/book/tables")).json()["tables"]
        assert [(table["name"], table["rows"], list(table["columns"])) for table in listed] == [
            ("people", 10, ["name"])
        ]
        lines = await house.ask("GET", "/book/tables/people/export")
        rows = [msgspec.json.decode(line) for line in lines.text.splitlines()]
        assert {row["name"] for row in rows} == {*nasty, "Ada Lovelace", "Alan Turing"}
        sheet = await house.ask("GET", "/book/tables/people/export?format=csv")
        assert sheet.headers["content-disposition"] == 'attachment; filename="book-people.csv"'
        header, *cells = list(csv.reader(io.StringIO(sheet.text, newline="")))
        assert header == ["id", "name"]
        assert {cell for _, cell in cells} == {
            "'=HYPERLINK(\"x\")", "'+1", "'-1", "'@SUM(A1)", "'\tx", "' =1", "a,\"b\"\nc", "ordinary", "Ada Lovelace",
            "Alan Turing",
        }  # fmt: skip
        assert (await house.ask("GET", "/book/tables/jf_storage/export")).json()["code"] == "table-not-found"
        other = await house.ask("GET", "/book/tables/people/export", house.rival)
        assert other.text == "", "of the neighbour's rows there is nothing"
