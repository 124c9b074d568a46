"""`ctx.data` is the same on the fake platform and on the real one: each test runs on both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table

from jackfield.capabilities import CapabilityContext, Gate, Vault
from jackfield.capabilities.vault import parse_keys
from jackfield.data_adapters import SqlAdapter
from jackfield.db import Base, Database
from jackfield.db.migrate import load_models
from jackfield.errors import JackfieldError
from jackfield.surface import Entity, Surface
from jackfield_sdk import CapabilityError, wire
from jackfield_sdk.capabilities import Data
from jackfield_sdk.manifest import parse_manifest
from jackfield_sdk.testing.broker import Broker
from jackfield_sdk.testing.memory import Tables
from tests.server.capabilities.installations import KEYS

MANIFEST = parse_manifest({"slug": "tried", "version": "1.0.0", "name": "Tried"})
host = MetaData()
_FIELDS = ("name", "city", "points", "rate", "vip")
customers = Table(
    "agreed_customers",
    host,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("name", String(40)),
    Column("city", String(40)),
    Column("points", Integer),
    Column("rate", Float),
    Column("vip", Boolean),
)


class FakeSide:
    """The broker of the fake platform."""

    def __init__(self) -> None:
        self.broker = Broker(MANIFEST, {"customers:read", "customers:write"}, Tables([], {}), {})

    def grant(self, *grants: str) -> None:
        self.broker.grants.clear()
        self.broker.grants.update(grants)

    def call(self, capability: str, operation: str, arguments: dict[str, Any]) -> Any:
        raw = msgspec.Raw(wire.encode(arguments))
        reply = self.broker.answer(wire.HostCall(1, capability, operation, raw))
        if reply.failure is not None:
            raise CapabilityError(reply.failure.message, code=reply.failure.code, hint=reply.failure.hint)
        return msgspec.msgpack.decode(reply.value)

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class RealSide:
    """The gate over a real database, in a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._gate = self._run(self._open(f"sqlite+aiosqlite:///{folder / 'agreed.sqlite3'}"))
        self.grant("customers:read", "customers:write")

    async def _open(self, url: str) -> Gate:
        load_models()
        self._database = Database(url)
        async with self._database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(host.create_all)
        surface = Surface(entities=[Entity("customers", customers, readable=("id", *_FIELDS), writable=_FIELDS)])
        return Gate(self._database, Vault(parse_keys(KEYS)), SqlAdapter(self._database, surface))

    def grant(self, *grants: str) -> None:
        self._context = CapabilityContext("acme", "inst_a", "tried", MANIFEST, frozenset(grants))

    def call(self, capability: str, operation: str, arguments: dict[str, Any]) -> Any:
        try:
            answer = self._run(self._gate.call(self._context, capability, operation, wire.encode(arguments)))
        except JackfieldError as error:
            raise CapabilityError(str(error), code=error.code, hint=error.hint) from error
        return msgspec.msgpack.decode(answer)

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        self._run(self._database.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(30)


Side = FakeSide | RealSide


@pytest.fixture(params=["fake", "real"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Side]:
    side: Side = FakeSide() if request.param == "fake" else RealSide(tmp_path)
    yield side
    side.close()


@pytest.fixture
def data(side: Side) -> Data:
    return Data(side)


@pytest.fixture
def ids(data: Data) -> dict[str, str]:
    """Four customers, and their keys by name."""
    rows = data["customers"].create_many(
        [
            {"name": "Ada", "city": "Oslo", "points": 5, "rate": 0.5, "vip": True},
            {"name": "Bob", "city": "Bergen", "points": None, "rate": None, "vip": None},
            {"name": "Cyd", "city": "Oslo", "points": 9, "rate": 1.5, "vip": False},
            {"name": "Dot", "city": "Bodø", "points": 5, "rate": 1.0, "vip": False},
        ]
    )
    return {row["name"]: str(row["id"]) for row in rows}


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(CapabilityError) as caught:
        action()
    assert str(caught.value)
    return caught.value.code


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    ("where", "found"),
    [
        (None, "Ada Bob Cyd Dot"),
        ({"city": "Oslo"}, "Ada Cyd"),
        ({"city": "Oslo", "points": 5}, "Ada"),
        ([("points", "gte", 5), {"or": [("city", "eq", "Bodø"), {"not": ("vip", "eq", False)}]}], "Ada Dot"),
        ([{"not": ("points", "gt", 5)}], "Ada Bob Dot"),
        ([{"not": {"or": [("points", "eq", None), ("city", "like", "o%")]}}], "Dot"),
        ({"or": [("city", "eq", "Bergen"), ("points", "eq", 9)]}, "Bob Cyd"),
        ([{"or": [{"name": "Ada", "points": 9}, {"name": "Bob"}]}], "Bob"),
        ([("points", "in", [9, None])], "Bob Cyd"),
        ([("name", "like", "%o_")], "Bob Dot"),
        ([{"or": []}], ""),
        ([{"and": []}], "Ada Bob Cyd Dot"),
    ],
)
def test_conditions(data: Data, where: Any, found: str) -> None:
    assert names(data["customers"].list(where, order="name")) == found.split()
    assert data["customers"].count(where) == len(found.split())
    assert names(list(data["customers"].query(where, order="name", page=2))) == found.split()


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    "where",
    [
        [("points", "in", 5)], [("points", "gt", None)], [("name", "like", "x\\")], [("name", "like", 5)],
        [{"and": [], "or": []}], [("points", "eq", [1])],
    ],
)  # fmt: skip
def test_comparisons_that_make_no_sense(data: Data, where: Any) -> None:
    wanted = [dict(node) if isinstance(node, dict) else list(node) for node in where]
    call = {"entity": "customers", "where": wanted}
    assert code_of(lambda: data._host.call("data", "list", call)) == "comparison-invalid"


def test_too_many_conditions_and_too_deep(data: Data) -> None:
    many = [{"or": [("points", "eq", number) for number in range(65)]}]
    assert code_of(lambda: data["customers"].count(many)) == "comparison-invalid"
    deep: Any = ("points", "eq", 1)
    for _ in range(9):
        deep = {"not": deep}
    assert code_of(lambda: data["customers"].count([deep])) == "comparison-invalid"
    assert code_of(lambda: data._host.call("data", "count", {"entity": "customers", "where": [{"nor": []}]})) == (
        "arguments-invalid"
    )


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize("order", [[], ["points"], ["-points", "name"], ["-city", "-points"], ["vip", "-id"]])
def test_pages_have_everything_once(data: Data, order: list[str]) -> None:
    whole = data["customers"].list(order=order)
    page = data["customers"].page(order=order, limit=3)
    assert page.rows == whole[:3]
    assert data["customers"].page(order=order, limit=3, cursor=page.cursor) == (whole[3:], None)
    assert data["customers"].list(order=order, limit=3, cursor=page.cursor) == whole[3:]
    assert data["customers"].list(order=order, limit=2, offset=1) == whole[1:3]


def test_a_page_goes_on_where_a_deleted_row_was(data: Data, ids: dict[str, str]) -> None:
    page = data["customers"].page(order="name", limit=2)
    data["customers"].delete(ids["Bob"])
    data["customers"].create(name="Abe")
    assert names(data["customers"].page(order="name", limit=9, cursor=page.cursor).rows) == ["Cyd", "Dot"]
    for attempt in (
        lambda: data["customers"].page(order="-name", cursor=page.cursor),
        lambda: data["customers"].page({"city": "Oslo"}, order="name", cursor=page.cursor),
        lambda: data["customers"].page(order="name", cursor="nonsense"),
    ):
        assert code_of(attempt) == "cursor-mismatch"


def test_figures(data: Data, ids: dict[str, str]) -> None:
    entity = data["customers"]
    measures: dict[str, Any] = {
        "n": "count", "held": ("count", "points"), "sum": ("sum", "points"), "mean": ("avg", "rate"),
        "least": ("min", "points"), "last": ("max", "name"),
    }  # fmt: skip
    assert entity.aggregate(measures) == [
        {"n": 4, "held": 3, "sum": 19, "mean": 1.0, "least": 5, "last": "Dot"}
    ]  # fmt: skip
    assert entity.aggregate({"n": "count", "sum": ("sum", "points")}, {"name": "Nobody"}) == [{"n": 0, "sum": None}]
    assert entity.aggregate({"n": "count"}, {"name": "Nobody"}, group_by="city") == []
    assert entity.aggregate({"n": "count"}, group_by="city", order=["-n", "-city"], limit=2) == [
        {"city": "Oslo", "n": 2}, {"city": "Bodø", "n": 1}
    ]  # fmt: skip
    assert entity.aggregate({"n": "count"}, group_by=["vip"]) == [
        {"vip": None, "n": 1}, {"vip": False, "n": 2}, {"vip": True, "n": 1}
    ]  # fmt: skip
    assert code_of(lambda: entity.aggregate({"x": ("sum", "name")})) == "comparison-invalid"
    assert code_of(lambda: entity.aggregate({"x": ("avg", None)})) == "comparison-invalid"
    assert code_of(lambda: entity.aggregate({"x": ("mode", "points")})) == "arguments-invalid"
    assert code_of(lambda: entity.aggregate({})) == "arguments-invalid"
    assert code_of(lambda: entity.aggregate({"x": "count"}, order="y")) == "field-refused"


def test_many_at_once_all_or_none(data: Data, ids: dict[str, str]) -> None:
    entity = data["customers"]
    changed = entity.update_many([(ids["Ada"], {"points": 1}), (ids["Bob"], {"points": 2}, {"points": None})])
    assert [row["points"] for row in changed] == [1, 2]
    assert code_of(lambda: entity.update_many([(ids["Ada"], {"points": 7}), ("99", {"points": 7})])) == (
        "entity-not-found"
    )
    assert code_of(
        lambda: entity.update_many([(ids["Ada"], {"points": 7}), (ids["Bob"], {"points": 7}, {"points": 0})])
    ) == ("entity-changed")
    assert entity.count({"points": 7}) == 0
    assert code_of(lambda: entity.create_many([{"name": "Eve"}, {"id": "5"}])) == "field-refused"
    assert entity.count() == 4
    assert code_of(lambda: entity.create_many([{}] * 101)) == "arguments-invalid"
    assert entity.create_many([]) == []


def test_expectations(data: Data, ids: dict[str, str]) -> None:
    entity = data["customers"]
    ada = entity.get(ids["Ada"])
    assert ada is not None
    entity.update(ids["Ada"], expected=ada, points=6)
    assert code_of(lambda: entity.update(ids["Ada"], expected=ada, points=7)) == "entity-changed"
    assert code_of(lambda: entity.delete(ids["Ada"], expected={"points": 5})) == "entity-changed"
    assert code_of(lambda: entity.update(ids["Ada"], expected={"vip": 1}, points=7)) == "entity-changed"
    assert entity.delete(ids["Ada"], expected={"points": 6}) is True
    assert entity.delete(ids["Ada"], expected={"points": 6}) is False
    assert code_of(lambda: entity.update(ids["Ada"], points=7)) == "entity-not-found"


def test_who_may_not_read_learns_nothing(side: Side, data: Data, ids: dict[str, str]) -> None:
    side.grant("customers:write")
    entity = data["customers"]
    assert set(entity.create(name="Eve")) == {"id", "name"}
    assert set(entity.update(ids["Ada"], points=7)) == {"id", "points"}
    assert code_of(lambda: entity.update(ids["Ada"], expected={"city": "Oslo"}, points=8)) == "permission-denied"
    assert code_of(lambda: entity.delete(ids["Ada"], expected={"city": "Oslo"})) == "permission-denied"
    for attempt in (
        entity.list, entity.count, entity.page, lambda: entity.get(ids["Ada"]), lambda: entity.aggregate({"n": "count"})
    ):  # fmt: skip
        assert code_of(attempt) == "permission-denied"
    with data.transaction() as tx:
        assert set(tx["customers"].update(ids["Ada"], points=9)) == {"id", "points"}
        assert code_of(lambda: tx["customers"].get(ids["Ada"])) == "permission-denied"
    side.grant("customers:read")
    assert (data["customers"].get(ids["Ada"]) or {})["points"] == 9


def test_the_schema_names_fields_and_features(data: Data, ids: dict[str, str]) -> None:
    schema = data["customers"].schema()
    assert schema["key"] == "id"
    assert {"id", *_FIELDS} == {field["name"] for field in schema["fields"]}
    assert "transactions" in schema["features"]
    assert {key for field in schema["fields"] for key in field} == {
        "name", "schema", "nullable", "readable", "writable", "key", "references"
    }  # fmt: skip


def test_a_transaction_reads_its_own_writes_and_commits_at_its_end(data: Data, ids: dict[str, str]) -> None:
    with data.transaction() as tx:
        eve = tx["customers"].create(name="Eve", points=1)
        tx["customers"].update(str(eve["id"]), points=2)
        assert tx["customers"].get(str(eve["id"])) == {**eve, "points": 2}
        assert tx["customers"].delete(ids["Bob"]) is True
        assert names(tx["customers"].list(order="name")) == ["Ada", "Cyd", "Dot", "Eve"]
        assert tx["customers"].count() == 4
        assert tx["customers"].aggregate({"sum": ("sum", "points")}) == [{"sum": 21}]
        # Others do not see it yet.
        assert names(data["customers"].list(order="name")) == ["Ada", "Bob", "Cyd", "Dot"]
    assert names(data["customers"].list(order="name")) == ["Ada", "Cyd", "Dot", "Eve"]
    assert (data["customers"].get(str(eve["id"])) or {})["points"] == 2


def test_an_error_undoes_a_transaction(data: Data, ids: dict[str, str]) -> None:
    def fail() -> None:
        with data.transaction() as tx:
            tx["customers"].update(ids["Ada"], points=100)
            tx["customers"].create(name="Eve")
            raise CapabilityError("no", code="of-my-own")

    assert code_of(fail) == "of-my-own"
    assert (data["customers"].get(ids["Ada"]) or {})["points"] == 5
    assert data["customers"].count() == 4


def test_a_step_that_fails_leaves_the_others(data: Data, ids: dict[str, str]) -> None:
    with data.transaction() as tx:
        tx["customers"].update(ids["Ada"], points=100)
        assert code_of(lambda: tx["customers"].update("99", points=1)) == "entity-not-found"
        assert code_of(lambda: tx["customers"].update_many([(ids["Cyd"], {"points": 1}), ("99", {})])) == (
            "entity-not-found"
        )
    assert (data["customers"].get(ids["Ada"]) or {})["points"] == 100
    assert (data["customers"].get(ids["Cyd"]) or {})["points"] == 9


@pytest.mark.parametrize("seen", ["get", "list", "count", "nothing"])
def test_what_was_read_must_still_be_true_at_the_end(data: Data, ids: dict[str, str], seen: str) -> None:
    def run() -> None:
        with data.transaction() as tx:
            if seen == "get":
                tx["customers"].get(ids["Cyd"])
            elif seen == "list":
                tx["customers"].list({"city": "Oslo"})
            elif seen == "count":
                tx["customers"].count([("points", "gt", 6)])
            tx["customers"].update(ids["Ada"], points=100)
            data["customers"].update(ids["Cyd"], points=1)

    if seen == "nothing":
        run()
        assert (data["customers"].get(ids["Ada"]) or {})["points"] == 100
        return
    assert code_of(run) == "transaction-conflict"
    assert (data["customers"].get(ids["Ada"]) or {})["points"] == 5


def test_what_was_written_must_not_be_written_by_others(data: Data, ids: dict[str, str]) -> None:
    def run() -> None:
        with data.transaction() as tx:
            tx["customers"].update(ids["Ada"], points=100)
            data["customers"].update(ids["Ada"], city="Moss")

    def later() -> None:
        with data.transaction() as tx:
            tx["customers"].update(ids["Ada"], points=100)
            data["customers"].update(ids["Ada"], city="Narvik")
            tx["customers"].count()

    assert code_of(run) == "transaction-conflict"
    assert code_of(later) == "transaction-conflict"
    assert (data["customers"].get(ids["Ada"]) or {})["points"] == 5


def test_transact_tries_again_after_a_conflict(data: Data, ids: dict[str, str]) -> None:
    attempts: list[int] = []

    def add(tx: Any) -> int:
        points = (tx["customers"].get(ids["Ada"]) or {})["points"] + 1
        tx["customers"].update(ids["Ada"], points=points)
        attempts.append(points)
        if len(attempts) == 1:
            data["customers"].update(ids["Ada"], points=50)
        return points

    assert data.transact(add) == 51
    assert attempts == [6, 51]
    assert (data["customers"].get(ids["Ada"]) or {})["points"] == 51
    attempts.clear()
    assert code_of(lambda: data.transact(add, attempts=1)) == "transaction-conflict"


def test_one_transaction_at_a_time_and_none_without_beginning(data: Data) -> None:
    with data.transaction():
        assert code_of(lambda: data.transaction().__enter__()) == "transaction-state"
    for operation in ("commit",):
        assert code_of(lambda operation=operation: data._host.call("data", operation, {})) == "transaction-state"
    call = {"entity": "customers", "tx": True}
    assert code_of(lambda: data._host.call("data", "count", call)) == "transaction-state"
    with data.transaction() as tx:
        tx["customers"].create(name="Eve")
    assert data["customers"].count() == 1


def test_a_transaction_has_its_length(data: Data) -> None:
    def run() -> None:
        with data.transaction() as tx:
            for _ in range(51):
                tx["customers"].count()

    assert code_of(run) == "transaction-state"
