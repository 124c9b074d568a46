"""A handler that fails and fails is left alone for a while; everything else goes on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from jackfield.http import PageRequest
from jackfield.notifications.models import NotificationRow
from jackfield.records.models import AuditEntry
from tests.server.conftest import until
from tests.server.health.house import House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def breakers(house: House) -> list[dict[str, Any]]:
    return (await house.health(check=False))["breakers"]


async def test_after_failures_in_a_row_it_is_refused_at_once_with_the_reason(house: House) -> None:
    for _ in range(3):
        assert await house.code("break_down", how="error") == "plugin-error"
    refused = await house.call("break_down", how="well")
    assert refused["error"]["code"] == "circuit-open"
    assert "the disk is full" in refused["error"]["message"]
    assert refused["metrics"]["duration_ms"] == 0
    (breaker,) = await breakers(house)
    assert (breaker["handler"], breaker["state"], breaker["failures"], breaker["retry_after_s"]) == (
        "break_down", "open", 3, 30,
    )  # fmt: skip
    assert "the disk is full" in breaker["message"]
    assert await house.code("version") == "ok", "its other handlers are not touched"
    assert await house.code("break_down", house.rival, how="well") == "ok", "nor is a neighbour's"


async def test_answers_for_the_user_and_single_failures_do_not_count(house: House) -> None:
    for how in ("error", "error", "well", "error", "error", "user", "error", "error", "user") * 2:
        assert await house.code("break_down", how=how) != "circuit-open"
    assert await breakers(house) == []


async def test_one_call_is_let_through_and_decides(house: House) -> None:
    for _ in range(3):
        await house.call("break_down", how="error")
    for wait_s in (30, 60, 100, 100):
        house.clock.advance(wait_s - 1)
        assert await house.code("break_down", how="error") == "circuit-open"
        house.clock.advance(1)
        assert (await breakers(house))[0]["state"] == "half-open"
        assert await house.code("break_down", how="error") == "plugin-error"
    house.clock.advance(100)
    assert await house.code("break_down", how="well") == "ok"
    assert await breakers(house) == []
    assert await house.code("break_down", how="error") == "plugin-error"


async def test_filters_pass_it_by(house: House) -> None:
    tenant = house.platform.tenant(house.tenant)
    assert await tenant.filter("order.check", {"n": 1}) == {"n": 1, "checked": True}
    for _ in range(3):
        assert await tenant.filter("order.check", {"bad": True}) == {"bad": True}
    assert await tenant.filter("order.check", {"n": 1}) == {"n": 1}
    assert (await breakers(house))[0]["handler"] == "check"
    house.clock.advance(30)
    assert await tenant.filter("order.check", {"n": 1}) == {"n": 1, "checked": True}


async def test_events_are_put_off_and_lose_no_attempt(house: House) -> None:
    platform = house.platform
    await house.call("orders", broken=True)
    for number in (1, 2, 3):
        await platform.tenant(house.tenant).emit("order.rushed", {"n": number})
    await platform.drain_events()
    assert (await breakers(house))[0]["handler"] == "rushed"
    for _ in range(4):  # they may fail twice, and have failed once
        house.clock.advance(7)
        await platform.drain_events()
    put_off = (await house.ask("GET", "/fragile/deliveries")).json()["items"]
    assert [(one["state"], one["error_code"]) for one in put_off] == [("pending", "circuit-open")] * 3
    await house.call("orders", broken=False)
    for _ in range(4):
        house.clock.advance(20)
        await platform.drain_events()
    assert (await house.call("rushes"))["output"] == [1, 2, 3]
    assert await breakers(house) == []


async def test_firings_and_webhooks_wait_and_none_is_lost(house: House) -> None:
    (hook,) = (await house.ask("GET", "/fragile/webhooks")).json()["items"]
    await house.call("orders", broken=True)
    sent: list[str] = []
    run: list[str] = []

    async def happen() -> None:
        answer = await house.ask("POST", f"/../webhooks/{hook['url'].rpartition('/')[2]}", json={"n": len(sent)})
        assert answer.status_code == 202, "its sender is answered as always"
        sent.append((await house.ask("GET", "/fragile/webhooks/paid/deliveries")).json()["items"][0]["id"])
        run.append((await house.ask("POST", "/fragile/schedules/nightly/run")).json()["delivery_id"])

    for _ in range(3):
        await happen()
    await house.platform.drain_events()
    assert {one["handler"] for one in await breakers(house)} == {"paid", "nightly"}
    await happen()
    for _ in range(2):
        await house.platform.drain_events()
        house.clock.advance(7)
    waiting = (await house.ask("GET", "/fragile/deliveries")).json()["items"]
    assert {(one["id"], one["state"], one["error_code"]) for one in waiting} == {
        (id, "pending", "circuit-open") for id in (*sent, *run)
    }
    assert sorted(one["failures"] for one in waiting) == [0, 0, 1, 1, 1, 1, 1, 1], "to wait is no failure"

    await house.call("orders", broken=False)
    for _ in range(6):
        house.clock.advance(20)
        await house.platform.drain_events()
    assert (await house.call("worked", name="paid", ids=sent))["output"] == len(set(sent)) == 4
    assert (await house.call("worked", name="nightly", ids=run))["output"] == len(set(run)) == 4
    assert await breakers(house) == []


async def test_it_is_told_to_the_tenant_and_shown_to_operators_until_it_works_again(house: House) -> None:
    platform = house.platform
    anna = await platform.tenants.add_member(house.tenant, "Anna", f"anna@{house.tenant}.example", "admin")
    await platform.tenants.add_member(house.tenant, "Max", f"max@{house.tenant}.example", "member")
    for _ in range(3):
        await house.call("break_down", how="error")

    for path in ("/fragile", ""):
        found = (await house.ask("GET", path)).json()
        (shown,) = (found["items"][0] if path == "" else found)["breakers"]
        assert (shown["handler"], shown["state"], shown["code"]) == ("break_down", "open", "plugin-error")
        assert datetime.fromisoformat(shown["until"]) == house.clock.now() + timedelta(seconds=30)

    async def list_of_anna() -> list[NotificationRow]:
        return list((await platform.notifications.list(house.tenant, anna.id, PageRequest(limit=10)))[0].items)

    async def has_heard(count: int) -> bool:
        return len(await list_of_anna()) == count

    await until(lambda: has_heard(1))
    (told,) = await list_of_anna()
    assert told.title == "fragile fails, and is left alone in part"
    assert "`break_down` failed 3 times (plugin-error)" in told.body
    assert "the disk is full" not in told.body, "what a plugin says is not said in the platform's name"

    async def everywhere(who: str) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=platform.asgi), base_url="http://test",
            headers={"Authorization": f"Bearer {who}"},
        ) as client:  # fmt: skip
            return await client.get("/api/operators/breakers", params={"tenant": house.tenant})

    operator = (await platform.tenants.issue_token("operator")).plaintext
    (open_one,) = (await everywhere(operator)).json()["items"]
    assert (open_one["tenant_id"], open_one["slug"], open_one["handler"]) == (house.tenant, "fragile", "break_down")
    assert "message" not in open_one
    assert (await everywhere(house.tokens[house.tenant])).status_code == 403

    house.clock.advance(30)
    assert await house.code("break_down", how="well") == "ok"
    await until(lambda: has_heard(2))
    latest, first = await list_of_anna()
    assert (latest.title, first.id) == ("fragile works again", told.id)
    assert (await everywhere(operator)).json()["items"] == []


async def test_another_release_begins_anew(house: House) -> None:
    for _ in range(3):
        await house.call("break_down", how="error")
    assert await house.code("break_down", how="well") == "circuit-open"
    await house.publish("1.0.1")
    assert (await house.ask("POST", "/fragile/update")).status_code == 200
    assert await breakers(house) == []
    assert await house.code("break_down", how="well") == "ok"


async def test_what_waited_for_a_handler_goes_to_the_new_configuration_within_seconds(house: House) -> None:
    await house.call("orders", broken=True)
    for number in (1, 2, 3, 4):
        await house.platform.tenant(house.tenant).emit("order.rushed", {"n": number})
    await house.platform.drain_events()
    house.clock.advance(7)
    await house.platform.drain_events()  # those that failed meet the breaker
    await house.call("orders", broken=False)
    assert (await breakers(house))[0]["handler"] == "rushed"
    assert (await house.ask("PUT", "/fragile/config", json={"config": {}})).status_code == 200
    for _ in range(2):
        house.clock.advance(3)
        await house.platform.drain_events()
    assert (await house.call("rushes"))["output"] == [1, 2, 3, 4]


async def test_the_tenant_finds_it_in_the_trail(house: House) -> None:
    for _ in range(3):
        await house.call("break_down", how="error")
    await house.platform.health.book.write()
    async with house.platform.database.read(house.tenant) as session:
        entries = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "breaker.open"))).all()
    assert [(entry.actor, entry.target) for entry in entries] == [("platform", "break_down: plugin-error")]
