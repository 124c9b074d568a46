"""Filters: order, veto, failures, conditions, budgets, and the type that the host gets back."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from jackfield.extension_points import FilterAbortedError, VetoedError
from jackfield.extension_points.errors import FilterUnknownError, PayloadInvalidError
from jackfield_sdk import hooks
from tests.server.sealed_house import TENANT, House, Pair

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_handlers_run_by_ascending_priority(house: House) -> None:
    assert await house.platform.tenant(TENANT).filter("order.check", {"seen": []}) == {"seen": ["sooner", "later"]}


async def test_a_tenant_without_the_plugin_gets_its_own_object_back(house: House) -> None:
    thing = {"seen": []}
    assert await house.platform.tenant("empty").filter("order.check", thing) is thing


async def test_a_veto_stops_the_host_and_speaks_to_the_user(house: House) -> None:
    with pytest.raises(VetoedError, match="not on a Sunday") as caught:
        await house.platform.tenant(TENANT).filter("veto.check", {})
    assert caught.value.plugin == "probe"
    assert caught.value.hint == "Try Monday."


async def test_a_veto_over_http_is_a_conflict(house: House) -> None:
    response = await house.ask("POST", "/api/filters/veto.check", json={})
    assert response.status_code == 409
    assert response.json()["code"] == "vetoed"
    assert response.json()["plugin"] == "probe"


async def test_a_failing_handler_is_passed_over(house: House) -> None:
    assert await house.platform.tenant(TENANT).filter("fail.check", {"a": 1}) == {"a": 1, "went_on": True}


async def test_one_that_the_host_may_not_go_on_without_aborts(house: House) -> None:
    with pytest.raises(FilterAbortedError):
        await house.platform.tenant(TENANT).filter("abort.check", {})
    assert (await house.ask("POST", "/api/filters/abort.check", json={})).status_code == 503


async def test_a_handler_that_takes_longer_than_its_budget_is_passed_over(house: House) -> None:
    started = time.monotonic()
    run = await house.platform.filters.run(TENANT, "slow.check", {"a": 1})
    assert time.monotonic() - started < 5
    assert run.payload == {"a": 1}
    assert [step.status for step in run.steps] == ["timeout"]


async def test_a_condition_decides_whether_the_plugin_is_woken(house: House) -> None:
    tenant = house.platform.tenant(TENANT)
    assert await tenant.filter("when.check", {"total": 20.0}) == {"total": 20.0, "large": True}
    assert await tenant.filter("when.check", {"total": 1.0}) == {"total": 1.0}
    assert await tenant.filter("when.check", {}) == {}
    run = await house.platform.filters.run(TENANT, "when.check", {"total": 1.0})
    assert run.steps[0].status == "skipped"


async def test_the_host_gets_the_type_back_that_it_handed_in(house: House) -> None:
    booking = hooks.Booking(customer_id="c1", starts_at=datetime(2026, 1, 1, 10, tzinfo=UTC))
    changed = await house.platform.tenant(TENANT).filter("booking.check", booking)
    assert isinstance(changed, hooks.Booking)
    assert changed.notes == "noted"
    assert changed.customer_id == "c1"


async def test_what_does_not_fit_the_hook_point_is_ignored_and_said(house: House) -> None:
    run = await house.platform.filters.run(
        TENANT, "booking.check", {"customer_id": "c1", "starts_at": "2026-01-01T10:00:00Z"}
    )
    assert [step.status for step in run.steps] == ["ignored", "ok"]
    assert "does not fit" in run.steps[0].message


@pytest.mark.parametrize("payload", [{"a": 1}, Pair(1), ["a"], 7])
async def test_no_plugin_can_make_a_value_of_another_type(house: House, payload: object) -> None:
    assert await house.platform.tenant(TENANT).filter("any.check", payload) == payload


async def test_a_payload_that_does_not_fit_is_refused_before_any_plugin(house: House) -> None:
    with pytest.raises(PayloadInvalidError):
        await house.platform.tenant(TENANT).filter("booking.check", {"customer_id": 7})
    with pytest.raises(FilterUnknownError):
        await house.platform.tenant(TENANT).filter("no.such", {})


async def test_a_dry_run_shows_every_handler(house: House) -> None:
    response = await house.ask("POST", "/api/filters/veto.check?dry_run=1", json={"a": 1})
    assert response.status_code == 200
    steps = response.json()["steps"]
    assert [(step["handler"], step["status"], step["changed"]) for step in steps] == [
        ("veto", "veto", False), ("after_veto", "ok", True),
    ]  # fmt: skip


async def test_members_may_not_run_filters_themselves(house: House) -> None:
    assert (await house.ask("POST", "/api/filters/order.check", "member", json={"seen": []})).status_code == 403


@pytest.mark.parametrize(
    "body", ['{"a": NaN}', '{"a": "\\ud800"}', '{"\\ud800": 1}', '{"a": 1' + "0" * 30 + "}", "[1]"]
)
async def test_what_no_plugin_could_be_told_is_refused_at_the_door(house: House, body: str) -> None:
    for path in ("/api/filters/fail.check", "/api/events/ping.sent"):
        response = await house.ask("POST", path, content=body, headers={"content-type": "application/json"})
        assert response.status_code == 422, response.text
        assert response.json()["code"] in {"payload-invalid", "request-invalid"}
