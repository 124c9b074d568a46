"""Calls from plugin to plugin: through a declared dependency, with the rights of all who take part, within bounds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jackfield.capabilities import CapabilityContext
from jackfield.extension_points.errors import DependencyMismatchError
from jackfield.tracing import Tracing
from jackfield_sdk import wire
from jackfield_sdk.manifest import PluginDependency
from tests.server.between.house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
OWNER, MEMBER = wire.Caller("mem_1", "owner"), wire.Caller("mem_2", "member")


async def tries(house: House, name: str, who: Any = None, /, plugin: str = "base", **arguments: Any) -> dict[str, Any]:
    return await house.call("mid", "tries", who=who, plugin=plugin, name=name, arguments=arguments)


async def test_a_public_function_of_a_dependency_answers(house: House) -> None:
    doubled, offers = await house.call("mid", "by_name")
    assert doubled == 42
    assert "double" in offers
    assert "private" not in offers


async def test_what_the_other_plugin_says_comes_as_it_was_meant(house: House) -> None:
    refused = await tries(house, "refuses")
    assert refused == {
        "kind": "user", "code": "thing-unknown", "message": "no such thing", "hint": "Look again.", "plugin": "base",
        "function": "refuses", "retry_after_s": None,
    }  # fmt: skip
    broken = await tries(house, "breaks")
    assert (broken["kind"], broken["code"]) == ("plugin", "plugin-error")
    assert "Traceback" not in broken["message"]
    later = await tries(house, "later")
    assert (later["code"], later["retry_after_s"]) == ("retry-later", 7)
    assert (await tries(house, "lies"))["code"] == "result-invalid"


@pytest.mark.parametrize(
    ("plugin", "name", "code"),
    [
        ("base", "private", "function-not-public"),
        ("base", "nothing", "function-unknown"),
        ("loop", "anything", "permission-denied"),
        ("base@other", "double", "plugin-not-active"),
        ("BASE", "double", "arguments-invalid"),
        ("base", "double; drop", "arguments-invalid"),
    ],
)
async def test_what_is_not_offered_never_runs(house: House, plugin: str, name: str, code: str) -> None:
    before = len(house.records)
    assert (await tries(house, name, plugin=plugin))["code"] == code
    assert [record.plugin for record in house.records[before:]] == ["mid"]


async def test_arguments_are_validated_before_the_other_plugin_is_woken(house: House) -> None:
    for arguments in ({}, {"n": "x"}, {"n": 1, "m": 2}):
        answer = await house.call("mid", "tries", plugin="base", name="double", arguments=arguments)
        assert (answer["kind"], answer["code"]) == ("platform", "arguments-invalid")


async def test_a_plugin_that_does_not_declare_the_dependency_is_refused_whatever_it_was_granted(house: House) -> None:
    answer = await house.call("stranger", "tries", plugin="base", name="double", arguments={"n": 1})
    assert answer == {"code": "dependency-not-declared"}
    result = await house.platform.tenant(TENANT).call("stranger", "offers", {})
    assert result.error is not None
    assert result.error.code == "dependency-not-declared"
    answer = await house.call("stranger", "tries", plugin="base", name="names", arguments={})
    assert answer == {"code": "permission-denied"}


async def test_a_version_that_was_not_asked_for_is_not_called(house: House) -> None:
    mid = await house.installation("mid")
    manifest = msgspec.structs.replace(mid.manifest, requires=[PluginDependency(slug="base", versions=">=9")])
    context = CapabilityContext(TENANT, mid.id, "mid", manifest, mid.grants)
    gate = house.platform.invoker._gate
    arguments = msgspec.msgpack.encode({"plugin": "base", "name": "double", "arguments": {"n": 1}})
    with pytest.raises(DependencyMismatchError):
        await gate.call(context, "functions", "call", arguments)
    offers = await gate.call(context, "functions", "offers", msgspec.msgpack.encode({"plugin": "base"}))
    assert msgspec.msgpack.decode(offers) == []


async def test_the_other_plugin_runs_for_the_same_member_in_the_same_language(house: House) -> None:
    result = await house.platform.tenant(TENANT).call(
        "mid", "forward", {"name": "around", "arguments": {}}, caller=MEMBER, locale="de-AT",
        context={"shared": {"correlation_id": "cor-1", "till": 3}},
    )  # fmt: skip
    assert result.output == {
        "user": ["mem_2", "member"], "kind": "plugin", "plugin": "mid", "depth": 1, "locale": "de-AT", "tenant": TENANT,
        "shared": {"correlation_id": "cor-1", "till": 3},
    }  # fmt: skip


async def test_what_is_shared_has_the_first_calls_id_when_nobody_gave_one(house: House) -> None:
    around = await house.call("mid", "forward", name="around", arguments={})
    parent = next(record for record in reversed(house.records) if record.plugin == "mid")
    assert around["shared"] == {"correlation_id": parent.id}


async def test_the_role_that_a_function_asks_for_is_the_acting_members(house: House) -> None:
    assert await tries(house, "admins_only", OWNER) == {"value": "owner"}
    assert (await tries(house, "admins_only", MEMBER))["code"] == "role-too-low"
    # The host may call it; a plugin that runs for nobody is not the host.
    assert (await tries(house, "admins_only", None))["code"] == "role-too-low"


async def test_a_plugin_cannot_have_another_one_read_what_it_may_not_read(house: House) -> None:
    assert await house.call("base", "names") == ["Ada"]
    denied = await tries(house, "names")
    assert (denied["kind"], denied["code"]) == ("plugin", "permission-denied")
    mid = await house.installation("mid")
    # Its own things stay its own: the refusal came after the storage was written.
    assert await house.stored("base", "asked") is True
    await house.platform.lifecycle.set_grants(TENANT, "mid", ["functions:base.*", "customers:read", "storage", "log"])
    try:
        assert await tries(house, "names") == {"value": ["Ada"]}
    finally:
        await house.platform.lifecycle.set_grants(TENANT, "mid", sorted(mid.grants))


async def test_a_circle_is_refused_where_it_closes(house: House) -> None:
    answer = await tries(house, "back")
    assert answer["code"] == "call-cycle", answer
    assert "mid → base → mid" in answer["message"]


async def test_only_so_many_calls_go_one_within_the_other(house: House) -> None:
    assert await house.call("link2", "go") == 6, "five calls from link2 to link7"
    result = await house.platform.tenant(TENANT).call("link1", "go", {})
    assert result.error is not None
    assert result.error.code == "call-depth-exceeded"
    # Each of the chain had one isolate alone, and none was in another one's way.
    assert [record.plugin for record in house.records[-6:]] == [f"link{n}" for n in range(6, 0, -1)]


async def test_every_call_leaves_a_record_that_says_within_which_it_was_made(house: House) -> None:
    await house.call("link5", "go")
    last, middle, first = house.records[-3:]
    assert (first.plugin, middle.plugin, last.plugin) == ("link5", "link6", "link7")
    assert (first.parent_id, first.chain) == (None, None)
    assert (middle.parent_id, middle.chain) == (first.id, ["link5"])
    assert (last.parent_id, last.chain) == (middle.id, ["link5", "link6"])
    assert first.called_cpu_us >= middle.cpu_us + last.cpu_us
    assert first.capabilities == {"functions": 1}


async def test_the_caller_pays_too(house: House) -> None:
    mid, base = await house.installation("mid"), await house.installation("base")

    def used() -> tuple[int, int, int]:
        tenant, plugins = house.platform.quotas.accounts_of(TENANT, [mid.id, base.id])
        now = house.platform.quotas.now()
        cpu = [
            next(count for name, _, count, _, _ in account.rates(now) if name == "cpu_ms_per_minute")
            for account in (tenant, plugins[mid.id], plugins[base.id])
        ]
        return cpu[0], cpu[1], cpu[2]

    before = used()
    await house.call("mid", "forward", name="burn", arguments={})
    after = used()
    tenant, caller, callee = (now - then for now, then in zip(after, before, strict=True))
    assert callee >= 25
    assert caller >= callee - 1
    assert tenant < callee + caller, "the tenant pays once"


async def test_a_call_ends_before_its_caller_has_to(house: House) -> None:
    answer = await house.call("mid", "tries", plugin="base", name="sleep", arguments={"seconds": 30}, timeout_ms=200)
    assert (answer["kind"], answer["code"]) == ("plugin", "deadline-exceeded")


async def test_stats_and_errors_tell_what_was_called(house: House) -> None:
    await house.call("mid", "forward", name="burn", arguments={})
    stats = (await house.ask("GET", "/api/plugins/mid/stats")).json()
    assert stats["called_cpu_ms"] >= 25
    await tries(house, "breaks")
    errors = (await house.ask("GET", "/api/plugins/base/errors")).json()
    latest = (errors["items"] if isinstance(errors, dict) else errors)[0]
    assert latest["chain"] == ["mid"]
    assert latest["parent_id"].startswith("inv_")


async def test_the_other_plugins_call_is_a_span_below_the_callers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    invoker = house.platform.invoker
    monkeypatch.setattr(invoker, "_tracing", Tracing(provider))
    monkeypatch.setattr(invoker, "_operations", invoker._gate.operations)  # pyright: ignore[reportPrivateUsage]  # as it is made with spans
    await house.call("mid", "by_name")
    spans = {(span.attributes or {}).get("jackfield.plugin", span.name): span for span in exporter.get_finished_spans()}
    callers, asked, called = spans["mid"], spans["capability functions.call"], spans["base"]
    assert callers.context is not None
    assert asked.context is not None
    assert called.parent is not None
    assert asked.parent is not None
    assert called.parent.span_id == asked.context.span_id
    assert called.parent.trace_id == callers.context.trace_id == asked.parent.trace_id
    last = {record.plugin: record.trace_id for record in house.records[-2:]}
    assert last == dict.fromkeys(("base", "mid"), f"{callers.context.trace_id:032x}")
