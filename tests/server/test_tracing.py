"""Traces: a request's id reaches the plugin and the records; OpenTelemetry gets spans, with no secrets in them."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import pytest_asyncio
import structlog
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import select

from jackfield import Platform, Settings, ensure_key_file, telemetry
from jackfield.clock import SystemClock
from jackfield.extension_points import Events
from jackfield.extension_points.delivering import Delivering
from jackfield.http import TraceMiddleware
from jackfield.invocation import Invocation, Invoker
from jackfield.jobs import DeliverySnapshot, OutboxEvent
from jackfield.records import InvocationRecord
from jackfield.settings import LimitSettings
from jackfield.tracing import Tracing, TracingUnavailableError, incoming, is_traceparent, trace_id_of
from tests.server.conftest import KnownCallers, application, client
from tests.server.sealed_house import TENANT, House, running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01"

with_house = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with running(tmp_path_factory.mktemp("traced")) as house:
        yield house


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider)


class Kept:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.records: list[InvocationRecord] = []

    def record(self, record: InvocationRecord) -> None:
        self.records.append(record)


def traced_invoker(house: House, tracing: Tracing | None, kept: Kept) -> Invoker:
    platform = house.platform
    gate = platform.invoker._gate  # pyright: ignore[reportPrivateUsage]  # the same gate
    return Invoker(platform.isolates, gate, kept, LimitSettings(), SystemClock(), tracing=tracing)


async def call(invoker: Invoker, house: House, handler: str, payload: Any = None) -> None:
    installation = await house.installation()
    await invoker.run(Invocation(installation, "function", handler, handler, payload or {}, 30_000))


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    return cast("Any", span.context).span_id


@with_house
async def test_spans_cross_the_border_of_the_isolate(
    house: House, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    kept = Kept()
    token = incoming.set(HEADER)
    try:
        await call(traced_invoker(house, tracing, kept), house, "many_calls")
    finally:
        incoming.reset(token)
    spans = by_name(exporter)
    invoked, isolate, asked = spans["invocation function"], spans["isolate"], spans["capability storage.get"]
    assert parent_of(invoked) == int(PARENT, 16)
    assert parent_of(isolate) == id_of(invoked)
    assert parent_of(asked) == id_of(isolate)
    assert {cast("Any", span.context).trace_id for span in spans.values()} == {int(TRACE, 16)}
    about = dict(invoked.attributes or {})
    assert about.pop("jackfield.invocation") == kept.records[0].id
    assert about.pop("jackfield.installation") == (await house.installation()).id
    assert about == {
        "jackfield.tenant": TENANT, "jackfield.plugin": "probe", "jackfield.version": "1.0.0",
        "jackfield.kind": "function", "jackfield.name": "many_calls", "jackfield.handler": "many_calls",
        "jackfield.status": "error", "jackfield.code": "host-calls-exceeded",
    }  # fmt: skip
    assert invoked.status.status_code is StatusCode.ERROR
    assert kept.records[0].trace_id == TRACE


@with_house
async def test_a_plugin_sees_the_trace_that_it_works_for(house: House, tracing: Tracing) -> None:
    kept = Kept()
    for made in (tracing, None):
        token = incoming.set(HEADER)
        try:
            installation = await house.installation()
            invocation = Invocation(installation, "function", "traced", "traced", {}, 30_000)
            outcome = await traced_invoker(house, made, kept).run(invocation)
        finally:
            incoming.reset(token)
        assert outcome.value == TRACE
    outcome = await traced_invoker(house, None, kept).run(invocation)
    assert outcome.value == ""
    assert [record.trace_id for record in kept.records] == [TRACE, TRACE, None]


@with_house
async def test_nothing_that_a_plugin_says_is_in_a_span(
    house: House, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    kept = Kept()
    invoker = traced_invoker(house, tracing, kept)
    await call(invoker, house, "defect")
    await call(invoker, house, "user_error")
    await call(invoker, house, "add", {"a": "hunter2"})
    told = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert not [text for text in ("broken", "no such customer", "hunter2", "Traceback") if text in told]
    assert "token-expired" in told


async def test_a_request_is_the_parent_of_what_it_leads_to(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    routes = APIRouter()

    @routes.get("/things/{name}")
    async def thing(name: str) -> str:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        with tracing.span("inside", {}):
            return incoming.get()[3:35]

    app = application(KnownCallers({}), routes)
    app.add_middleware(TraceMiddleware, tracing=tracing)
    async with client(app) as http:
        answer = await http.get("/things/secret-name", headers={"traceparent": HEADER})
        assert answer.json() == TRACE, "what is left for later is left by this trace"
        await http.get("/things/x", headers={"traceparent": "nonsense"})
    inside, request, _, other = exporter.get_finished_spans()
    assert (request.name, request.kind) == ("GET /things/{name}", SpanKind.SERVER)
    assert parent_of(request) == int(PARENT, 16)
    assert parent_of(inside) == id_of(request)
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET", "http.response.status_code": 200, "http.route": "/things/{name}",
    }  # fmt: skip
    assert other.parent is None


async def test_a_hosts_own_span_comes_before_the_header(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.span("host", {}), tracing.span("ours", {}, traceparent=HEADER):
        pass
    ours, host = exporter.get_finished_spans()
    assert parent_of(ours) == id_of(host)


@with_house
async def test_without_opentelemetry_a_header_still_names_the_trace(house: House) -> None:
    answer = await house.ask(
        "POST", "/api/plugins/probe/functions/traced", json={"arguments": {}}, headers={"traceparent": HEADER}
    )
    assert answer.json()["output"] == TRACE
    found = (await house.ask("GET", "/api/plugins/probe/invocations")).json()["items"][0]
    assert found["trace_id"] == TRACE
    assert incoming.get() == ""


@given(st.text(max_size=60) | st.sampled_from([HEADER + "-x", HEADER.upper(), "01" + HEADER[2:], HEADER + "\n"]))
def test_only_a_header_of_the_standard_is_one(text: str) -> None:
    assert not is_traceparent(text) or text == HEADER


def test_a_trace_of_zeros_is_none() -> None:
    assert is_traceparent(HEADER)
    assert not is_traceparent(f"00-{'0' * 32}-{PARENT}-01")
    assert not is_traceparent(f"00-{TRACE}-{'0' * 16}-01")
    assert trace_id_of(HEADER) == TRACE
    assert trace_id_of("") is None


@with_house
async def test_a_line_of_the_log_names_the_call_that_it_was_written_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> bytes:
        raise RuntimeError("a defect of ours")

    kept, stream, root = Kept(), io.StringIO(), logging.getLogger()
    before = (root.handlers, root.level)
    invoker = traced_invoker(house, None, kept)
    monkeypatch.setattr(house.platform.invoker._gate, "call", broken)  # pyright: ignore[reportPrivateUsage]  # as above
    try:
        telemetry.configure(form="json", stream=stream)
        await call(invoker, house, "pinged", {"n": 1})
    finally:
        root.handlers, root.level = before
        structlog.reset_defaults()
    line = next(
        line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "capability failed"
    )
    record = kept.records[0]
    assert (line["tenant_id"], line["plugin"], line["installation_id"], line["invocation_id"]) == (
        TENANT, "probe", record.installation_id, record.id,
    )  # fmt: skip
    assert telemetry.working.get() is None


@with_house
async def test_one_trace_leads_from_the_hosts_request_to_the_handler_and_a_replay_is_linked_to_it(
    house: House, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    platform = house.platform
    invoker = traced_invoker(house, tracing, Kept())
    events = Events(platform.database, platform.surface, platform.active, invoker, tracing=tracing)
    delivering = Delivering(events, {}, tracing=tracing)
    with tracing.span("host", {}, traceparent=HEADER) as host:
        event_id = await events.emit(TENANT, "ping.refused", {"n": 1})
        sent_in = tracing.traceparent(host)
    async with platform.database.read(TENANT) as session:
        cause = await session.scalar(select(OutboxEvent.cause).where(OutboxEvent.id == event_id))
    await platform.drain_events()
    made = DeliverySnapshot(
        "dlv_1", event_id, "ping.refused", TENANT, (await house.installation()).id, "refuses", True, 1, {"n": 1},
        "host", SystemClock().now(), cause,
    )  # fmt: skip
    for delivery in (made, msgspec.structs.replace(made, attempt=2)):
        assert (await delivering.deliver(delivery)).status == "dead"
    finished = exporter.get_finished_spans()
    assert trace_id_of(sent_in) == TRACE
    first, again = (span for span in finished if span.name == "delivery")
    invoked = [span for span in finished if span.name == "invocation event"]
    assert parent_of(first) == id_of(by_name(exporter)["host"])
    assert cast("Any", first.context).trace_id == int(TRACE, 16)
    assert [parent_of(span) for span in invoked] == [id_of(first), id_of(again)]
    assert again.parent is None
    assert cast("Any", again.context).trace_id != int(TRACE, 16)
    assert [link.context.span_id for link in again.links] == [id_of(by_name(exporter)["host"])]
    assert dict(first.attributes or {})["jackfield.code"] == "user-error"
    assert first.kind is SpanKind.CONSUMER
    assert incoming.get() == ""


def test_without_opentelemetry_spans_are_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TracingUnavailableError) as refused:
        Tracing()
    assert refused.value.code == "tracing-unavailable"
    assert "jackfield[otel]" in refused.value.hint


async def test_a_node_that_writes_spans_serves_as_any_other(
    tmp_path: Path, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    ensure_key_file(tmp_path)
    platform = Platform(Settings(data_dir=tmp_path, isolation="none", tracing=True))
    async with client(platform.asgi) as http:
        answer = await http.get("/api/health?token=whose-word", headers={"traceparent": HEADER})
    assert answer.json()["status"] == "unavailable"
    # The framework writes spans of its own where it finds a provider, with the address.
    (span,) = exporter.get_finished_spans()
    assert span.name == "GET /api/health"
    assert "whose-word" not in str(span.attributes)
    await platform.database.close()
