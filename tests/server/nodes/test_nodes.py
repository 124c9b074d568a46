"""Who works on a database is seen by all; who is gone is found so by the others, and does not go on as owner."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection

from sqlalchemy.engine import make_url

from jackfield.db import Database
from jackfield.http import Caller
from jackfield.nodes import Nodes, examine, router
from tests.postgres import Postgres
from tests.server.conftest import KnownCallers, application, client, until

GONE_S = 1.5


@contextlib.asynccontextmanager
async def another(database: Database) -> AsyncIterator[Nodes]:
    """A node that lives, on the same database."""
    other = Database(database.url)
    nodes = Nodes(other, version="2.0")
    await nodes.start()
    try:
        yield nodes
    finally:
        await nodes.close()
        await other.close()


@contextlib.asynccontextmanager
async def looking(nodes: Nodes) -> AsyncIterator[list[str]]:
    """In the block it looks at the others; those that it finds gone."""
    gone: list[str] = []

    async def hear(found: Collection[str]) -> None:
        gone.extend(found)

    nodes.on_gone(hear)
    task = asyncio.create_task(nodes.run())
    try:
        yield gone
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def standing(nodes: Nodes) -> dict[str, tuple[bool, str | None]]:
    """Node → whether it lives, and by whom it was ended."""
    return {seen.id: (seen.is_alive, seen.ended_by) for seen in await nodes.every()}


async def test_a_node_that_dies_is_found_gone_and_one_that_stops_says_so(postgresql: Database) -> None:
    here = Nodes(postgresql, version="1.0")
    await here.start()
    async with looking(here) as gone, another(postgresql) as dying, another(postgresql) as stopping:
        me, dead, stopped = postgresql.node_id, dying._database.node_id, stopping._database.node_id
        assert await standing(here) == {me: (True, None), dead: (True, None), stopped: (True, None)}
        await stopping.close()
        assert (await standing(here))[stopped] == (False, stopped)
        dying._connection.terminate()  # as the kernel does when the process dies
        died = time.monotonic()

        async def is_gone() -> bool:
            return gone == [dead]

        await until(is_gone)
        assert time.monotonic() - died >= GONE_S - 0.1
        assert (await standing(here))[dead] == (False, me)
        assert here.gone == {dead}
        # It was not dead at all: it comes back, and all know.
        await dying._disconnect()
        await dying._connect()

        async def is_back() -> bool:
            return not here.gone

        here._read_at = 0.0
        await until(is_back)
        assert (await standing(here))[dead] == (True, None)
        assert (await examine(postgresql)).is_good
    await here.close()


async def test_a_connection_that_is_lost_is_made_anew_before_anybody_takes_the_node_for_gone(
    postgres: Postgres, postgresql: Database
) -> None:
    here = Nodes(postgresql)
    await here.start()
    async with another(postgresql) as other, looking(here) as gone, looking(other) as gone_there:
        numbers = (here._number, other._number)
        mine = "datname = current_database() AND application_name LIKE '%node'"
        await postgres.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}",
            database=str(make_url(postgresql.url).database),
        )

        async def are_back() -> bool:
            return here.is_known and other.is_known and not {here._number, other._number} & set(numbers)

        await until(are_back)
        held = time.monotonic()

        async def has_looked_often() -> bool:
            return time.monotonic() - held > GONE_S + 0.7

        await until(has_looked_often)
        assert (gone, gone_there) == ([], [])
        assert all(is_alive for is_alive, _ in (await standing(here)).values())
    await here.close()


async def test_on_sqlite_whoever_was_there_before_is_gone(sqlite: Database) -> None:
    before = Nodes(sqlite)
    await before.start()
    old, sqlite.node_id = sqlite.node_id, "node_new"
    now = Nodes(sqlite)
    await now.start()
    assert now.gone == {old}
    assert await standing(now) == {"node_new": (True, None), old: (False, "node_new")}
    await now.close()
    assert await standing(now) == {"node_new": (False, "node_new"), old: (False, "node_new")}


async def test_operators_alone_see_nodes(sqlite: Database) -> None:
    nodes = Nodes(sqlite, version="9.9")
    await nodes.start()
    callers = {"owner": Caller("owner", tenant_id="acme"), "operator": Caller("operator")}
    app = application(KnownCallers(callers), router(nodes))
    async with client(app, "owner") as http:
        assert (await http.get("/api/nodes")).status_code == 403
    async with client(app, "operator") as http:
        (seen,) = (await http.get("/api/nodes")).json()
    assert (seen["version"], seen["is_here"], seen["is_alive"]) == ("9.9", True, True)
