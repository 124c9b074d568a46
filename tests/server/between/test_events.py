"""Events between plugins: through a declared dependency, with what was shared, and never round and round for ever."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from jackfield.capabilities.origin import Cause
from jackfield.extension_points.errors import ContextInvalidError
from jackfield_sdk.manifest import PluginDependency
from tests.server.between.house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def deliveries(house: House, plugin: str) -> list[dict[str, Any]]:
    return (await house.ask("GET", f"/api/plugins/{plugin}/deliveries", params={"limit": 200})).json()["items"]


async def test_a_circle_of_events_is_cut_with_a_reason_that_names_it(house: House) -> None:
    await house.call("base", "ping")
    await house.platform.drain_events()
    # base.done 1, loop.went 2, … base.done 9, loop.went 10; the eleventh, of base, would go to loop.
    dead = [item for item in await deliveries(house, "loop") if item["state"] == "dead"]
    assert [item["error_code"] for item in dead] == ["event-loop"]
    assert "base → loop → base" in dead[0]["error_message"]
    assert len([item for item in await deliveries(house, "loop") if item["state"] == "done"]) == 5
    assert len([item for item in await deliveries(house, "base") if item["state"] == "done"]) == 5


async def test_what_the_first_one_shared_goes_along_with_calls_and_events(house: House) -> None:
    await house.platform.tenant(TENANT).emit("sale.created", {"total": 1}, shared={"correlation_id": "cor-9"})
    await house.platform.drain_events()
    around = await house.stored("mid", "names")
    assert around["shared"] == {"correlation_id": "cor-9"}
    assert around["kind"] == "plugin"
    # It called base, which sent an event, which loop answered with one, which base heard: all of one story.
    assert await house.stored("base", "depth-2") == {"correlation_id": "cor-9"}


async def test_without_anything_shared_the_event_itself_is_the_correlation(house: House) -> None:
    event_id = await house.platform.tenant(TENANT).emit("sale.created", {})
    await house.platform.drain_events()
    assert (await house.stored("mid", "names"))["shared"] == {"correlation_id": event_id}


async def test_a_handler_that_runs_for_nobody_is_nobodys_admin(house: House) -> None:
    await house.platform.tenant(TENANT).emit("sale.created", {})
    await house.platform.drain_events()
    assert await house.stored("mid", "role") == "None"
    assert await house.stored("mid", "refused") == "role-too-low"


async def test_only_those_that_need_the_sender_in_this_version_hear_it(house: House) -> None:
    events = house.platform.events
    found = await events.subscribers(TENANT, "base.done")
    assert [one.installation_id for one in found] == [(await house.installation("loop")).id]
    plugins = await house.platform.active.get(TENANT)
    loop, handler = plugins.events["base.done"][0]
    needs = [PluginDependency(slug="base", versions=">=9"), PluginDependency(slug="other", versions="*")]
    for requires in ([], *([need] for need in needs)):
        manifest = msgspec.structs.replace(loop.manifest, requires=requires)
        plugins.events["base.done"] = ((dataclasses.replace(loop, manifest=manifest), handler),)  # type: ignore[index]
        assert await events.subscribers(TENANT, "base.done") == []
    plugins.events["base.done"] = ((loop, handler),)  # type: ignore[index]
    assert len(await events.subscribers(TENANT, "base.done")) == 1


@pytest.mark.parametrize(
    "shared",
    [{"x": "y" * 5000}, {"x": object()}, {"correlation_id": 7}, {"correlation_id": "a\nb"}, {"x": float("nan")}],
)
async def test_what_is_shared_is_small_and_plain(house: House, shared: dict[str, Any]) -> None:
    with pytest.raises(ContextInvalidError):
        await house.platform.tenant(TENANT).emit("sale.created", {}, shared=shared)


async def test_a_cause_reads_back_as_it_was() -> None:
    cause = Cause(3, ("a", "b"), {"correlation_id": "c"}, "")
    assert msgspec.json.decode(msgspec.json.encode(cause), type=Cause) == cause
