"""What a call has cost can be read a moment later: by its tenant, by operators, by the monitoring system."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def call(house: House, name: str, who: str = "owner", **arguments: Any) -> None:
    answer = await house.ask("POST", f"/api/plugins/probe/functions/{name}", who, json={"arguments": arguments})
    assert answer.status_code == 200, answer.text


async def stats(house: House, who: str = "owner", **params: str) -> dict[str, Any]:
    answer = await house.ask("GET", "/api/plugins/probe/stats", who, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def of_handler(house: House, name: str, who: str = "owner") -> dict[str, Any]:
    found = [each for each in (await stats(house, who))["handlers"] if each["name"] == name]
    return found[0] if found else {"calls": 0, "queries": 0, "host_calls": 0, "capabilities": {}}


async def test_a_handlers_calls_time_queries_and_bytes_are_counted(house: House) -> None:
    before = await of_handler(house, "many_calls")
    await call(house, "many_calls")
    after = await of_handler(house, "many_calls")
    assert after["calls"] == before["calls"] + 1
    assert (after["kind"], after["handler"]) == ("function", "many_calls")
    # Its manifest allows three capability calls; the fourth never reaches a capability.
    assert after["queries"] == before["queries"] + 3
    assert after["capabilities"]["storage"] == before["capabilities"].get("storage", 0) + 3
    assert after["host_calls"] == before["host_calls"] + 4
    assert after["payload_bytes"] >= 1
    assert 0 < after["p50_ms"] <= after["p95_ms"] <= after["p99_ms"] <= after["maximum_ms"]
    assert after["cpu_ms"] >= 0


async def test_queries_of_writes_are_counted_whatever_they_are_made_of(house: House) -> None:
    await house.platform.tenant(TENANT).emit("ping.sent", {"n": 1})
    await house.platform.drain_events()
    pinged = [each for each in (await stats(house))["handlers"] if each["handler"] == "pinged"]
    # One read; of the write, at least the row and the space that it takes.
    assert pinged[0]["queries"] >= 3 * pinged[0]["calls"]
    assert pinged[0]["capabilities"] == {"storage": 2 * pinged[0]["calls"]}


async def test_the_memory_of_a_fresh_process_is_looked_at(house: House) -> None:
    await house.platform.isolates.retire((await house.installation()).id)
    await call(house, "add", a=1)
    handler = await of_handler(house, "add")
    assert handler["memory_peak_kb"] > 1000
    assert handler["cold_starts"] >= 1


async def test_each_tenant_has_its_own(house: House) -> None:
    before = await of_handler(house, "typed", "rival")
    await call(house, "typed", ratio=1.5, size="small", day="2026-03-01")
    assert (await of_handler(house, "typed"))["calls"] >= 1
    assert (await of_handler(house, "typed", "rival")) == before


async def test_the_series_ends_now(house: House) -> None:
    await call(house, "add", a=1)
    for step in ("hour", "day"):
        series = (await stats(house, step=step))["series"]
        assert series[-1]["calls"] >= 1
        assert series[-1]["at"].endswith("00:00Z")
    assert (await house.ask("GET", "/api/plugins/probe/stats", params={"step": "week"})).status_code == 422
    since = await house.ask("GET", "/api/plugins/probe/stats", params={"since": "1999-01-01T00:00:00Z"})
    assert (since.status_code, since.json()["code"]) == (422, "since-invalid")


async def test_operators_see_what_a_plugin_costs_in_all_tenants(house: House) -> None:
    await call(house, "add", a=1)
    await call(house, "add", "rival", a=1)
    answer = await house.ask("GET", "/api/operators/cost", "operator", params={"sort": "calls"})
    (probe,) = [each for each in answer.json()["items"] if each["plugin"] == "probe"]
    assert probe["installations"] == 2
    assert probe["calls"] >= 2
    assert (await house.ask("GET", "/api/operators/cost", "owner")).status_code == 403


async def test_the_monitoring_system_reads_how_the_node_stands(house: House) -> None:
    await call(house, "add", a=1)
    await call(house, "many_calls")
    answer = await house.ask("GET", "/metrics", "operator")
    samples = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["jackfield_invocations_total", "function", "probe", "ok"] >= 1
    assert samples["jackfield_capability_calls_total", "storage"] >= 3
    assert samples["jackfield_isolates", "alive"] >= 1
    assert samples["jackfield_isolates_spawned_total",] >= 1
    assert samples["jackfield_zygote_restarts_total",] >= 0
    assert ("jackfield_deliveries_pending", "ready") in samples
    assert ("jackfield_deliveries_dead",) in samples
    assert ("jackfield_records_lag_seconds",) in samples
    assert any(name[0] == "jackfield_build_info" for name in samples)
    assert TENANT not in answer.text
    for who, status in ((None, 401), ("owner", 403), ("member", 403)):
        assert (await house.ask("GET", "/metrics", who)).status_code == status
