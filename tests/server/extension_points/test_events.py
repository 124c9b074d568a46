"""Events: who gets them, what is skipped, what is tried again, what is dead."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, select

from jackfield.capabilities.models import StorageItem
from jackfield.extension_points.errors import EventUnknownError, PayloadInvalidError
from jackfield.jobs import DeliverySnapshot
from tests.server.sealed_house import RIVAL, TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def snapshot(house: House, event: str, handler: str, **payload: object) -> DeliverySnapshot:
    installation = await house.installation()
    return DeliverySnapshot(
        id="dlv_1", event_id="evt_1", event=event, tenant_id=TENANT, installation_id=installation.id, handler=handler,
        ordered=True, attempt=1, payload=payload, source="host", emitted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


async def test_every_handler_of_the_tenant_subscribes_and_nobody_elses(house: House) -> None:
    found = await house.platform.events.subscribers(TENANT, "ping.sent")
    assert sorted(s.handler for s in found) == ["pinged", "pinged_hard"]
    assert {s.installation_id for s in found} == {(await house.installation()).id}
    assert await house.platform.events.subscribers("empty", "ping.sent") == []


async def test_an_event_reaches_its_handler_and_one_tenant_alone(house: House) -> None:
    before = (await house.platform.tenant(RIVAL).call("probe", "add", {"a": 1})).success
    await house.platform.tenant(TENANT).emit("ping.sent", {"n": 1})
    await house.platform.drain_events()
    deliveries = (await house.ask("GET", "/api/plugins/probe/deliveries")).json()["items"]
    states = {item["handler"]: item["state"] for item in deliveries if item["event"] == "ping.sent"}
    assert states == {"pinged": "done", "pinged_hard": "skipped"}
    assert before
    assert (await house.ask("GET", "/api/plugins/probe/deliveries", "rival")).json()["items"] == []


async def test_a_condition_that_does_not_hold_skips(house: House) -> None:
    result = await house.platform.events.deliver(await snapshot(house, "ping.sent", "pinged_hard", n=1))
    assert (result.status, result.code) == ("skipped", "condition-false")


async def test_an_event_that_cannot_be_handled_is_dead_at_once(house: House) -> None:
    result = await house.platform.events.deliver(await snapshot(house, "ping.refused", "refuses"))
    assert result.status == "dead"
    assert result.message == "cannot be done"


async def test_a_handler_may_ask_for_later(house: House) -> None:
    result = await house.platform.events.deliver(await snapshot(house, "ping.early", "early"))
    assert (result.status, result.retry_after_s) == ("retry", 600)


async def test_a_defect_is_tried_again_until_it_is_dead(house: House) -> None:
    result = await house.platform.events.deliver(await snapshot(house, "ping.broken", "broken"))
    assert (result.status, result.code) == ("retry", "plugin-error")
    await house.platform.tenant(TENANT).emit("ping.broken", {})
    await house.platform.drain_events()
    deliveries = (await house.ask("GET", "/api/plugins/probe/deliveries")).json()["items"]
    assert [item["state"] for item in deliveries if item["event"] == "ping.broken"] == ["dead"]


async def test_what_a_failing_handler_wrote_is_not_there_and_its_deliveries_are_replayed_by_what_they_share(
    house: House,
) -> None:
    async with house.platform.database.write(None) as session:
        # Of what other tests of this house have the handler do outside of a delivery.
        await session.execute(delete(StorageItem).where(StorageItem.key == "half"))
    for _ in range(3):
        await house.platform.tenant(TENANT).emit("ping.broken", {})
    await house.platform.drain_events()
    async with house.platform.database.read(None) as session:
        kept = select(StorageItem.key).where(StorageItem.key == "half")
        assert (await session.scalars(kept)).all() == []

    # Those of other tests of this house are as dead as ours.
    wanted = {"plugin": "probe", "event": "ping.broken", "handler": "broken", "code": "plugin-error"}
    listed = (await house.ask("GET", "/api/deliveries", params={**wanted, "state": "dead"})).json()["items"]
    dead = len(listed)
    assert dead >= 3
    assert "repaired" in listed[0]["error_hint"]
    shown = (await house.ask("GET", f"/api/deliveries/{listed[0]['id']}")).json()
    assert (shown["handler"], shown["state"]) == ("broken", "dead")

    path = "/api/deliveries/replay"
    assert (await house.ask("POST", path, "member", json=wanted)).status_code == 403
    assert (await house.ask("POST", path, json={"state": "dead"})).json()["code"] == "replay-unclear"
    counted = (await house.ask("POST", path, json={**wanted, "dry_run": True})).json()
    assert (counted["matched"], counted["replayed"], counted["by_state"]) == (dead, 0, {"dead": dead})
    ids = [one["id"] for one in listed]
    theirs = (await house.ask("POST", path, "rival", json={"ids": ids})).json()
    assert (theirs["matched"], theirs["replayed"]) == (0, 0)
    assert (await house.ask("GET", f"/api/deliveries/{ids[0]}", "rival")).status_code == 404

    some = (await house.ask("POST", path, json={**wanted, "limit": 2})).json()
    assert (some["replayed"], some["remaining"]) == (2, dead - 2)
    rest = (await house.ask("POST", path, json={**wanted, "until": some["until"]})).json()
    assert (rest["replayed"], rest["remaining"]) == (dead - 2, 0)
    again = (await house.ask("POST", path, json={**wanted, "until": some["until"]})).json()
    assert again["replayed"] == 0, "what ended again meanwhile is not what was meant"
    await house.platform.drain_events()
    audited = (await house.ask("GET", "/api/audit", params={"action": "delivery.replay"})).json()["items"]
    assert {entry["target"] for entry in audited} >= {"2 deliveries", f"{dead - 2} deliveries"}


async def test_a_handler_that_the_release_has_not_is_skipped(house: House) -> None:
    result = await house.platform.events.deliver(await snapshot(house, "ping.sent", "gone"))
    assert (result.status, result.code) == ("skipped", "handler-gone")


async def test_a_plugin_that_is_not_active_any_more_is_skipped(house: House) -> None:
    delivery = replace(await snapshot(house, "ping.sent", "pinged"), installation_id="ins_gone")
    result = await house.platform.events.deliver(delivery)
    assert (result.status, result.code) == ("skipped", "plugin-not-active")


async def test_unknown_events_and_misfitting_payloads_are_refused(house: House) -> None:
    with pytest.raises(EventUnknownError):
        await house.platform.tenant(TENANT).emit("no.such", {})
    with pytest.raises(PayloadInvalidError):
        await house.platform.tenant(TENANT).emit("demo.typed", {"a": "x"})
    assert (await house.ask("POST", "/api/events/no.such", json={})).status_code == 404
    assert (await house.ask("POST", "/api/events/demo.typed", json={"a": "x"})).status_code == 422
    assert (await house.ask("POST", "/api/events/demo.typed", json={"a": 1})).status_code == 202
    assert (await house.ask("POST", "/api/events/demo.typed", "member", json={"a": 1})).status_code == 403
