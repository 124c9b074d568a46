"""A plugin whose processes die and die rests longer and longer, and is then taken from work; nothing of it is lost."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.server.conftest import until
from tests.server.health.house import House, node, running

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def crash(house: House) -> None:
    """Until it is quarantined."""

    async def is_quarantined() -> bool:
        return (await house.ask("GET", "/fragile")).json()["state"] == "quarantined"

    for _ in range(5):
        assert await house.code("break_down", how="die") == "plugin-crashed"
        house.clock.advance(100)  # beyond any rest, and any breaker
    await until(is_quarantined)


async def test_it_rests_before_it_is_started_again_twice_as_long_each_time(house: House) -> None:
    for function in ("break_down", "break_down", "break_more"):
        assert await house.code(function, how="die") == "plugin-crashed"
    resting = await house.call("version")
    assert resting["error"]["code"] == "crash-backoff"
    assert (await house.health(check=False))["restarting"] == {"retry_after_s": 1.0, "deaths": 3}
    house.clock.advance(1)
    assert await house.code("version") == "ok"
    assert await house.code("break_more", how="die") == "plugin-crashed"
    house.clock.advance(1)
    assert await house.code("version") == "crash-backoff"
    house.clock.advance(1)
    assert await house.code("version") == "ok"
    assert await house.code("version", house.rival) == "ok"
    house.clock.advance(601)
    for _ in range(2):  # what died long ago does not count any more
        assert await house.code("break_down", how="die") == "plugin-crashed"
    assert await house.code("version") == "ok"


async def test_one_death_too_many_and_it_is_quarantined_with_the_reason_shown(house: House) -> None:
    await crash(house)
    seen = (await house.ask("GET", "/fragile")).json()
    assert seen["reason"]["code"] == "crash-loop"
    assert "died 5 times" in seen["reason"]["message"]
    assert "break_down" in seen["reason"]["message"]
    listed = (await house.ask("GET", "")).json()["items"][0]
    assert (listed["state"], listed["reason"]) == ("quarantined", seen["reason"])
    health = await house.health()
    assert (health["status"], health["quarantine"]["code"]) == ("quarantined", "crash-loop")
    assert [one["status"] for one in health["recent_crashes"]] == ["crashed"] * 5
    assert await house.code("version") == "plugin-not-active"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=house.platform.asgi), base_url="http://test",
        headers={"Authorization": f"Bearer {house.tokens[house.tenant]}"},
    ) as client:  # fmt: skip
        entries = (await client.get("/api/audit", params={"target": "fragile"})).json()["items"]
    assert (entries[0]["action"], entries[0]["actor"]) == ("plugin.quarantine", "platform")
    assert await house.code("version", house.rival) == "ok"
    assert (await house.ask("GET", "/fragile", house.rival)).json()["state"] == "active"


async def test_its_events_wait_and_come_when_it_is_activated(house: House) -> None:
    tenant = house.platform.tenant(house.tenant)
    await tenant.emit("order.placed", {"n": 1})
    await house.platform.drain_events()
    await crash(house)
    for number in (2, 3):
        await tenant.emit("order.placed", {"n": number})
    for _ in range(5):
        await house.platform.drain_events()
        house.clock.advance(3700)
    waiting = (await house.ask("GET", "/fragile/deliveries", params={"state": "pending"})).json()["items"]
    assert len(waiting) == 2
    activated = (await house.ask("POST", "/fragile/activate")).json()
    assert (activated["state"], activated["reason"]) == ("active", None)
    await house.platform.drain_events()
    assert (await house.call("orders"))["output"] == [1, 2, 3]
    assert await house.code("break_down", how="die") == "plugin-crashed", "it begins anew"
    assert await house.code("version") == "ok"


async def test_a_breach_of_the_protocol_counts_more(house: House) -> None:
    assert await house.code("break_down", how="violate") == "protocol-violation"
    house.clock.advance(70)
    await house.code("break_down", how="violate")

    async def is_quarantined() -> bool:
        return (await house.ask("GET", "/fragile")).json()["state"] == "quarantined"

    await until(is_quarantined)


async def test_quarantine_outlives_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.move_in()
        await crash(house)
        reason = (await house.ask("GET", "/fragile")).json()["reason"]
    async with node(house.folder, house.clock) as platform:
        again = House(platform, house.folder, house.key, house.clock)
        again.tokens, again.tenant = house.tokens, house.tenant
        seen = (await again.ask("GET", "/fragile")).json()
        assert (seen["state"], seen["reason"]) == ("quarantined", reason)
        assert await again.code("version") == "plugin-not-active"
        assert (await again.health())["recent_crashes"]
        assert (await again.ask("POST", "/fragile/activate")).status_code == 200
        assert await again.code("version") == "ok"
