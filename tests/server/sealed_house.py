"""A whole platform with a sealed plugin in it, for tests of what happens between a trigger and its record."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from jackfield import Event, FilterHook, Platform, Settings, Slot, Surface, ensure_key_file
from jackfield.invocation import ActiveInstallation
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from jackfield_sdk import hooks

TENANT, RIVAL = "acme", "rival"

SOURCE = '''
import datetime
import enum
import os
import time
from typing import Any

import msgspec

import jackfield_sdk as jf
from jackfield_sdk import wire

plugin = jf.Plugin("probe", version="1.0.0", limits=jf.Limits(wall_ms=1500, cpu_ms=1000, host_calls=3))
Thing = dict[str, Any]


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


# -- filters ---------------------------------------------------------------------------------------------------------


@plugin.filter("order.check", priority=20)
def later(ctx: jf.Context, thing: Thing) -> Thing:
    return {**thing, "seen": [*thing["seen"], "later"]}


@plugin.filter("order.check", priority=10)
def sooner(ctx: jf.Context, thing: Thing) -> Thing:
    return {**thing, "seen": [*thing["seen"], "sooner"]}


@plugin.filter("veto.check")
def veto(ctx: jf.Context, thing: Thing) -> Thing:
    raise jf.VetoError("not on a Sunday", hint="Try Monday.")


@plugin.filter("veto.check", priority=200)
def after_veto(ctx: jf.Context, thing: Thing) -> Thing:
    return {**thing, "after": True}


@plugin.filter("fail.check")
def fail(ctx: jf.Context, thing: Thing) -> Thing:
    raise RuntimeError("broken")


@plugin.filter("fail.check", priority=200)
def go_on(ctx: jf.Context, thing: Thing) -> Thing:
    return {**thing, "went_on": True}


@plugin.filter("abort.check", on_error="abort")
def abort(ctx: jf.Context, thing: Thing) -> Thing:
    raise RuntimeError("broken")


@plugin.filter("slow.check", timeout_ms=150)
def slow(ctx: jf.Context, thing: Thing) -> Thing:
    time.sleep(30)
    return thing


@plugin.filter("when.check", when="when.total > 10.0")
def only_large(ctx: jf.Context, thing: Thing) -> Thing:
    return {**thing, "large": True}


@plugin.filter("any.check")
def not_an_object(ctx: jf.Context, thing: Thing) -> Any:
    return "a text"


@plugin.filter("booking.check")
def misfit(ctx: jf.Context, thing: Thing) -> Any:
    return {"customer_id": 7}


@plugin.filter("booking.check", priority=200)
def note(ctx: jf.Context, booking: jf.hooks.Booking) -> jf.hooks.Booking:
    return msgspec.structs.replace(booking, notes="noted")


# -- events ----------------------------------------------------------------------------------------------------------


@plugin.on("ping.sent")
def pinged(ctx: jf.Context, ping: Thing) -> None:
    ctx.storage.set("pings", ctx.storage.get("pings", 0) + 1)


@plugin.on("ping.sent", when="ping.n > 100")
def pinged_hard(ctx: jf.Context, ping: Thing) -> None:
    ctx.storage.set("hard", True)


@plugin.on("ping.refused")
def refuses(ctx: jf.Context, ping: Thing) -> None:
    raise jf.UserError("cannot be done")


@plugin.on("ping.early", ordered=False)
def early(ctx: jf.Context, ping: Thing) -> None:
    raise jf.RetryLaterError("too early", after_s=600)


@plugin.on("ping.broken", retries=0)
def broken(ctx: jf.Context, ping: Thing) -> None:
    ctx.storage.set("half", True)
    assert ctx.storage.get("half")
    raise RuntimeError("broken")


# -- functions -------------------------------------------------------------------------------------------------------


@plugin.function()
def add(ctx: jf.Context, a: int, b: int = 1) -> int:
    return len(range(a)) + b


@plugin.function()
def typed(ctx: jf.Context, ratio: float, size: Size, day: datetime.date) -> list[str]:
    return [type(ratio).__name__, size.name, type(day).__name__]


@plugin.function(role="owner")
def owners_only(ctx: jf.Context) -> str:
    return ctx.user.role if ctx.user else "host"


@plugin.function()
def liar(ctx: jf.Context) -> int:
    return "not a number"


@plugin.function()
def user_error(ctx: jf.Context) -> None:
    raise jf.UserError("no such customer", code="token-expired", hint="Look again.")


@plugin.function()
def defect(ctx: jf.Context) -> None:
    raise RuntimeError("broken \\x1b[31m")


@plugin.function()
def traced(ctx: jf.Context) -> str:
    return ctx.trace_id


@plugin.function()
def hang(ctx: jf.Context) -> None:
    time.sleep(30)


@plugin.function()
def burn(ctx: jf.Context) -> None:
    while True:
        pass


@plugin.function()
def eat(ctx: jf.Context) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


@plugin.function()
def die(ctx: jf.Context) -> None:
    os._exit(3)


@plugin.function()
def talk(ctx: jf.Context) -> None:
    ctx.log.info("hello", n=1)
    print("printed")


@plugin.function()
def many_calls(ctx: jf.Context) -> int:
    for n in range(5):
        ctx.storage.get(f"k{n}")
    return n


@plugin.function()
def peek(ctx: jf.Context) -> Any:
    return ctx.data["customers"].list()


@plugin.function()
def forge(ctx: jf.Context, kind: str) -> None:
    """Speak to the node past the SDK."""
    number = 1
    if kind == "nan":
        never = wire.Failure("late", "x", "", "a\\x1b[2Jb", "retry", float("nan"))
        os.write(200, wire.frame(wire.Result(number, failure=never)))
    elif kind == "code":
        os.write(200, wire.frame(wire.Result(number, failure=wire.Failure("X\\r\\nSet-Cookie: a=b", "m\\x00m"))))
    elif kind == "flood":
        for n in range(1000):
            os.write(200, wire.frame(wire.HostCall(n, "storage", "get", jf_raw({"key": "k"}))))
    time.sleep(30)


def jf_raw(value: Any) -> Any:
    return msgspec.Raw(wire.encode(value))


# -- routes ----------------------------------------------------------------------------------------------------------


@plugin.route("GET", "/open/{name}", auth="public")
def open_door(ctx: jf.Context, request: jf.Request) -> Thing:
    return {
        "name": request.params["name"], "query": request.query, "headers": request.headers,
        "caller": ctx.user.role if ctx.user else None, "tenant": ctx.tenant.id,
    }


@plugin.route("GET", "/members")
def members(ctx: jf.Context, request: jf.Request) -> str:
    return ctx.user.role


@plugin.route("POST", "/owners", auth="owner")
def owners(ctx: jf.Context, request: jf.Request) -> str:
    return "yes"


@plugin.route("GET", "/rare", rate_limit_per_minute=2)
def rare(ctx: jf.Context, request: jf.Request) -> str:
    return "yes"


@plugin.route("POST", "/raw")
def raw(ctx: jf.Context, request: jf.Request) -> jf.Response:
    return jf.Response(request.body, content_type=request.query.get("type", "application/octet-stream"))


@plugin.route("POST", "/answer")
def answer(ctx: jf.Context, request: jf.Request) -> jf.Response:
    return jf.Response(**request.json())


@plugin.route("GET", "/fails")
def fails(ctx: jf.Context, request: jf.Request) -> str:
    if request.query["how"] == "user":
        raise jf.UserError("no such customer", code="token-expired", hint="Look again.")
    if request.query["how"] == "hang":
        time.sleep(30)
    if request.query["how"] == "text":
        head = {"body": None, "status": 200, "content_type": "BAD", "headers": {}}
        data = wire.frame(wire.Result(1, jf_raw(head))).replace(b"BAD", b"\\xff\\xff\\xff")
        os.write(200, data)
        time.sleep(30)
    raise RuntimeError("broken")


# -- widgets ---------------------------------------------------------------------------------------------------------


@plugin.widget("Desk.Top", title="Second", order=20)
def second(ctx: jf.Context, about: Thing) -> jf.ui.Text:
    return jf.ui.Text("second")


@plugin.widget("Desk.Top", title="First", order=10)
def first(ctx: jf.Context, about: Thing) -> jf.ui.Text:
    return jf.ui.Text("first")


@plugin.widget("Desk.Top", title="Broken", order=30)
def broken_widget(ctx: jf.Context, about: Thing) -> jf.ui.Text:
    raise RuntimeError("broken")


@plugin.widget("Desk.Top", title="Wild", order=40)
def wild(ctx: jf.Context, about: Thing) -> Any:
    return {"type": "script", "src": "https://evil.example"}


@plugin.widget("Desk.Top", title="Rare", order=50, when="payload.n > 5")
def rare_widget(ctx: jf.Context, about: Thing) -> jf.ui.Text:
    return jf.ui.Text("rare")
'''
_HOOKS = ("order.check", "veto.check", "fail.check", "abort.check", "slow.check", "when.check", "any.check")


class Pair(msgspec.Struct):
    """A type of the host's that is stricter than its hook point."""

    a: int


def surface() -> Surface:
    """What the host of these tests opens."""
    return Surface(
        filters=[*(FilterHook(name) for name in _HOOKS), FilterHook("booking.check", hooks.Booking)],
        events=[*(Event(f"ping.{name}") for name in ("sent", "refused", "early", "broken")), Event("demo.typed", Pair)],
        slots=[Slot("Desk.Top")],
    )


@dataclass
class House:
    """A running platform, its tenants' tokens, and what tests ask often."""

    platform: Platform
    tokens: dict[str, str]

    def client(self, who: str | None = None) -> httpx.AsyncClient:
        """A client of the API; `who` is a key of `tokens`."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.platform.asgi, raise_app_exceptions=False),
            base_url="http://test",
            headers={"Authorization": f"Bearer {self.tokens[who]}"} if who else {},
            timeout=30,
        )

    async def ask(self, method: str, path: str, who: str | None = "owner", **kwargs: Any) -> httpx.Response:
        """One request."""
        async with self.client(who) as client:
            return await client.request(method, path, **kwargs)

    async def installation(self, tenant: str = TENANT) -> ActiveInstallation:
        """The probe, as the runtime sees it."""
        return (await self.platform.active.get(tenant)).by_slug["probe"]


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[House]:
    """The platform, with `probe` installed for two tenants."""
    project = folder / "probe"
    project.mkdir(parents=True)
    (project / "plugin.py").write_text(SOURCE)
    (project / "pyproject.toml").write_text('[project]\nname = "probe"\nversion = "1.0.0"\n')
    key = create_key(folder / "keys")
    pack_project(project, folder / "probe.jfp", key=key)
    ensure_key_file(folder / "data")
    platform = Platform(Settings(data_dir=folder / "data", isolation="unprivileged"), surface())
    async with platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")

        async def chunks() -> AsyncIterator[bytes]:
            yield (folder / "probe.jfp").read_bytes()

        await platform.registry.publish(chunks(), "pub")
        tokens: dict[str, str] = {}
        for tenant in (TENANT, RIVAL):
            await platform.tenants.ensure_tenant(tenant, name=tenant)
        await platform.tenants.ensure_tenant("empty", name="empty")
        await platform.lifecycle.install(TENANT, "probe", grants=["storage"])
        await platform.lifecycle.install(RIVAL, "probe", grants=["storage"])
        for role in ("owner", "admin", "member"):
            tokens[role] = (await platform.tenants.issue_token(role, tenant_id=TENANT)).plaintext
        tokens["rival"] = (await platform.tenants.issue_token("owner", tenant_id=RIVAL)).plaintext
        tokens["operator"] = (await platform.tenants.issue_token("operator")).plaintext
        yield House(platform, tokens)
