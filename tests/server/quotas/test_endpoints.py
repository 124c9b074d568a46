"""Quotas and limits as tenants, hosts and operators meet them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from jackfield.extension_points.errors import FilterAbortedError
from jackfield.jobs import DeliverySnapshot
from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADD = "/api/plugins/probe/functions/add"


@contextlib.asynccontextmanager
async def allowed(house: House, **override: Any) -> AsyncIterator[None]:
    """The tenant may use this and no more, for a while."""
    path = f"/api/tenants/{TENANT}/quotas"
    assert (await house.ask("PUT", path, "operator", json=override)).status_code == 200
    try:
        yield
    finally:
        assert (await house.ask("DELETE", path, "operator")).status_code == 204


async def add(house: House) -> httpx.Response:
    return await house.ask("POST", ADD, json={"arguments": {"a": 1}})


# -- what is refused ---------------------------------------------------------------------------------------------------


async def test_a_function_call_over_a_quota_answers_429_when_to_come_again_and_leaves_a_record(house: House) -> None:
    assert (await add(house)).status_code == 200
    spawned = house.platform.isolates.stats().spawned
    async with allowed(house, tenant={"calls_per_minute": 0}):
        refused = await add(house)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1
    problem = refused.json()
    assert (problem["code"], problem["quota"], problem["scope"], problem["limit"]) == (
        "quota-exceeded", "calls_per_minute", "tenant", 0
    )  # fmt: skip
    assert (problem["success"], problem["output"], problem["error"]["code"]) == (False, None, "quota-exceeded")
    assert house.platform.isolates.stats().spawned == spawned
    await house.platform.recorder.flush()
    errors = (await house.ask("GET", "/api/plugins/probe/errors")).json()["items"]
    mine = next(item for item in errors if item["id"] == problem["metrics"]["invocation_id"])
    assert (mine["status"], mine["error_code"]) == ("refused", "quota-exceeded")
    assert (await add(house)).status_code == 200


async def test_the_neighbours_are_not_concerned(house: House) -> None:
    async with allowed(house, tenant={"calls_per_minute": 0}):
        assert (await house.ask("POST", ADD, "rival", json={"arguments": {"a": 1}})).status_code == 200


async def test_a_plugin_cannot_pretend_that_a_quota_is_used_up(house: House) -> None:
    answer = await house.ask("POST", "/api/plugins/probe/functions/user_error", json={"arguments": {}})
    assert (answer.status_code, answer.json()["success"]) == (200, False)
    assert "retry-after" not in answer.headers


async def test_a_route_over_a_quota_answers_429(house: House) -> None:
    async with allowed(house, plugin={"calls_per_minute": 0}):
        refused = await house.ask("GET", "/api/plugins/probe/api/members")
    assert (refused.status_code, refused.json()["code"]) == (429, "quota-exceeded")
    assert int(refused.headers["retry-after"]) >= 1


async def test_a_filter_over_a_quota_follows_its_error_policy(house: House) -> None:
    async with allowed(house, tenant={"calls_per_minute": 0}):
        value = {"seen": []}
        assert await house.platform.tenant(TENANT).filter("order.check", value) == value
        with pytest.raises(FilterAbortedError) as aborted:
            await house.platform.tenant(TENANT).filter("abort.check", {})
        assert aborted.value.data["retry_after_s"] > 0
        answer = await house.ask("POST", "/api/filters/abort.check", json={})
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_a_widget_over_a_quota_is_named_and_contained(house: House) -> None:
    async with allowed(house, tenant={"calls_per_minute": 0}):
        widgets = (await house.ask("GET", "/api/plugins/ui-components/Desk.Top")).json()["widgets"]
    assert {widget["error"]["code"] for widget in widgets} == {"quota-exceeded"}


async def test_an_event_over_a_quota_comes_again_as_often_as_it_takes_and_is_no_failure(house: House) -> None:
    installation = await house.installation()
    async with allowed(house, tenant={"concurrency": 0}):
        snapshot = DeliverySnapshot(
            id="dlv_1", event_id="evt_1", event="ping.sent", tenant_id=TENANT, installation_id=installation.id,
            handler="pinged", ordered=True, attempt=1, payload={"n": 1}, source="host",
            emitted_at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        result = await house.platform.events.deliver(snapshot)
        assert (result.status, result.code, result.retry_after_s) == ("deferred", "quota-exceeded", 1.0)
        await house.platform.tenant(TENANT).emit("ping.sent", {"n": 2})
        async with house.client("owner") as client:
            while True:
                found = (await client.get("/api/plugins/probe/deliveries")).json()["items"]
                mine = [item for item in found if item["handler"] == "pinged"]
                if mine and mine[0]["error_code"] == "quota-exceeded":
                    break
        assert (mine[0]["state"], mine[0]["failures"]) == ("pending", 0)
    async with house.client("owner") as client:
        while True:
            await house.platform.drain_events()
            found = (await client.get("/api/plugins/probe/deliveries")).json()["items"]
            state = next(item["state"] for item in found if item["id"] == mine[0]["id"])
            if state == "done":
                break
            assert state in ("pending", "running")


# -- what is seen ------------------------------------------------------------------------------------------------------


async def test_usage_tells_a_member_what_is_left_and_when_it_refills(house: House) -> None:
    await add(house)
    usage = (await house.ask("GET", "/api/usage", "member")).json()
    assert (usage["tenant_id"], usage["plan"]) == (TENANT, "free")
    calls = next(quota for quota in usage["quotas"] if quota["quota"] == "calls_per_minute")
    assert calls["used"] > 0
    assert calls["left"] == calls["limit"] - calls["used"]
    assert calls["refills_at"] > usage["at"]
    (probe,) = usage["plugins"]
    assert probe["plugin"] == "probe"
    assert {quota["quota"] for quota in probe["quotas"]} == {
        "calls_per_minute", "cpu_ms_per_minute", "host_calls_per_minute", "egress_bytes_per_minute", "concurrency",
        "storage_bytes", "rows",
    }  # fmt: skip
    assert {quota["quota"] for quota in usage["quotas"]} - {quota["quota"] for quota in probe["quotas"]} == {"plugins"}


async def test_a_warning_is_in_a_header_before_it_bites(house: House) -> None:
    for _ in range(6):
        assert "x-jackfield-quota-warning" not in (await add(house)).headers
    quotas = (await house.ask("GET", "/api/usage")).json()["quotas"]
    used = next(quota["used"] for quota in quotas if quota["quota"] == "calls_per_minute")
    async with allowed(house, tenant={"calls_per_minute": used + 1}):
        answer = await add(house)
        assert answer.status_code == 200
        assert answer.headers["x-jackfield-quota-warning"] == "calls_per_minute"
        usage = (await house.ask("GET", "/api/usage")).json()
    assert usage["warnings"][0].startswith("calls per minute of the tenant")


async def test_usage_is_for_members_of_a_tenant_and_operators_name_one(house: House) -> None:
    assert (await house.ask("GET", "/api/usage", "operator")).status_code == 403
    assert (await house.ask("GET", f"/api/tenants/{TENANT}/usage", "owner")).status_code == 403
    assert (await house.ask("GET", f"/api/tenants/{TENANT}/usage", "operator")).json()["tenant_id"] == TENANT
    assert (await house.ask("GET", "/api/tenants/nobody/usage", "operator")).status_code == 404


# -- operators ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/plans", None),
        ("PUT", "/api/plans/mine", {"tenant": {}, "plugin": {}}),
        ("DELETE", "/api/plans/pro", None),
        ("PUT", f"/api/tenants/{TENANT}/plan", {"plan": "enterprise"}),
        ("GET", f"/api/tenants/{TENANT}/quotas", None),
        ("PUT", f"/api/tenants/{TENANT}/quotas", {}),
        ("DELETE", f"/api/tenants/{TENANT}/quotas", None),
        ("GET", "/api/limits", None),
        ("PUT", "/api/limits/plugins/probe", {}),
        ("DELETE", "/api/limits/plugins/probe", None),
        ("PUT", "/api/limits/installations/inst_1", {}),
        ("DELETE", "/api/limits/installations/inst_1", None),
    ],
)
async def test_only_operators_decide(house: House, method: str, path: str, body: Any) -> None:
    assert (await house.ask(method, path, "owner", json=body)).status_code == 403


async def test_plans_are_defined_given_and_taken_back(house: House) -> None:
    body = {"tenant": {"calls_per_minute": 77}, "plugin": {}, "plugins": 3}
    made = await house.ask("PUT", "/api/plans/shop-floor", "operator", json=body)
    assert (made.status_code, made.json()["tenant"]["calls_per_minute"]) == (200, 77)
    assert "shop-floor" in [plan["name"] for plan in (await house.ask("GET", "/api/plans", "operator")).json()]
    given = await house.ask("PUT", "/api/tenants/empty/plan", "operator", json={"plan": "shop-floor"})
    assert (given.json()["plan"], given.json()["tenant"]["calls_per_minute"], given.json()["plugins"]) == (
        "shop-floor", 77, 3
    )  # fmt: skip
    assert (await house.ask("DELETE", "/api/plans/shop-floor", "operator")).json()["code"] == "plan-in-use"
    await house.ask("PUT", "/api/tenants/empty/plan", "operator", json={"plan": "free"})
    assert (await house.ask("DELETE", "/api/plans/shop-floor", "operator")).status_code == 204
    for path, code in (("/api/tenants/empty/plan", 404), ("/api/tenants/nobody/plan", 404)):
        gone = await house.ask("PUT", path, "operator", json={"plan": "shop-floor"})
        assert (gone.status_code, gone.json()["code"]) == (code, "plan-not-found")


async def test_a_tenant_cannot_be_made_with_a_plan_that_nobody_knows(house: House) -> None:
    answer = await house.ask("POST", "/api/tenants", "operator", json={"name": "X", "plan": "golden"})
    assert (answer.status_code, answer.json()["code"]) == (422, "plan-unknown")


async def test_a_plan_of_the_settings_is_changed_and_comes_back(house: House) -> None:
    body = {"tenant": {"rows": 1}, "plugin": {}}
    assert (await house.ask("PUT", "/api/plans/pro", "operator", json=body)).status_code == 200
    assert house.platform.quotas.plans["pro"].tenant.rows == 1
    assert (await house.ask("DELETE", "/api/plans/pro", "operator")).status_code == 204
    assert house.platform.quotas.plans["pro"].tenant.rows == 2_000_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/plans/X", {"tenant": {}, "plugin": {}}),
        ("/api/plans/x", {"tenant": {"calls_per_minute": -1}, "plugin": {}}),
        ("/api/plans/x", {"tenant": {"calls": 1}, "plugin": {}}),
        (f"/api/tenants/{TENANT}/quotas", {"tenant": {"rows": "many"}}),
        ("/api/limits/plugins/probe", {"memory_mb": 4}),
        ("/api/limits/plugins/probe", {"descriptors": 100}),
    ],
)
async def test_what_makes_no_sense_is_refused(house: House, path: str, body: Any) -> None:
    assert (await house.ask("PUT", path, "operator", json=body)).status_code == 422


async def test_a_limit_that_an_operator_raises_counts_at_the_next_call_and_is_in_the_trail(house: House) -> None:
    async def many() -> Any:
        answer = await house.ask("POST", "/api/plugins/probe/functions/many_calls", json={"arguments": {}})
        return answer.json()["output"]

    assert await many() is None, "the manifest allows three host calls"
    raised = await house.ask("PUT", "/api/limits/plugins/probe", "operator", json={"host_calls": 5})
    assert raised.json()["plugins"] == {"probe": {"host_calls": 5}}
    assert await many() == 4
    id = (await house.installation()).id
    path = f"/api/limits/installations/{id}"
    assert (await house.ask("PUT", path, "operator", json={"host_calls": 2})).status_code == 200
    assert await many() is None
    assert (await house.ask("DELETE", path, "operator")).status_code == 204
    assert (await house.ask("DELETE", "/api/limits/plugins/probe", "operator")).status_code == 204
    assert await many() is None
    trail = (await house.ask("GET", "/api/audit", params={"target": id})).json()["items"]
    assert [entry["action"] for entry in trail] == ["limits.withdraw", "limits.set"]


async def test_a_new_memory_limit_ends_isolates_that_have_the_old_one(house: House) -> None:
    assert (await add(house)).status_code == 200
    before = house.platform.isolates.stats().spawned
    assert (await house.ask("PUT", "/api/limits/plugins/probe", "operator", json={"memory_mb": 200})).status_code == 200
    assert (await add(house)).status_code == 200
    assert house.platform.isolates.stats().spawned > before
    await house.ask("DELETE", "/api/limits/plugins/probe", "operator")


async def test_nothing_goes_above_the_ceiling_and_the_refusal_says_where_it_is(house: House) -> None:
    refused = await house.ask("PUT", "/api/limits/plugins/probe", "operator", json={"memory_mb": 4000})
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["ceiling"]) == (422, "limit-above-ceiling", 1024)
    assert "JACKFIELD_CEILING_MEMORY_MB" in problem["hint"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("PUT", "/api/limits/installations/inst_none", "installation-unknown"),
        ("DELETE", "/api/limits/installations/inst_none", "limit-not-found"),
        ("DELETE", "/api/limits/plugins/nothing", "limit-not-found"),
        ("DELETE", "/api/plans/nothing", "plan-not-found"),
        ("DELETE", "/api/tenants/nobody/quotas", "tenant-not-found"),
    ],
)
async def test_what_is_not_there_is_missing(house: House, method: str, path: str, code: str) -> None:
    answer = await house.ask(method, path, "operator", json={"memory_mb": 64} if method == "PUT" else None)
    assert (answer.status_code, answer.json()["code"]) == (404, code)


# -- how many plugins --------------------------------------------------------------------------------------------------


async def test_a_plan_that_is_full_takes_no_more_plugins_and_says_what_to_do(house: House) -> None:
    async with allowed(house, plugins=1):
        body = {"slug": "probe", "instance": "second", "grants": ["storage"]}
        refused = await house.ask("POST", "/api/plugins/install", json=body)
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (409, "plan-full")
        assert (problem["limit"], problem["used"], problem["plan"]) == (1, 1, "free")
        assert "larger plan" in problem["hint"]
        asked = {"slug": "probe", "instance": "second"}
        planned = (await house.ask("POST", "/api/plugins/plan", json=asked)).json()
        assert "plan-full" in str(planned)
    assert (await house.ask("POST", "/api/plugins/install", json=body)).status_code in (200, 201)
    assert (await house.ask("DELETE", "/api/plugins/probe@second?data=delete")).status_code == 200
