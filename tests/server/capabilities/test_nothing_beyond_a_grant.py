"""Two tenants, random grants with random row filters, random operations of every capability, on both databases.

All that is written carries the mark of its writer. So no answer may ever hold the mark of somebody else, nothing that
is refused may leave a trace, and nothing outside of what a grant covers may change.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from jackfield.capabilities import Gate
from jackfield.db import Base, Database
from jackfield.db.migrate import load_models
from jackfield.errors import JackfieldError
from tests.postgres import Postgres
from tests.server.capabilities.installations import Installed, customers, host, installed, make_gate, manifest
from tests.server.conftest import create_all

OWNERS = (("acme", "one"), ("acme", "two"), ("globex", "one"), ("globex", "two"))
EVERYTHING = (
    "storage", "tables", "files", "cache", "log", "customers:read", "customers:write", "events:loyalty.*",
    "secrets:api_key",
)  # fmt: skip
RED = [["email", "eq", "red"]]
BLUE = [{"or": [["email", "eq", "blue"], ["email", "eq", None]]}]

grants = st.builds(
    lambda withheld, filters: (
        frozenset(EVERYTHING) - withheld,
        {name: where for name, where in filters.items() if name not in withheld},
    ),
    st.frozensets(st.sampled_from(EVERYTHING), max_size=5),
    st.dictionaries(st.sampled_from(["customers:read", "customers:write"]), st.sampled_from([RED, BLUE])),
)
places = st.integers(0, 40)
colours = st.sampled_from(["red", "blue", None])
keys = st.sampled_from(["a", "b"])
wheres = st.sampled_from(
    [
        [], [["name", "like", "%"]], [{"not": ["email", "eq", "red"]}],
        [{"or": [["email", "ne", "red"], ["email", "eq", "red"], ["id", "gte", 0]]}],
    ]
)  # fmt: skip
steps = st.one_of(
    st.tuples(st.just("storage"), st.sampled_from(["set", "get", "delete", "keys", "items", "increment"]), keys, keys),
    st.tuples(
        st.just("tables"),
        st.sampled_from(["insert", "get", "update", "delete", "find", "count", "insert_many", "aggregate"]),
        places,
        wheres,
    ),
    st.tuples(
        st.just("data"),
        st.sampled_from(
            ["create", "get", "update", "delete", "list", "count", "aggregate", "create_many", "update_many", "schema"]
        ),
        places,
        st.tuples(colours, wheres),
    ),
    st.tuples(st.just("files"), st.sampled_from(["write", "read", "list", "delete", "stat"]), keys, keys),
    st.tuples(st.just("cache"), st.sampled_from(["set", "get", "delete"]), keys, keys),
    st.tuples(st.just("events"), st.just("emit"), places, keys),
    st.tuples(st.just("secrets"), st.just("reveal"), keys, keys),
)
NEEDS = {
    "storage": "storage", "tables": "tables", "files": "files", "cache": "cache", "events": "events:loyalty.*",
    "secrets": "secrets:api_key",
}  # fmt: skip
_READING = {"get", "list", "count", "aggregate", "schema"}


@dataclass
class World:
    """One database for all examples, which use fresh tenants."""

    runner: asyncio.Runner
    database: Database
    gate: Gate


@dataclass
class Actor:
    """One installation, and the mark that all of its writing carries."""

    plugin: Installed
    mark: str
    tenant_mark: str
    rows: list[str] = field(default_factory=list)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # Before there is a loop: the server's own fixture runs one.
    postgres: Postgres | None = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        database = runner.run(stack.enter_async_context(_database(postgres, tmp_path_factory.mktemp("grants"))))
        yield World(runner, database, make_gate(database))
        runner.run(stack.aclose())


@asynccontextmanager
async def _database(postgres: Postgres | None, folder: Path) -> AsyncIterator[Database]:
    if postgres is None:
        database = Database(f"sqlite+aiosqlite:///{folder / 'jackfield.sqlite3'}")
        load_models()
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(host.create_all)
        yield database
        await database.close()
        return
    name = await postgres.create(await postgres.template("all-tables", create_all))
    database = Database(postgres.url(name))
    async with database.engine.begin() as connection:
        await connection.run_sync(host.create_all)
    yield database
    await database.close()
    await postgres.drop(name)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    held=st.lists(grants, min_size=4, max_size=4),
    played=st.lists(st.tuples(st.integers(0, 3), steps), min_size=15, max_size=60),
)
def test_nothing_crosses_a_tenant_or_goes_beyond_a_grant(
    world: World, held: list[tuple[frozenset[str], dict[str, Any]]], played: list[tuple[int, Any]]
) -> None:
    world.runner.run(play(world, held, played))


async def play(world: World, held: list[tuple[frozenset[str], dict[str, Any]]], played: list[tuple[int, Any]]) -> None:
    run = uuid4().hex[:8]
    actors: list[Actor] = []
    for (tenant, name), (given_grants, filters) in zip(OWNERS, held, strict=True):
        plugin = installed(world.gate, f"{tenant}-{run}", f"inst_{tenant}{name}{run}", grants=given_grants)
        context = dataclasses.replace(plugin.context, grant_filters=filters)
        mark = f"<{tenant}/{name}/{run}>"
        actors.append(Actor(Installed(world.gate, context), mark, f"<{tenant}#{run}>"))
    await seed(world, actors, run)
    for owner, step in played:
        await take(world, actors, actors[owner], *step)


async def seed(world: World, actors: list[Actor], run: str) -> None:
    """A customer of each colour in each tenant, and a row, a key and a file of each installation."""
    everything = [Actor(actor.plugin.holding(EVERYTHING), actor.mark, actor.tenant_mark) for actor in actors]
    for actor in everything:
        actor.plugin.context = dataclasses.replace(actor.plugin.context, grant_filters={})
        await actor.plugin.call("storage", "set", key="a", value=actor.mark)
        row = await actor.plugin.call("tables", "insert", table="ledger", row={"customer": actor.mark})
        for each in actors:
            each.rows.append(row["id"])
    for actor in (everything[0], everything[2]):
        for colour in ("red", "blue", None):
            await actor.plugin.call(
                "data", "create", entity="customers", values={"name": actor.tenant_mark, "email": colour}
            )


async def take(world: World, actors: list[Actor], actor: Actor, capability: str, operation: str, *more: Any) -> None:
    before = await entities(world, actors)
    arguments = await arguments_of(world, actors, actor, capability, operation, *more)
    try:
        answer = await actor.plugin.send(capability, operation, msgspec.msgpack.encode(arguments))
    except JackfieldError as error:
        answer = str(error)
        is_refused = True
    else:
        is_refused = False
    check_answer(actors, actor, answer)
    needed = f"customers:{'read' if operation in _READING else 'write'}" if capability == "data" else NEEDS[capability]
    if not is_refused and operation != "schema":
        assert needed in actor.plugin.context.grants, f"{capability}.{operation} took place without {needed}"
    check_entities(actor, before, await entities(world, actors), is_refused=is_refused)
    if capability == "data" and operation in ("get", "list") and not is_refused and answer:
        rows = [answer] if operation == "get" else answer["rows"] if isinstance(answer, dict) else answer
        assert all(is_within(actor, "customers:read", row["email"]) for row in rows)


async def arguments_of(
    world: World, actors: list[Actor], actor: Actor, capability: str, operation: str, *more: Any
) -> dict[str, Any]:
    first, second = more
    match capability:
        case "storage":
            return {
                "set": {"key": first, "value": actor.mark}, "get": {"key": first}, "delete": {"key": first},
                "keys": {"prefix": ""}, "items": {"prefix": ""}, "increment": {"key": "n", "by": 1},
            }[operation]  # fmt: skip
        case "tables":
            row = {"customer": actor.mark}
            id = actor.rows[first % len(actor.rows)]
            return {"table": "ledger"} | {
                "insert": {"row": row}, "get": {"id": id}, "update": {"id": id, "changes": row}, "delete": {"id": id},
                "find": {}, "count": {}, "insert_many": {"rows": [row, row]},
                "aggregate": {"measures": {"n": ["count", None]}, "group_by": ["customer"]},
            }[operation]  # fmt: skip
        case "data":
            colour, where = second
            everybody = [row.id for rows in (await entities(world, actors)).values() for row in rows.values()]
            id = str(sorted(everybody)[first % len(everybody)]) if everybody else "1"
            values = {"name": actor.tenant_mark, "email": colour}
            return {"entity": "customers"} | {
                "create": {"values": values}, "get": {"id": id}, "update": {"id": id, "changes": values},
                "delete": {"id": id}, "list": {"where": where, "limit": 1000}, "count": {"where": where},
                "aggregate": {"measures": {"n": ["count", None]}, "where": where, "group_by": ["name"]},
                "create_many": {"rows": [values, {**values, "email": "red"}]},
                "update_many": {"changes": [{"id": id, "changes": values}]}, "schema": {},
            }[operation]  # fmt: skip
        case "files":
            return {
                "write": {"path": first, "data": actor.mark.encode(), "content_type": "text/plain"},
                "read": {"path": first}, "list": {"prefix": ""}, "delete": {"path": first}, "stat": {"path": first},
            }[operation]  # fmt: skip
        case "cache":
            return {"set": {"key": first, "value": actor.mark}}.get(operation, {"key": first})
        case "events":
            return {"name": "loyalty.awarded", "payload": {"points": first}}
        case _:
            return {"name": "api_key"}


def check_answer(actors: list[Actor], actor: Actor, answer: Any) -> None:
    """Nobody else's mark is in it."""
    told = repr(answer)
    for other in actors:
        if other is not actor:
            assert other.mark not in told
        if other.tenant_mark != actor.tenant_mark:
            assert other.tenant_mark not in told


async def entities(world: World, actors: list[Actor]) -> dict[str, dict[int, Any]]:
    """Every customer of both tenants, as the database has them."""
    found: dict[str, dict[int, Any]] = {}
    for tenant_id in {actor.plugin.context.tenant_id for actor in actors}:
        async with world.database.read(tenant_id) as session:
            rows = await session.execute(select(customers).where(customers.c.tenant_id == tenant_id))
            found[tenant_id] = {row.id: row for row in rows}
    return found


def check_entities(
    actor: Actor, before: dict[str, dict[int, Any]], after: dict[str, dict[int, Any]], *, is_refused: bool
) -> None:
    """Only the tenant's own have changed, only where the grant to write reaches, and nothing when it was refused."""
    for tenant_id, old in before.items():
        new = after[tenant_id]
        touched = {id for id in old.keys() | new.keys() if old.get(id) != new.get(id)}
        if tenant_id != actor.plugin.context.tenant_id or is_refused:
            assert not touched
        for id in touched:
            for row in (old.get(id), new.get(id)):
                assert row is None or is_within(actor, "customers:write", row.email)


def is_within(actor: Actor, permission: str, colour: str | None) -> bool:
    where = actor.plugin.context.grant_filters.get(permission)
    return where is None or (colour == "red" if where == RED else colour in ("blue", None))


def test_the_manifest_of_all_this_is_one() -> None:
    assert manifest().slug == "loyalty"
