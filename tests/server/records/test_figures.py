"""`GET /metrics`: what a monitoring system reads, with few labels, and only by those who may."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from jackfield.http import Caller
from jackfield.records import Figures, cached, metrics_router, node_figures
from jackfield.records.figures import OTHERS
from tests.server.conftest import KnownCallers, application, client
from tests.server.records.test_recorder import made

CALLERS = KnownCallers(
    {
        "ops": Caller("operator", token_id="tok_1"),
        "own": Caller("owner", tenant_id="acme", token_id="tok_2"),
        "pub": Caller("publisher", publisher_id="p", token_id="tok_3"),
    }
)
TOKEN = "a-token-for-metrics-alone"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(figures: Figures) -> Samples:
    """What a monitoring system reads."""
    app = application(CALLERS, metrics_router([figures.now], CALLERS))
    async with client(app, "ops") as http:
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def at(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"jackfield_{name}", frozenset(labels.items())


async def test_calls_are_counted_by_plugin_kind_and_status() -> None:
    figures = Figures()
    for number in range(3):
        figures.observe(made(number, queries=2, egress_bytes=10, capabilities={"storage": 3}, secret_leaks=1))
    figures.observe(made(3, status="timeout", duration_us=2_000_000, error_code="deadline-exceeded"))
    figures.observe(made(4, status="refused", error_code="quota-exhausted"))
    samples = await scraped(figures)
    where = {"plugin": "loyalty-points", "kind": "event"}
    assert samples[at("invocations_total", status="ok", **where)] == 3
    assert samples[at("invocations_total", status="timeout", **where)] == 1
    assert samples[at("invocation_duration_seconds_bucket", le="0.0025", **where)] == 4
    assert samples[at("invocation_duration_seconds_bucket", le="2.5", **where)] == 5
    assert samples[at("invocation_duration_seconds_count", **where)] == 5
    assert samples[at("cpu_seconds_total", **where)] == pytest.approx(0.004)
    assert samples[at("queries_total", **where)] == 6
    assert samples[at("egress_bytes_total", **where)] == 30
    assert samples[at("secret_leaks_total", **where)] == 3
    assert samples[at("capability_calls_total", capability="storage")] == 9
    assert samples[at("refused_total", code="quota-exhausted")] == 1
    assert samples[at("isolate_ends_total", reason="timeout")] == 1
    assert samples[at("isolate_ends_total", reason="memory")] == 0


async def test_beyond_a_number_of_plugins_the_rest_count_as_one() -> None:
    figures = Figures(plugins=5)
    for number in range(1000):
        figures.observe(made(number, plugin=f"p{number}"))
    samples = await scraped(figures)
    calls = {dict(labels)["plugin"]: value for (name, labels), value in samples.items() if name.endswith("tions_total")}
    assert calls == {"p0": 1, "p1": 1, "p2": 1, "p3": 1, "p4": 1, OTHERS: 995}
    assert len(samples) < 300


async def test_no_tenant_is_named_unless_the_operator_names_it() -> None:
    figures = Figures()
    figures.observe(made(1, tenant_id="acme"))
    assert not any("acme" in repr(key) or "tenant" in repr(key) for key in await scraped(figures))
    figures = Figures(tenants=["acme"])
    for number in range(4):
        figures.observe(made(number, tenant_id="acme" if number else "other"))
    samples = await scraped(figures)
    where = {"plugin": "loyalty-points", "kind": "event", "status": "ok"}
    assert samples[at("invocations_total", tenant="acme", **where)] == 3
    assert samples[at("invocations_total", tenant="", **where)] == 1


async def test_what_a_plugin_calls_its_error_is_no_label() -> None:
    figures = Figures()
    for number in range(500):
        figures.observe(made(number, status="error", error_code=f"code-{number}"))
        figures.observe(made(number, status="refused", error_code=f"ours-{number}"))
    samples = await scraped(figures)
    assert not any("code-1" in repr(key) for key in samples)
    assert sum(name == "jackfield_refused_total" for name, _ in samples) <= 65


async def test_odd_names_do_not_break_the_format() -> None:
    figures = Figures()
    figures.observe(made(1, plugin='a"b\\c\nd', kind="x\n# TYPE y counter"))
    assert at("cpu_seconds_total", plugin='a"b\\c\nd', kind="x\n# TYPE y counter") in await scraped(figures)


async def test_only_operators_and_the_token_for_metrics_may_read_them() -> None:
    app = application(CALLERS, metrics_router([Figures().now], CALLERS, token=TOKEN))
    for token, status in ((None, 401), ("nobody", 401), ("own", 403), ("pub", 403), ("ops", 200), (TOKEN, 200)):
        async with client(app, token) as http:
            answer = await http.get("/metrics")
            assert answer.status_code == status, token
            assert ("jackfield_" in answer.text) == (status == 200)


async def test_coming_from_this_machine_opens_nothing_unless_it_is_open_to_all() -> None:
    for is_open, status in ((False, 401), (True, 200)):
        app = application(CALLERS, metrics_router([Figures().now], CALLERS, is_open=is_open))
        async with client(app) as http:
            assert (await http.get("/metrics")).status_code == status


async def test_without_a_token_for_metrics_no_text_is_one() -> None:
    app = application(CALLERS, metrics_router([Figures().now], CALLERS))
    for header in ("Bearer ", "Bearer None", "Bearer", "Basic b3Bz", "Bearer \u00fc"):
        async with client(app) as http:
            answer = await http.get("/metrics", headers=[(b"authorization", header.encode())])
            assert answer.status_code == 401, header


async def test_figures_of_the_node_are_among_them() -> None:
    async def node() -> Iterable[Metric]:
        return node_figures("1.2.3", "strict", (7, 1.5))

    app = application(CALLERS, metrics_router([node], CALLERS, is_open=True))
    async with client(app) as http:
        text = (await http.get("/metrics")).text
    assert 'jackfield_build_info{isolation="strict",version="1.2.3"} 1.0' in text
    assert "jackfield_records_waiting 7.0" in text
    assert "jackfield_records_lag_seconds 1.5" in text


async def test_what_asks_the_database_is_asked_once_in_a_while() -> None:
    asked = 0

    async def source() -> Iterable[Metric]:
        nonlocal asked
        asked += 1
        return [GaugeMetricFamily("asked", "How often.", asked)]

    seldom, always = cached(source, 3600), cached(source, 0)
    for _ in range(5):
        await seldom()
    assert asked == 1
    await always()
    await always()
    assert asked == 3
