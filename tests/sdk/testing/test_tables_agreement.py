"""Tables of the fake platform and of the real one answer alike, operation by operation, to whatever is asked."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from shutil import copyfile
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

import jackfield_sdk as jf
from jackfield.capabilities import CapabilityContext, Gate, Vault
from jackfield.capabilities import rows as real_rows
from jackfield.capabilities.vault import parse_keys
from jackfield.data_adapters import SqlAdapter
from jackfield.db import Base, Database
from jackfield.db.migrate import load_models
from jackfield.errors import JackfieldError
from jackfield_sdk import wire
from jackfield_sdk.testing.broker import Broker
from jackfield_sdk.testing.memory import Tables
from tests.postgres import Postgres
from tests.server.capabilities.installations import KEYS, SURFACE
from tests.server.conftest import create_all

plugin = jf.Plugin("shop", version="1.0.0")


@plugin.table("people", unique=[["mail"]], indexes=[["age"], ["city", "age"]])
class Person:
    mail: str | None = None
    age: int | float | None = None
    city: str | bool | int | None = "here"


@plugin.table(
    "orders",
    indexes=[["total", "state"]],
    unique=[["person", "number"]],
    references={"person": "people", "part_of": "orders", "seen_by": "people"},
    on_delete={"part_of": "cascade", "seen_by": "set_null"},
)
class Order:
    person: str
    number: int = 1
    total: float = 0.0
    state: str = "open"
    part_of: str | None = None
    seen_by: str | None = None


MANIFEST = plugin.manifest()
TYPES = {table.name: plugin.table_type(table.name) for table in MANIFEST.tables}


class Twins:
    """The same installation twice. Ids differ, so each side's are told by their order of appearance."""

    def __init__(self, gate: Gate, installation: str) -> None:
        self.real = CapabilityContext("acme", installation, "shop", MANIFEST, frozenset({"tables"}))
        self.gate = gate
        self.fake = Broker(MANIFEST, {"tables"}, Tables(MANIFEST.tables, TYPES), {})
        self.ids: list[tuple[str, str]] = []

    async def ask(self, operation: str, arguments: dict[str, Any]) -> Any:
        """The answer of both, or the code of their refusal.

        In arguments, `#3` stands for the fourth id that was given out.
        """
        here = self._fake(operation, self._with_ids(arguments, 1))
        there = await self._real(operation, self._with_ids(arguments, 0))
        return await self._compare(here, there)

    async def _compare(self, here: Any, there: Any) -> Any:
        self._learn(there, here)
        assert self._without_ids(there, 0) == self._without_ids(here, 1)
        return here

    def _fake(self, operation: str, arguments: dict[str, Any]) -> Any:
        reply = self.fake.answer(wire.HostCall(1, "tables", operation, msgspec.Raw(wire.encode(arguments))))
        return {"code": reply.failure.code} if reply.failure else msgspec.msgpack.decode(reply.value)

    async def _real(self, operation: str, arguments: dict[str, Any]) -> Any:
        try:
            return msgspec.msgpack.decode(
                await self.gate.call(self.real, "tables", operation, msgspec.msgpack.encode(arguments))
            )
        except JackfieldError as error:
            return {"code": error.code}

    def _with_ids(self, value: Any, side: int) -> Any:
        if isinstance(value, str) and value.startswith("#"):
            number = int(value[1:])
            return self.ids[number % len(self.ids)][side] if self.ids else "row_none"
        if isinstance(value, dict):
            return {key: self._with_ids(item, side) for key, item in value.items()}
        return [self._with_ids(item, side) for item in value] if isinstance(value, list) else value

    def _without_ids(self, value: Any, side: int) -> Any:
        if isinstance(value, str):
            places = [number for number, pair in enumerate(self.ids) if pair[side] == value]
            return f"#{places[0]}" if places else value
        if isinstance(value, dict):
            return {key: self._without_ids(item, side) for key, item in value.items() if key != "cursor"}
        return [self._without_ids(item, side) for item in value] if isinstance(value, list) else value

    def _learn(self, there: Any, here: Any) -> None:
        """Ids that are new."""
        if isinstance(there, list) and isinstance(here, list):
            for one, other in zip(there, here, strict=False):
                self._learn(one, other)
        elif isinstance(there, dict) and isinstance(here, dict):
            for key in there.keys() & here.keys():
                if key == "id" and there[key] not in [pair[0] for pair in self.ids]:
                    self.ids.append((there[key], here[key]))
                else:
                    self._learn(there[key], here[key])


NAMES = st.sampled_from(["mail", "age", "city"])
VALUES = st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from([0.5, 1.0, -1.5]) | st.sampled_from("abc")
LEAVES = st.tuples(NAMES, st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"]), VALUES).map(list) | st.tuples(
    NAMES, st.just("in"), st.lists(VALUES, max_size=3)
).map(list)
NODES = st.recursive(
    LEAVES,
    lambda inner: (
        st.fixed_dictionaries({"or": st.lists(inner, max_size=2)})
        | st.fixed_dictionaries({"and": st.lists(inner, max_size=2)})
        | st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=4,
)
WHERE = st.lists(NODES, max_size=2)
ORDER = st.lists(st.sampled_from(["age", "-age", "city", "-city", "mail", "id"]), max_size=2)
IDS = st.integers(0, 9).map(lambda number: f"#{number}")
PERSON = st.fixed_dictionaries(
    {},
    optional={
        "mail": st.none() | st.sampled_from(["a", "b", "c"]),
        "age": st.none() | st.integers(-2, 3) | st.sampled_from([0.5, 1.0]),
        "city": VALUES.filter(lambda value: not isinstance(value, float)),
    },
)
ORDER_ROW = st.fixed_dictionaries(
    {"person": IDS},
    optional={
        "number": st.integers(1, 2), "total": st.floats(0, 3), "state": st.sampled_from(["open", "paid"]),
        "part_of": st.none() | IDS, "seen_by": st.none() | IDS,
    },
)  # fmt: skip
STEPS = st.one_of(
    st.fixed_dictionaries({"op": st.just("insert"), "table": st.just("people"), "values": PERSON}),
    st.fixed_dictionaries(
        {
            "op": st.just("insert"), "table": st.just("orders"),
            "values": st.fixed_dictionaries({"person": st.just({"$step": 0})}, optional={"number": st.integers(1, 2)}),
        }
    ),
    st.fixed_dictionaries({"op": st.just("delete"), "table": st.just("people"), "id": IDS}),
    st.fixed_dictionaries({"op": st.just("update"), "table": st.just("people"), "id": IDS, "values": PERSON}),
    st.fixed_dictionaries(
        {"op": st.just("upsert"), "table": st.just("people"), "values": PERSON, "unique": st.just(["mail"])}
    ),
)  # fmt: skip


def people(**more: Any) -> Any:
    return st.fixed_dictionaries({"table": st.just("people"), **more})


CALLS = st.one_of(
    st.tuples(st.just("insert"), people(row=PERSON)),
    st.tuples(st.just("insert"), st.fixed_dictionaries({"table": st.just("orders"), "row": ORDER_ROW})),
    st.tuples(st.just("insert_many"), people(rows=st.lists(PERSON, max_size=3))),
    st.tuples(st.just("update"), people(id=IDS, changes=PERSON, expected=PERSON)),
    st.tuples(
        st.just("update"), st.fixed_dictionaries({"table": st.just("orders"), "id": IDS, "changes": ORDER_ROW})
    ),
    st.tuples(st.just("update_many"), people(where=WHERE, changes=PERSON)),
    st.tuples(st.just("upsert"), people(unique=st.sampled_from([["mail"], ["age"]]), row=PERSON)),
    st.tuples(st.just("delete"), people(id=IDS)),
    st.tuples(st.just("delete_many"), people(where=WHERE)),
    st.tuples(st.just("delete_many"), st.fixed_dictionaries({"table": st.just("orders"), "where": st.just([])})),
    st.tuples(st.just("transaction"), st.fixed_dictionaries({"steps": st.lists(STEPS, min_size=1, max_size=4)})),
    st.tuples(st.just("count"), people(where=WHERE)),
    st.tuples(st.just("find"), people(where=WHERE, order=ORDER)),
    st.tuples(
        st.just("aggregate"),
        people(
            where=WHERE,
            measures=st.just(
                {
                    "n": ["count", None], "ages": ["count", "age"], "sum": ["sum", "age"], "avg": ["avg", "age"],
                    "least": ["min", "city"], "most": ["max", "city"],
                }
            ),
            group_by=st.sampled_from([[], ["city"], ["age", "city"]]),
            order=st.sampled_from([[], ["-sum"], ["n"]]),
        ),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    load_models()
    path = tmp_path_factory.mktemp("twins") / "template.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALLS, min_size=8, max_size=30))
def test_both_answer_alike_whatever_is_done_in_whatever_order(
    template: Path, tmp_path: Path, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    path = tmp_path / "twins.sqlite3"
    for old in tmp_path.glob("twins.sqlite3*"):
        old.unlink()
    copyfile(template, path)
    asyncio.run(compare(f"sqlite+aiosqlite:///{path}", "inst_twin", calls))


@pytest.fixture(scope="module")
def postgres_url(postgres: Postgres) -> str:
    async def make() -> str:
        return postgres.url(await postgres.create(await postgres.template("all-tables", create_all)))

    return asyncio.run(make())


_runs = itertools.count(1)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALLS, min_size=8, max_size=30))
def test_so_they_do_on_postgresql(postgres_url: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    asyncio.run(compare(postgres_url, f"inst_{next(_runs)}", calls))


async def compare(url: str, installation: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    numbers = itertools.count(1)
    with pytest.MonkeyPatch.context() as patch:
        # Ids of one millisecond are in no order.
        patch.setattr(real_rows, "next_id", lambda kind: f"{kind}_{next(numbers):08}")
        await _compare(url, installation, calls)


async def _compare(url: str, installation: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    database = Database(url)
    try:
        twins = Twins(Gate(database, Vault(parse_keys(KEYS)), SqlAdapter(database, SURFACE)), installation)
        for operation, arguments in calls:
            await twins.ask(operation, arguments)
        for order in ([], ["age"], ["-city", "age"]):
            rows: list[Any] = []
            cursors: list[str | None] = [None, None]
            while True:
                asked = {"table": "people", "order": order, "limit": 2}
                here = twins._fake("page", {**asked, "cursor": cursors[1]})
                there = await twins._real("page", {**asked, "cursor": cursors[0]})
                await twins._compare(here, there)
                rows += here["rows"]
                cursors = [there["cursor"], here["cursor"]]
                assert (cursors[0] is None) == (cursors[1] is None)
                if cursors[0] is None:
                    break
            whole = twins._fake("find", {"table": "people", "order": order, "limit": 1000})
            assert rows == whole
    finally:
        await database.close()
