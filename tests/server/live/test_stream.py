"""The live stream over real HTTP, and the rows it is fed from."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from sqlalchemy import func, select

from jackfield.db import Database, Notices
from jackfield.http import Caller
from jackfield.live import LIVE, Hub, happened, router
from jackfield.live.hub import StreamLimits
from jackfield.live.models import LiveRow
from jackfield.live.repository import prune
from tests.server.conftest import KnownCallers, ManualClock, application, until

ADMIN = Caller("admin", "acme", "anna", token_id="t1")
CALLERS = {
    "anna": ADMIN,
    "max": Caller("member", "acme", "max", token_id="t2"),
    "other": Caller("owner", "globex", "olga", token_id="t3"),
    "op": Caller("operator", token_id="t4"),
}


class Node:
    """A hub behind uvicorn, in this loop."""

    def __init__(self, database: Database, hub: Hub, url: str, callers: dict[str, Caller]) -> None:
        self.database, self.hub, self.url, self.callers = database, hub, url, callers

    @contextlib.asynccontextmanager
    async def listen(self, token: str, headers: dict[str, str] | None = None, **params: str) -> AsyncGenerator[Heard]:
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False) as client,
            client.stream(
                "GET", "/api/stream", params=params, headers={"Authorization": f"Bearer {token}", **(headers or {})}
            ) as response,
        ):
            if response.status_code != 200:
                await response.aread()
            yield Heard(response)

    async def tell(self, tenant: str, kind: Any, data: dict[str, Any], **more: Any) -> None:
        async with self.database.write(tenant) as session:
            happened(session, kind, data, **more)


class Heard:
    """The events of one answer."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, str, Any]:
        """Id, kind and data of the next event."""
        event: dict[str, str] = {}
        async with asyncio.timeout(15):
            async for line in self._lines:
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif not line and "event" in event:
                    return event.get("id", ""), event["event"], msgspec.json.decode(event["data"])
                elif not line:
                    event = {}
        raise AssertionError("the stream has ended")


@pytest.fixture
async def node(either_database: Database, clock: ManualClock) -> AsyncGenerator[Node]:
    callers = dict(CALLERS)
    hub = Hub(either_database, clock, limits=StreamLimits(per_caller=2, per_tenant=3, queued=4))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    app = application(KnownCallers(callers), router(hub))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    serving, feeding = asyncio.create_task(server.serve([listening])), asyncio.create_task(hub.run())
    yield Node(either_database, hub, f"http://127.0.0.1:{listening.getsockname()[1]}", callers)
    hub.close()
    server.should_exit = True
    await serving
    feeding.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await feeding
    listening.close()
    assert hub.listening == 0


async def test_each_hears_what_is_theirs_and_goes_on_where_they_were(node: Node) -> None:
    async with node.listen("anna") as anna, node.listen("max") as max_, node.listen("other") as other:
        for heard in (anna, max_, other):
            assert (await heard.next())[1] == "ready"
        await node.tell("acme", "notification", {"title": "for Max"}, member_id="max")
        await node.tell("acme", "installation", {"state": "active"}, plugin="loyalty")
        await node.tell("globex", "widget", {"name": "card"}, plugin="echo")
        first, kind, data = await anna.next()
        assert (kind, data["state"], data["plugin"]) == ("installation", "active", "loyalty")
        assert [(await max_.next())[1], (await max_.next())[1]] == ["notification", "installation"]
        assert (await other.next())[1] == "widget"
    await node.tell("acme", "installation", {"state": "inactive"}, plugin="echo")
    await node.tell("acme", "widget", {"name": "card"}, plugin="loyalty")
    async with node.listen("anna", {"Last-Event-ID": first}) as again:
        assert [(await again.next())[1] for _ in range(3)] == ["installation", "widget", "ready"]
    async with node.listen("anna", after=first, kinds="widget,notification", plugin="loyalty") as again:
        assert [(await again.next())[1] for _ in range(2)] == ["widget", "ready"]
    # A position of another tenant, or one that never was, is no way to hear what is not one's own.
    for token, after in (("other", first), ("anna", "999999")):
        async with node.listen(token, after=after) as lost:
            assert (await lost.next())[1] == "reset"


async def test_what_is_rolled_back_is_not_told_and_what_is_old_goes(node: Node, clock: ManualClock) -> None:
    async with node.listen("anna") as anna:
        await anna.next()
        with contextlib.suppress(ZeroDivisionError):
            async with node.database.write("acme") as session:
                happened(session, "widget", {"name": "ghost"})
                raise ZeroDivisionError
        for number in range(3):
            await node.tell("acme", "widget", {"name": f"w{number}"})
        seen = [await anna.next() for _ in range(3)]
        assert [data["name"] for _, _, data in seen] == ["w0", "w1", "w2"]
    assert await prune(node.database, datetime.now(UTC) + timedelta(minutes=1)) == 2
    async with node.listen("anna", after=seen[0][0]) as late, node.listen("anna", after=seen[2][0]) as quiet:
        assert (await late.next())[1] == "reset"
        assert (await quiet.next())[1] == "ready"


async def test_streams_end_when_they_must(node: Node) -> None:
    async with node.listen("anna") as anna, node.listen("max") as max_:
        await anna.next()
        await max_.next()
        async with node.listen("anna") as second, node.listen("anna") as third:
            await second.next()
            assert third.response.status_code == 429
            assert third.response.json()["code"] == "streams-too-many"
            assert "Retry-After" in third.response.headers
        del node.callers["max"]
        node.callers["anna"] = Caller("member", "acme", "anna", token_id="t1")
        assert (await max_.next())[1:] == ("end", {"why": "credentials"})
        assert (await anna.next())[1:] == ("end", {"why": "credentials"})
    await until_gone(node)
    async with node.listen("other") as other:
        await other.next()
        node.hub.close()
        assert (await other.next())[1:] == ("end", {"why": "shutdown"})


async def test_bad_questions_are_answered_clearly(node: Node) -> None:
    kind, position = "stream-kind-unknown", "stream-position-invalid"
    asked = [
        ("anna", {"kinds": "secrets"}, kind), ("max", {"kinds": "delivery"}, kind), ("anna", {"kinds": ","}, kind),
        ("anna", {"after": "-1"}, position), ("anna", {"after": "3²"}, position),
        ("anna", {"after": "9" * 20}, position),
    ]  # fmt: skip
    for token, params, code in asked:
        async with node.listen(token, None, **params) as answer:
            assert (answer.response.status_code, answer.response.json()["code"]) == (422, code)
    async with node.listen("nobody") as answer:
        assert answer.response.status_code == 401


async def test_operators_hear_of_all_tenants_and_nobody_else_of_another(node: Node) -> None:
    async with node.listen("op") as every, node.listen("op", tenant="globex") as one:
        assert [(await every.next())[1], (await one.next())[1]] == ["ready", "ready"]
        await node.tell("acme", "notification", {"title": "for Max"}, member_id="max")
        await node.tell("acme", "widget", {"name": "card"}, plugin="loyalty")
        await node.tell("acme", "installation", {"state": "active"}, plugin="loyalty")
        await node.tell("globex", "schedule", {"installation_id": "ins_1", "name": "nightly", "change": "fired"})
        first, _, data = await every.next()
        assert (data["tenant"], data["state"]) == ("acme", "active")
        assert (await every.next())[2]["tenant"] == "globex"
        assert (await one.next())[1:2] == ("schedule",)
    await node.tell("acme", "channel", {"id": "chn_1", "change": "broken", "reason": "void"})
    async with node.listen("op", {"Last-Event-ID": first}) as again:
        assert [(await again.next())[1] for _ in range(3)] == ["schedule", "channel", "ready"]
    async with node.listen("op", after="999999") as lost:
        assert (await lost.next())[1] == "reset"
    # Neither a member's `tenant` nor a kind that is the tenant's own opens anything.
    for tenant in ("globex", "acme", "*", "%"):
        async with node.listen("anna", None, tenant=tenant) as answer:
            assert (answer.response.status_code, answer.response.json()["code"]) == (403, "role-missing")
    for token, kind in (("op", "notification"), ("op", "widget"), ("max", "channel")):
        async with node.listen(token, None, kinds=kind) as answer:
            assert answer.response.json()["code"] == "stream-kind-unknown"


async def test_an_operator_passes_over_nothing_that_is_committed_late(postgresql: Database) -> None:
    """Positions of two tenants may be committed in any order; whoever reads for all waits for what is in between."""
    hub = Hub(postgresql)
    running = asyncio.create_task(hub.run())
    stream, _ = await hub.open(None, CALLERS["op"], frozenset({"installation"}))

    async def write(tenant: str) -> None:
        for _ in range(40):
            async with postgresql.write(tenant) as session:
                happened(session, "installation", {"state": "active"})

    heard: list[int] = []
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for tenant in ("acme", "globex", "initech", "umbrella"):
            group.create_task(write(tenant))
        while len(heard) < 160:
            event = await stream.next()
            assert event is not None
            heard.append(event.position)
    assert heard == sorted(set(heard))
    hub.leave(stream)
    running.cancel()
    await asyncio.wait([running])


async def test_a_reader_that_does_not_read_is_cut(node: Node) -> None:
    async with node.listen("anna") as anna:
        await anna.next()
        async with node.database.write("acme") as session:
            for number in range(40):
                happened(session, "widget", {"name": f"w{number}"})
        kinds = [await anna.next() for _ in range(5)]
        assert kinds[-1][1:] == ("end", {"why": "slow"})
        last = kinds[-2][0]
    async with node.listen("anna", after=last) as again:
        assert (await again.next())[2]["name"] == "w4"


async def test_another_node_hears_of_it(postgresql: Database) -> None:
    there = Database(postgresql.url)
    notices, hub = Notices(there), Hub(there)
    notices.on(LIVE, hub.wake)
    await notices.start()
    running = [asyncio.create_task(notices.run()), asyncio.create_task(hub.run())]
    stream, _ = await hub.open("acme", ADMIN, frozenset({"widget"}))
    async with postgresql.write("acme") as session:
        happened(session, "widget", {"name": "card"})
    async with asyncio.timeout(15):
        heard = await stream.next()
    assert heard is not None
    hub.leave(stream)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    await there.close()


async def test_positions_are_committed_in_order(node: Node) -> None:
    """On PostgreSQL the second writer waits for the first, so that no reader passes over what comes late."""
    if node.database.is_sqlite:
        pytest.skip("it has one writer")
    seen: list[int] = []

    async def write(number: int) -> None:
        for _ in range(20):
            await node.tell("acme", "widget", {"name": str(number)})

    async def read() -> None:
        last = 0
        while len(seen) < 80:
            async with node.database.read("acme") as session:
                query = select(LiveRow.position).where(LiveRow.position > last).order_by(LiveRow.position)
                found = list(await session.scalars(query))
            seen.extend(found)
            last = found[-1] if found else last

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(read())
        for number in range(4):
            group.create_task(write(number))
    async with node.database.read("acme") as session:
        assert await session.scalar(select(func.count()).select_from(LiveRow)) == 80


async def until_gone(node: Node) -> None:
    async def gone() -> bool:
        return node.hub.listening == 0

    await until(gone)
