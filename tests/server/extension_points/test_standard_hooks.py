"""Each standard hook point through a sealed plugin; what plugins hear of one another; observers; dry runs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from jackfield import FilterHook, Platform, Settings, Surface, ensure_key_file, standard
from jackfield.capabilities.dry_runs import READING
from jackfield.extension_points.errors import EventUnknownError
from jackfield.lifecycle import Actor
from jackfield.settings import BreakerSettings, HealthSettings
from jackfield_cli.keys import SigningKey, create_key
from jackfield_cli.pack import pack_project
from jackfield_sdk import hooks
from jackfield_sdk.hooks.catalogue import STANDARD, Hook

pytestmark = pytest.mark.asyncio(loop_scope="session")
TENANT = "acme"
ANN = Actor("mem_ann", "owner", "member:mem_ann")

LISTENER = """
from typing import Any

import msgspec

import jackfield_sdk as jf
from jackfield_sdk.hooks.catalogue import STANDARD

plugin = jf.Plugin("listener", version="1.0.0", permissions=["storage"])


def declare(number: int, hook: object) -> None:
    def handler(ctx: jf.Context, value: object) -> None:
        heard = ctx.storage.get(hook.name, [])
        ctx.storage.set(hook.name, [*heard, msgspec.to_builtins(value)])

    handler.__name__ = f"hook_{number}"
    handler.__annotations__["value"] = hook.payload
    (plugin.filter if hook.kind == "filter" else plugin.on)(hook.name)(handler)


for number, hook in enumerate(STANDARD.values()):
    declare(number, hook)


@plugin.function()
def heard(ctx: jf.Context, name: str) -> list[dict[str, Any]]:
    return ctx.storage.get(name, [])
"""

NEIGHBOUR = """
import jackfield_sdk as jf

plugin = jf.Plugin("neighbour", version="VERSION", permissions=["storage"])


@plugin.config
class Config:
    colour: str = "red"


@plugin.on("plugin.configured")
def configured(ctx: jf.Context, change: jf.hooks.PluginChange) -> None:
    ctx.storage.set("heard", [*ctx.storage.get("heard", []), change.slug])


@plugin.function()
def heard(ctx: jf.Context) -> list[str]:
    return ctx.storage.get("heard", [])
"""

TRIER = """
import time
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin(
    "trier", version="1.0.0", permissions=["storage", "tables", "cache", "notify"],
    emits={"trier.tried": dict[str, int]}, limits=jf.Limits(wall_ms=2000),
)
Thing = dict[str, Any]


@plugin.table("tries")
class Try:
    n: int


@plugin.filter("try.change", priority=1)
def change(ctx: jf.Context, thing: Thing) -> Thing:
    return {**thing, "n": thing["n"] + ctx.storage.get("more", 1), "by/trier": True}


@plugin.filter("try.change", priority=2)
def same(ctx: jf.Context, thing: Thing) -> None:
    ctx.log.info("looked")


@plugin.filter("try.change", priority=3, when="try.n > 1000")
def never(ctx: jf.Context, thing: Thing) -> None: ...


@plugin.filter("try.change", priority=4)
def veto(ctx: jf.Context, thing: Thing) -> None:
    if thing["n"] > 10:
        raise jf.VetoError("too much")


@plugin.filter("try.change", priority=-9, observe=True)
def look(ctx: jf.Context, thing: Thing) -> Thing:
    ctx.storage.set("looked", thing["n"])
    return {"n": -1}


@plugin.filter("try.write")
def write(ctx: jf.Context, thing: Thing) -> Thing:
    def tried(does: Any) -> str:
        try:
            does()
        except jf.CapabilityError as error:
            return error.code
        return "done"

    return {
        "storage": tried(lambda: ctx.storage.set("a", 1)),
        "delete": tried(lambda: ctx.storage.delete("kept")),
        "table": tried(lambda: ctx.tables["tries"].insert(n=1)),
        "cache": tried(lambda: ctx.cache.set("a", 1)),
        "event": tried(lambda: ctx.events.emit("trier.tried", {"n": 1})),
        "notify": tried(lambda: ctx.notify.send("members", title="Hello", body="")),
        "http": tried(lambda: ctx.http.post("https://example.com/", json={})),
        "read": tried(lambda: ctx.storage.get("kept")),
    }


@plugin.filter("try.fail")
def fail(ctx: jf.Context, thing: Thing) -> None:
    raise RuntimeError("broken")


@plugin.filter("try.slow", observe=True, timeout_ms=400)
def slow_a(ctx: jf.Context, thing: Thing) -> None:
    time.sleep(0.3)


@plugin.filter("try.slow", observe=True, timeout_ms=400)
def slow_b(ctx: jf.Context, thing: Thing) -> None:
    time.sleep(30)


@plugin.filter("try.slow", observe=True)
def broken(ctx: jf.Context, thing: Thing) -> None:
    raise jf.VetoError("no")


@plugin.function(public=True, read_only=True)
def peek(ctx: jf.Context) -> str:
    try:
        ctx.storage.set("peeked", 1)
    except jf.CapabilityError as error:
        return error.code
    return "written"


@plugin.function(public=True)
def put(ctx: jf.Context, key: str, value: int) -> None:
    ctx.storage.set(key, value)


@plugin.function()
def kept(ctx: jf.Context) -> dict[str, int]:
    return {**dict(ctx.storage.items()), "rows": ctx.tables["tries"].count()}
"""


ASKER = """
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin(
    "asker", version="1.0.0", permissions=["functions:trier.peek", "functions:trier.put"], requires={"trier": ">=1.0"}
)


@plugin.filter("try.ask")
def ask(ctx: jf.Context, thing: dict[str, Any]) -> dict[str, Any]:
    peeked = ctx.functions["trier"].peek()
    try:
        ctx.functions["trier"].put(key="put", value=1)
    except jf.CapabilityError as error:
        return {"peek": peeked, "put": error.code}
    return {"peek": peeked, "put": "written"}
"""


class House:
    """A platform with plugins of this file."""

    def __init__(self, platform: Platform, folder: Path, key: SigningKey) -> None:
        self.platform, self._folder, self._key = platform, folder, key
        self.tenant = platform.tenant(TENANT)

    async def publish(self, slug: str, source: str, version: str = "1.0.0") -> None:
        project = self._folder / f"{slug}-{version}"
        project.mkdir()
        (project / "plugin.py").write_text(source.replace("VERSION", version))
        (project / "pyproject.toml").write_text(f'[project]\nname = "{slug}"\nversion = "{version}"\n')
        packed = self._folder / f"{slug}-{version}.jfp"
        pack_project(project, packed, key=self._key)

        async def chunks() -> AsyncIterator[bytes]:
            yield packed.read_bytes()

        await self.platform.registry.publish(chunks(), "pub")

    async def call(self, slug: str, function: str, /, **arguments: Any) -> Any:
        result = await self.tenant.call(slug, function, arguments)
        assert result.success, result.error
        return result.output


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("standard")
    key = create_key(folder / "keys")
    ensure_key_file(folder / "data")
    surface = Surface(
        filters=[
            *standard.filters(),
            *(FilterHook(f"try.{name}") for name in ("change", "write", "fail", "slow", "ask")),
        ],
        events=standard.events(),
    )
    health = HealthSettings(breaker=BreakerSettings(in_a_row=2))
    async with Platform(
        Settings(data_dir=folder / "data", isolation="unprivileged", health=health), surface
    ) as running:
        await running.registry.ensure_publisher("pub", "Pub")
        await running.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await running.tenants.ensure_tenant(TENANT, name=TENANT)
        house = House(running, folder, key)
        for slug, source in (("listener", LISTENER), ("neighbour", NEIGHBOUR), ("trier", TRIER), ("asker", ASKER)):
            await house.publish(slug, source)
        await running.lifecycle.install(TENANT, "listener", grants=["storage"])
        await running.lifecycle.install(TENANT, "trier", grants=["storage", "tables", "cache", "notify"])
        await house.call("trier", "put", key="kept", value=7)
        await running.lifecycle.install(TENANT, "asker", grants=["functions:trier.peek", "functions:trier.put"])
        yield house


@pytest.mark.parametrize("hook", [h for h in STANDARD.values() if h.source == "host"], ids=lambda hook: hook.name)
async def test_a_sealed_plugin_is_given_each_of_the_hosts(house: House, hook: Hook) -> None:
    if hook.kind == "filter":
        assert await house.tenant.filter(hook.name, hook.example) == hook.example
    else:
        await house.tenant.emit(hook.name, hook.example)
        await house.platform.drain_events(10)
    (heard,) = await house.call("listener", "heard", name=hook.name)
    assert msgspec.convert(heard, hook.payload) == hook.example


async def test_plugins_hear_what_becomes_of_the_others(house: House) -> None:
    lifecycle = house.platform.lifecycle
    await house.publish("neighbour", NEIGHBOUR, "1.1.0")
    installed = await lifecycle.install(TENANT, "neighbour", version="1.0.0", grants=["storage"], actor=ANN)
    await lifecycle.configure(TENANT, "neighbour", {"colour": "blue"}, actor=ANN)
    await house.platform.drain_events(10)
    assert await house.call("neighbour", "heard") == []
    await lifecycle.deactivate(TENANT, "neighbour", actor=ANN)
    await lifecycle.activate(TENANT, "neighbour", actor=ANN)
    await lifecycle.update(TENANT, "neighbour", actor=ANN)
    await lifecycle.rollback(TENANT, "neighbour", actor=ANN)
    now = await house.platform.active.by_id(TENANT, installed.id)
    assert now is not None
    await lifecycle.quarantine(TENANT, installed.id, ("crash-loop", "it died"), revision=now.revision)
    await lifecycle.uninstall(TENANT, "neighbour", actor=ANN)
    await house.platform.drain_events(10)
    told = {name: await house.call("listener", "heard", name=name) for name in STANDARD if name.startswith("plugin.")}
    told = {name: [each for each in heard if each["slug"] == "neighbour"] for name, heard in told.items()}
    assert {name: len(heard) for name, heard in told.items()} == {
        "plugin.installed": 1, "plugin.activated": 2, "plugin.deactivated": 1, "plugin.updated": 1,
        "plugin.rolledBack": 1, "plugin.uninstalled": 1, "plugin.configured": 1, "plugin.quarantined": 1,
    }  # fmt: skip
    (updated,), (back,), (ill,) = told["plugin.updated"], told["plugin.rolledBack"], told["plugin.quarantined"]
    assert (updated["previous_version"], updated["version"], updated["by"]) == ("1.0.0", "1.1.0", "mem_ann")
    assert (back["previous_version"], back["version"]) == ("1.1.0", "1.0.0")
    assert (ill["by"], ill["reason"]) == (None, "crash-loop")


async def test_a_host_cannot_say_what_became_of_a_plugin(house: House) -> None:
    with pytest.raises(EventUnknownError, match="by the platform alone"):
        await house.tenant.emit("plugin.installed", hooks.PluginChange(slug="evil", version="1.0.0"))


async def test_those_that_only_look_see_the_end_and_change_nothing(house: House) -> None:
    assert await house.tenant.filter("try.change", {"n": 1}) == {"n": 2, "by/trier": True}
    assert (await house.call("trier", "kept"))["looked"] == 2


async def test_the_host_waits_for_the_slowest_of_those_that_look_and_no_longer(house: House) -> None:
    await house.platform.filters.run(TENANT, "try.slow", {"n": 1})
    started = time.monotonic()
    run = await house.platform.filters.run(TENANT, "try.slow", {"n": 1})
    took = time.monotonic() - started
    assert {step.handler: (step.end, step.status) for step in run.steps} == {
        "slow_a": ("observed", "ok"), "slow_b": ("failed", "timeout"), "broken": ("failed", "veto"),
    }  # fmt: skip
    assert run.payload == {"n": 1}
    # One after the other they would take what each of them takes.
    assert took < sum(step.duration_ms for step in run.steps) / 1000


async def test_a_dry_run_tells_what_each_plugin_would_change(house: House) -> None:
    before = await house.call("trier", "kept")
    run = await house.tenant.filter("try.change", {"n": 20}, dry_run=True)
    assert [(step.handler, step.end) for step in run.steps] == [
        ("change", "changed"), ("same", "unchanged"), ("never", "skipped"), ("veto", "vetoed"), ("look", "failed"),
    ]  # fmt: skip
    change, look = run.steps[0], run.steps[-1]
    assert list(change.patch) == [
        {"op": "replace", "path": "/n", "value": 21}, {"op": "add", "path": "/by~1trier", "value": True},
    ]  # fmt: skip
    assert change.duration_ms > 0
    assert (look.code, look.refused) == ("dry-run", ("storage.set",))
    assert run.payload == {"n": 21, "by/trier": True}
    assert run.is_dry_run
    assert await house.call("trier", "kept") == before


async def test_a_dry_run_leaves_nothing_behind(house: House) -> None:
    before = await house.call("trier", "kept")
    run = await house.tenant.filter("try.write", {}, dry_run=True)
    assert run.payload == {
        **dict.fromkeys(("storage", "delete", "table", "cache", "event", "notify", "http"), "dry-run"), "read": "done",
    }  # fmt: skip
    assert run.steps[0].refused == (
        "storage.set", "storage.delete", "tables.insert", "cache.set", "events.emit", "notify.send", "http.request",
    )  # fmt: skip
    assert await house.call("trier", "kept") == before


async def test_a_dry_run_goes_on_within_what_another_plugin_is_asked(house: House) -> None:
    run = await house.tenant.filter("try.ask", {}, dry_run=True)
    assert run.payload == {"peek": "dry-run", "put": "dry-run"}, run.steps
    assert run.steps[0].refused == ("functions.trier.put",)
    assert not {"peeked", "put"} & (await house.call("trier", "kept")).keys()
    assert await house.tenant.filter("try.ask", {}) == {"peek": "written", "put": "written"}


async def test_dry_runs_are_recorded_as_such_and_held_against_nobody(house: House) -> None:
    installation = (await house.platform.active.get(TENANT)).by_slug["trier"]
    await house.platform.recorder.flush()
    before = await house.platform.records.stats(TENANT, installation.id)
    for _ in range(5):
        run = await house.tenant.filter("try.fail", {"n": 1}, dry_run=True)
        assert [(step.end, step.code) for step in run.steps] == [("failed", "plugin-error")]
    await house.platform.recorder.flush()
    after = await house.platform.records.stats(TENANT, installation.id)
    assert after.failures == before.failures
    # The breaker would be open after two.
    real = await house.platform.filters.run(TENANT, "try.fail", {"n": 1})
    assert real.steps[0].status == "error"


async def test_what_may_be_done_in_a_dry_run_is_there_to_be_done(house: House) -> None:
    known = house.platform.invoker._gate.operations
    unknown = {name: reading - set(known.get(name, ())) for name, reading in READING.items()}
    assert not any(unknown.values()), unknown
