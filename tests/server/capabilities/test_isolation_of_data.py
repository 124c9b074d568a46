"""Whatever installations do, each sees and changes its own data alone: random operations, compared with a model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackfield.capabilities import Gate, inventory, purge, set_secrets
from jackfield.capabilities.errors import RowNotFoundError, RowNotUniqueError, SecretNotSetError
from jackfield.data_adapters import EntityNotFoundError
from jackfield.db import Base, Database
from tests.server.capabilities.installations import Installed, host, installed, make_gate

OWNERS = (("acme", "one"), ("acme", "two"), ("globex", "one"), ("globex", "two"))
KEYS = st.sampled_from(["a", "b", "ab"])
VALUES = st.one_of(st.none(), st.integers(-5, 5), st.text("xyz", max_size=3))

STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.just("unset"), KEYS, st.none()),
    st.tuples(st.just("insert"), KEYS, st.integers(0, 3)),
    st.tuples(st.just("change"), st.integers(0, 30), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.integers(0, 30), st.none()),
    st.tuples(st.just("card"), KEYS, st.none()),
    st.tuples(st.just("secret"), st.just("api_key"), st.text("pq", min_size=1, max_size=3)),
    st.tuples(st.just("create"), st.text("AB", min_size=1, max_size=3), st.none()),
    st.tuples(st.just("rename"), st.integers(0, 30), st.text("CD", min_size=1, max_size=3)),
    st.tuples(st.just("delete"), st.integers(0, 30), st.none()),
    st.tuples(st.just("purge"), st.none(), st.none()),
)


@dataclass
class Model:
    """What one installation should see; customers belong to the tenant and are shared by its installations."""

    plugin: Installed
    customers: dict[str, str]
    items: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    cards: set[str] = field(default_factory=set)
    secret: str | None = None


@dataclass
class World:
    """One database for all examples, which use fresh ids, and what has been seen in it so far."""

    runner: asyncio.Runner
    database: Database
    gate: Gate


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("isolation") / "jackfield.sqlite3"
    with asyncio.Runner() as runner:

        async def start() -> World:
            database = Database(f"sqlite+aiosqlite:///{path}")
            async with database.engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await connection.run_sync(host.create_all)
            return World(runner, database, make_gate(database))

        world = runner.run(start())
        yield world
        runner.run(world.database.close())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(range(len(OWNERS))), STEPS), max_size=30))
def test_no_operation_reads_or_writes_what_is_anothers(
    world: World, steps: list[tuple[int, tuple[str, Any, Any]]]
) -> None:
    world.runner.run(play(world, steps))


async def play(world: World, steps: list[tuple[int, tuple[str, Any, Any]]]) -> None:
    run = uuid4().hex[:8]
    shared: dict[str, dict[str, str]] = {}
    models = [
        Model(installed(world.gate, f"{tenant}-{run}", f"{name}-{tenant}-{run}"), shared.setdefault(tenant, {}))
        for tenant, name in OWNERS
    ]
    for owner, step in steps:
        await take(world, models, models[owner], *step)
    for model in models:
        await compare(world, model)


async def take(world: World, models: list[Model], model: Model, kind: str, first: Any, second: Any) -> None:
    """One step. Row and entity ids are taken from those of all installations, so most of them are another's."""
    call = model.plugin.call
    row_ids = sorted(row for each in models for row in each.rows)
    entity_ids = sorted({entity for each in models for entity in each.customers})
    match kind:
        case "set":
            await call("storage", "set", key=first, value=second)
            model.items[first] = second
        case "unset":
            assert await call("storage", "delete", key=first) is (first in model.items)
            model.items.pop(first, None)
        case "insert":
            row = await call("tables", "insert", table="ledger", row={"customer": first, "points": second})
            model.rows[row["id"]] = row
        case "change" if row_ids:
            id = row_ids[first % len(row_ids)]
            try:
                row = await call("tables", "update", table="ledger", id=id, changes={"points": second})
            except RowNotFoundError:
                assert id not in model.rows
            else:
                model.rows[id]["points"] = second
                assert row == model.rows[id]
        case "remove" if row_ids:
            id = row_ids[first % len(row_ids)]
            assert await call("tables", "delete", table="ledger", id=id) is (id in model.rows)
            model.rows.pop(id, None)
        case "card":
            try:
                await call("tables", "insert", table="cards", row={"number": first, "shop": 1})
            except RowNotUniqueError:
                assert first in model.cards
            model.cards.add(first)
        case "secret":
            context = model.plugin.context
            async with world.database.write(context.tenant_id) as session:
                await set_secrets(session, context.tenant_id, context.installation_id, context.slug, {first: second})
            model.secret = second
        case "create":
            entity = await call("data", "create", entity="customers", values={"name": first})
            model.customers[str(entity["id"])] = first
        case "rename" if entity_ids:
            id = entity_ids[first % len(entity_ids)]
            try:
                await call("data", "update", entity="customers", id=id, changes={"name": second})
            except EntityNotFoundError:
                assert id not in model.customers
            else:
                model.customers[id] = second
        case "delete" if entity_ids:
            id = entity_ids[first % len(entity_ids)]
            assert await call("data", "delete", entity="customers", id=id) is (id in model.customers)
            model.customers.pop(id, None)
        case "purge":
            async with world.database.write(model.plugin.context.tenant_id) as session:
                await purge(session, model.plugin.context.installation_id)
            model.items, model.rows, model.cards, model.secret = {}, {}, set(), None


async def compare(world: World, model: Model) -> None:
    """Through every way of reading, an installation sees what it should, and nothing else."""
    call = model.plugin.call
    assert await call("storage", "keys") == sorted(model.items)
    for key in ("a", "b", "ab"):
        assert await call("storage", "get", key=key) == {"found": key in model.items, "value": model.items.get(key)}
    rows = await call("tables", "find", table="ledger", order=["id"])
    assert {row["id"]: row for row in rows} == model.rows
    assert await call("tables", "count", table="ledger") == len(model.rows)
    found = await call("tables", "find", table="ledger", where=[["points", "gte", 2]])
    assert {row["id"] for row in found} == {id for id, row in model.rows.items() if row["points"] >= 2}
    cards = await call("tables", "find", table="cards")
    assert {card["number"] for card in cards} == model.cards
    listed = await call("data", "list", entity="customers", limit=1000)
    assert {str(entity["id"]): entity["name"] for entity in listed} == model.customers
    assert await call("data", "count", entity="customers") == len(model.customers)
    try:
        assert await call("secrets", "reveal", name="api_key") == model.secret
    except SecretNotSetError:
        assert model.secret is None
    async with world.database.read(model.plugin.context.tenant_id) as session:
        counts = await inventory(session, model.plugin.context.installation_id)
    assert (counts["storage_keys"], counts["table_rows"]) == (len(model.items), len(model.rows) + len(model.cards))


async def test_an_id_of_another_is_as_unknown_as_one_that_nobody_has(gate: Gate) -> None:
    mine, theirs = installed(gate, "acme", "inst_a"), installed(gate, "globex", "inst_b")
    row = (await theirs.call("tables", "insert", table="ledger", row={"customer": "c"}))["id"]
    entity = str((await theirs.call("data", "create", entity="customers", values={"name": "A"}))["id"])
    for known, unknown in ((row, "row_0"), (entity, "999999")):
        for capability, place in (("tables", {"table": "ledger"}), ("data", {"entity": "customers"})):
            answers = [await mine.call(capability, "get", **place, id=id) for id in (known, unknown)]
            answers += [await mine.call(capability, "delete", **place, id=id) for id in (known, unknown)]
            assert answers == [None, None, False, False]
    assert (await theirs.call("tables", "get", table="ledger", id=row))["customer"] == "c"


async def test_an_installation_id_under_another_tenant_finds_nothing(gate: Gate) -> None:
    theirs = installed(gate, "globex", "inst_x")
    await theirs.call("storage", "set", key="k", value=1)
    row = await theirs.call("tables", "insert", table="ledger", row={"customer": "c"})
    # It cannot happen. If it did, both ids would have to be right.
    confused = installed(gate, "acme", "inst_x")
    assert (await confused.call("storage", "get", key="k"))["found"] is False
    assert await confused.call("storage", "keys") == []
    assert await confused.call("storage", "delete", key="k") is False
    assert await confused.call("tables", "get", table="ledger", id=row["id"]) is None
    assert await confused.call("tables", "find", table="ledger") == []
    assert await confused.call("tables", "delete", table="ledger", id=row["id"]) is False
