"""A platform whose health settings are quick, and plugins that are packed, published and installed as they come."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from jackfield import Event, FilterHook, Platform, Settings, Surface, ensure_key_file
from jackfield.settings import BreakerSettings, CrashSettings, HealthSettings
from jackfield_cli.keys import SigningKey, create_key
from jackfield_cli.pack import pack_project
from tests.server.conftest import ManualClock

FRAGILE = """
import os
import time

import jackfield_sdk as jf

plugin = jf.Plugin("fragile", version="VERSION", limits=jf.Limits(wall_ms=20_000))
Thing = dict[str, object]


@plugin.function()
def version(ctx: jf.Context) -> str:
    return "VERSION"


@plugin.function()
def break_down(ctx: jf.Context, how: str) -> str:
    if how == "error":
        raise RuntimeError("the disk is full")
    if how == "user":
        raise jf.UserError("no such customer")
    if how == "die":
        os._exit(3)
    if how == "violate":
        os.write(200, b"\\xff" * 64)
        time.sleep(30)
    return "well"


@plugin.function()
def break_more(ctx: jf.Context, how: str) -> str:
    return break_down(ctx, how)


@plugin.filter("order.check")
def check(ctx: jf.Context, thing: Thing) -> Thing:
    if thing.get("bad"):
        raise RuntimeError("cannot check this")
    return {**thing, "checked": True}


@plugin.on("order.placed")
def placed(ctx: jf.Context, order: Thing) -> None:
    if ctx.storage.get("broken", False):
        raise RuntimeError("cannot take orders")
    ctx.storage.set("orders", [*ctx.storage.get("orders", []), order["n"]])


@plugin.on("order.rushed", ordered=False, retries=1)
def rushed(ctx: jf.Context, order: Thing) -> None:
    if ctx.storage.get("broken", False):
        raise RuntimeError("cannot take orders")
    ctx.storage.set(f"rushed/{order['n']}", True)


@plugin.function()
def rushes(ctx: jf.Context) -> list[int]:
    return [n for n in range(10) if ctx.storage.get(f"rushed/{n}", False)]


@plugin.function()
def orders(ctx: jf.Context, broken: bool | None = None) -> list[int]:
    if broken is not None:
        ctx.storage.set("broken", broken)
    return ctx.storage.get("orders", [])


def work(ctx: jf.Context, name: str) -> None:
    if ctx.storage.get("broken", False):
        raise RuntimeError("please pay at https://evil.example")
    ctx.storage.set(f"{name}/{ctx.delivery.id}", True)


@plugin.webhook("paid", verify="none")
def paid(ctx: jf.Context, request: jf.Request) -> None:
    work(ctx, "paid")


@plugin.schedule("0 3 1 1 *")
def nightly(ctx: jf.Context) -> None:
    work(ctx, "nightly")


@plugin.function()
def worked(ctx: jf.Context, name: str, ids: list[str]) -> int:
    return sum(ctx.storage.get(f"{name}/{id}", False) for id in ids)


@plugin.function()
def checks(ctx: jf.Context, sick: bool | None = None) -> int:
    if sick is not None:
        ctx.storage.set("sick", sick)
    return ctx.storage.get("checks", 0)


@plugin.health
def health(ctx: jf.Context) -> jf.Health:
    ctx.storage.set("checks", ctx.storage.get("checks", 0) + 1)
    sick = ctx.storage.get("sick", False)
    return jf.Health(not sick, "the bank does not answer" if sick else "")
"""


class House:
    """A running platform and its publisher."""

    def __init__(self, platform: Platform, folder: Path, key: SigningKey, clock: ManualClock) -> None:
        self.platform = platform
        self.folder = folder
        self.key = key
        self.clock = clock
        self.tokens: dict[str, str] = {}
        self.tenant = self.rival = ""

    async def move_in(self) -> None:
        """Two new tenants, with `fragile` 1.0.0."""
        number = len(self.tokens) // 2
        self.tenant, self.rival = f"tenant-{number}", f"rival-{number}"
        for tenant in (self.tenant, self.rival):
            await self.platform.tenants.ensure_tenant(tenant, name=tenant)
            self.tokens[tenant] = (await self.platform.tenants.issue_token("owner", tenant_id=tenant)).plaintext
            await self.platform.lifecycle.install(tenant, "fragile", version="1.0.0")

    async def publish(self, version: str, source: str = FRAGILE, slug: str = "fragile") -> None:
        """A release of this source."""
        project = self.folder / f"{slug}-{version}"
        project.mkdir()
        (project / "plugin.py").write_text(source.replace("VERSION", version))
        (project / "pyproject.toml").write_text(f'[project]\nname = "{slug}"\nversion = "{version}"\n')
        package = self.folder / f"{slug}-{version}.jfp"
        pack_project(project, package, key=self.key)

        async def chunks() -> AsyncIterator[bytes]:
            yield package.read_bytes()

        await self.platform.registry.publish(chunks(), "pub")

    async def ask(self, method: str, path: str, who: str | None = None, **options: Any) -> httpx.Response:
        """One request to the API, as the owner of a tenant."""
        who = who or self.tenant
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.platform.asgi), base_url="http://test", timeout=60,
            headers={"Authorization": f"Bearer {self.tokens[who]}"},
        ) as client:  # fmt: skip
            return await client.request(method, f"/api/plugins{path}", **options)

    async def call(self, function: str, who: str | None = None, **arguments: Any) -> dict[str, Any]:
        """Call a function of the plugin: `output`, or `error`."""
        answer = await self.ask("POST", f"/fragile/functions/{function}", who, json={"arguments": arguments})
        return answer.json()

    async def code(self, function: str, who: str | None = None, **arguments: Any) -> str:
        """The code of the error that a call ends with; `ok` when it does not."""
        answer = await self.call(function, who, **arguments)
        if "success" not in answer:
            return answer["code"]
        return "ok" if answer["success"] else answer["error"]["code"]

    async def health(self, who: str | None = None, **params: Any) -> dict[str, Any]:
        return (await self.ask("GET", "/fragile/health", who, params=params)).json()


def node(folder: Path, clock: ManualClock, **settings: Any) -> Platform:
    """A node on the data of this folder."""
    health = HealthSettings(
        check_round_s=3600, breaker=BreakerSettings(in_a_row=3, open_s=30, longest_s=100),
        crashes=CrashSettings(grace=2, limit=5, first_s=1, longest_s=60, window_s=600),
    )  # fmt: skip
    return Platform(
        Settings(data_dir=folder / "data", isolation="unprivileged", health=health, **settings),
        Surface(filters=[FilterHook("order.check")], events=[Event("order.placed"), Event("order.rushed")]),
        clock=clock,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """A platform with `fragile` 1.0.0 published, whose clock stands still."""
    clock = ManualClock()
    ensure_key_file(folder / "data")
    platform = node(folder, clock, **settings)
    async with platform:
        key = create_key(folder / "keys")
        house = House(platform, folder, key, clock)
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await house.publish("1.0.0")
        yield house
