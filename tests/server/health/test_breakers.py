"""A handler that fails and fails is left alone for a while; everything else goes on."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from jackfield.records.models import AuditEntry
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


async def test_another_release_begins_anew(house: House) -> None:
    for _ in range(3):
        await house.call("break_down", how="error")
    assert await house.code("break_down", how="well") == "circuit-open"
    await house.publish("1.0.1")
    assert (await house.ask("POST", "/fragile/update")).status_code == 200
    assert await breakers(house) == []
    assert await house.code("break_down", how="well") == "ok"


async def test_the_tenant_finds_it_in_the_trail(house: House) -> None:
    for _ in range(3):
        await house.call("break_down", how="error")
    await house.platform.health.book.write()
    async with house.platform.database.read(house.tenant) as session:
        entries = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "breaker.open"))).all()
    assert [(entry.actor, entry.target) for entry in entries] == [("platform", "break_down: plugin-error")]
