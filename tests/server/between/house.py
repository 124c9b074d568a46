"""A platform with plugins that call one another and listen to one another."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Column, Integer, MetaData, String, Table

from jackfield import Entity, Event, Platform, Settings, Surface, ensure_key_file
from jackfield.invocation import ActiveInstallation
from jackfield.records import InvocationRecord
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project

TENANT, RIVAL = "acme", "rival"

host = MetaData()
customers = Table(
    "shop_customers",
    host,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("name", String(40), nullable=False),
)

BASE = """
import time
from typing import Any
import jackfield_sdk as jf

plugin = jf.Plugin("base", version="1.4.0", permissions=["customers:read"], emits={"base.done": dict[str, Any]},
                   uses={"mid": "*", "loop": "*"}, optional_permissions=["functions:mid.*"])

@plugin.function(public=True, read_only=True)
def double(ctx: jf.Context, n: int) -> int:
    return 2 * n

@plugin.function()
def private(ctx: jf.Context) -> int:
    return 1

@plugin.function(public=True, role="admin")
def admins_only(ctx: jf.Context) -> str:
    return ctx.user.role

@plugin.function(public=True)
def refuses(ctx: jf.Context) -> None:
    raise jf.UserError("no such thing", code="thing-unknown", hint="Look again.")

@plugin.function(public=True)
def breaks(ctx: jf.Context) -> None:
    raise RuntimeError("broken")

@plugin.function(public=True)
def later(ctx: jf.Context) -> None:
    raise jf.RetryLaterError("busy", after_s=7)

@plugin.function(public=True)
def sleep(ctx: jf.Context, seconds: float) -> str:
    time.sleep(seconds)
    return "slept"

@plugin.function(public=True)
def burn(ctx: jf.Context) -> int:
    end = time.process_time() + 0.03
    while time.process_time() < end:
        pass
    return 1

@plugin.function(public=True)
def names(ctx: jf.Context) -> list[str]:
    ctx.storage.set("asked", True)
    return [one["name"] for one in ctx.data["customers"].list()]

@plugin.function(public=True)
def around(ctx: jf.Context) -> dict[str, Any]:
    return {"user": ctx.user, "kind": ctx.execution.kind, "plugin": ctx.execution.plugin, "depth": ctx.execution.depth,
            "shared": dict(ctx.shared), "locale": ctx.locale, "tenant": ctx.tenant.id}

@plugin.function(public=True)
def lies(ctx: jf.Context) -> int:
    return "no number"

@plugin.function(public=True)
def back(ctx: jf.Context) -> Any:
    return ctx.functions["mid"].call("forward", {"name": "back", "arguments": {}})

@plugin.function(public=True)
def announce(ctx: jf.Context, n: int) -> str:
    return ctx.events.emit("base.done", {"n": n})

@plugin.function()
def ping(ctx: jf.Context) -> str:
    return ctx.events.emit("base.done", {"n": 0})

@plugin.on("loop.went")
def again(ctx: jf.Context, payload: dict[str, Any]) -> None:
    ctx.storage.set(f"depth-{payload['n']}", dict(ctx.shared))
    ctx.events.emit("base.done", {"n": payload["n"] + 1})
"""

MID = """
from typing import Any
import jackfield_sdk as jf

plugin = jf.Plugin("mid", version="1.0.0", requires={"base": ">=1.2,<2"},
                   permissions=["functions:base.*"], optional_permissions=["customers:read"])

@plugin.function(public=True)
def forward(ctx: jf.Context, name: str, arguments: dict[str, Any]) -> Any:
    return ctx.functions["base"].call(name, arguments)

@plugin.function()
def tries(ctx: jf.Context, plugin: str, name: str, arguments: dict[str, Any], timeout_ms: int | None = None) -> Any:
    try:
        return {"value": ctx.functions[plugin].call(name, arguments, timeout_ms=timeout_ms)}
    except jf.PluginCallError as error:
        return {"kind": error.kind, "code": error.code, "message": str(error), "hint": error.hint,
                "plugin": error.plugin, "function": error.function, "retry_after_s": error.retry_after_s}
    except jf.PermissionDeniedError as error:
        return {"kind": "denied", "code": error.code}

@plugin.function()
def by_name(ctx: jf.Context) -> Any:
    return [ctx.functions["base"].double(n=21), ctx.functions["base"].offers()]

@plugin.on("sale.created")
def sold(ctx: jf.Context, payload: dict[str, Any]) -> None:
    ctx.storage.set("role", str(ctx.user))
    try:
        ctx.functions["base"].admins_only()
    except jf.PluginCallError as error:
        ctx.storage.set("refused", error.code)
    ctx.storage.set("names", ctx.functions["base"].around())
    ctx.functions["base"].announce(n=1)
"""

LOOP = """
from typing import Any
import jackfield_sdk as jf

plugin = jf.Plugin("loop", version="1.0.0", requires={"base": ">=1"}, emits={"loop.went": dict[str, int]})

@plugin.on("base.done")
def go(ctx: jf.Context, payload: dict[str, Any]) -> None:
    ctx.events.emit("loop.went", {"n": payload["n"] + 1})
"""

STRANGER = """
from typing import Any
import jackfield_sdk as jf

plugin = jf.Plugin("stranger", version="1.0.0", permissions=["functions:base.double"])

@plugin.function()
def tries(ctx: jf.Context, plugin: str, name: str, arguments: dict[str, Any]) -> Any:
    try:
        return {"value": ctx.functions[plugin].call(name, arguments)}
    except jf.CapabilityError as error:
        return {"code": error.code}

@plugin.function()
def offers(ctx: jf.Context) -> list[str]:
    return ctx.functions["base"].offers()
"""


HERALD = """
from typing import Any
import jackfield_sdk as jf

plugin = jf.Plugin("herald", version="1.0.0", permissions=["notify"], optional_permissions=["members:read"],
                   translations={"en": {"hi": "Hello"}, "de": {"hi": "Hallo"}, "fr": {"hi": "Bonjour"}})

@plugin.function()
def around(ctx: jf.Context) -> dict[str, Any]:
    workflow = ctx.execution.workflow
    return {
        "hi": ctx._("hi"), "locale": ctx.locale, "kind": ctx.execution.kind, "shared": dict(ctx.shared),
        "workflow": None if workflow is None else [workflow.id, workflow.run_id, workflow.step, workflow.previous],
        "tenant": [ctx.tenant.id, ctx.tenant.name, ctx.tenant.plan, ctx.tenant.timezone, ctx.tenant.locale],
        "user": None if ctx.user is None else [ctx.user.id, ctx.user.role, ctx.user.name, ctx.user.locale],
    }

@plugin.function()
def address(ctx: jf.Context) -> Any:
    return [ctx.user.email, [member.name for member in ctx.members.list()]]

@plugin.function()
def count(ctx: jf.Context, fail: bool = False) -> str:
    ctx.metrics.add("tokens_used", 120)
    ctx.metrics.add("api_calls", 2)
    ctx.metrics.add("pages", 3)
    if fail:
        raise jf.UserError("too bad")
    return ctx.ids.new("page")

@plugin.function()
def forge(ctx: jf.Context) -> int:
    odd = {"good": 1, "Bad Name": 1, "x" * 99: 1, "minus": -1, "huge": 2**62}
    ctx.metrics.counts = {**odd, **{f"n{i}": i for i in range(99)}}
    return 1

@plugin.function()
def check(ctx: jf.Context, value: Any) -> Any:
    return ctx.validate({"type": "integer", "minimum": 3}, value)

@plugin.function()
def tell(ctx: jf.Context, to: list[str], title: str, link: str | None = None) -> int:
    return ctx.notify.send(to, title, "body", link=link)
"""


def link(number: int, last: int) -> str:
    """One of a row of plugins, each of which calls the next."""
    following = f"link{number + 1}"
    requires = f'requires={{"{following}": "*"}}, permissions=["functions:{following}.go"],' if number < last else ""
    call = f'ctx.functions["{following}"].go()' if number < last else "0"
    return f"""
import jackfield_sdk as jf

plugin = jf.Plugin("link{number}", version="1.0.0", {requires} limits=jf.Limits(concurrency=1))

@plugin.function(public=True)
def go(ctx: jf.Context) -> int:
    return 1 + {call}
"""


@dataclass
class House:
    """A running platform."""

    platform: Platform
    token: str = ""
    records: list[InvocationRecord] = field(default_factory=list[InvocationRecord])

    async def call(self, plugin: str, name: str, /, *, who: Any = None, **arguments: Any) -> Any:
        """What a function returns; its failure is one of the test."""
        result = await self.platform.tenant(TENANT).call(plugin, name, arguments, caller=who)
        assert result.success, result
        return result.output

    async def ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """One request, as the owner."""
        transport = httpx.ASGITransport(app=self.platform.asgi, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
            headers = {"Authorization": f"Bearer {self.token}", **kwargs.pop("headers", {})}
            return await client.request(method, path, headers=headers, **kwargs)

    async def installation(self, slug: str) -> ActiveInstallation:
        """A plugin, as the runtime sees it."""
        return (await self.platform.active.get(TENANT)).by_slug[slug]

    async def stored(self, slug: str, key: str) -> Any:
        """What a plugin keeps under a key; None for nothing."""
        import msgspec

        from jackfield.capabilities import CapabilityContext

        installation = await self.installation(slug)
        context = CapabilityContext(TENANT, installation.id, slug, installation.manifest, installation.grants)
        gate = self.platform.invoker._gate
        answer = await gate.call(context, "storage", "get", msgspec.msgpack.encode({"key": key}))
        return msgspec.msgpack.decode(answer)["value"]


_packages: dict[str, bytes] = {}
"""By source: to make one takes seconds, and several tests want the same."""
_keys: list[Any] = []


def _packed(sources: Mapping[str, str]) -> tuple[Any, list[bytes]]:
    """Signed packages, and the key that they are signed with."""
    found: list[bytes] = []
    for name, source in sources.items():
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            if not _keys:
                _keys.append(create_key(folder / "keys"))
            if source not in _packages:
                version = source.partition('version="')[2].partition('"')[0]
                (folder / "plugin.py").write_text(source)
                (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "{version}"\n')
                pack_project(folder, folder / "made.jfp", key=_keys[0])
                _packages[source] = (folder / "made.jfp").read_bytes()
        found.append(_packages[source])
    return _keys[0], found


@contextlib.asynccontextmanager
async def running(folder: Path, plugins: Mapping[str, tuple[str, list[str]]], **settings: Any) -> AsyncIterator[House]:
    """The platform with these plugins installed, in order: name → source and grants."""
    ensure_key_file(folder / "data")
    surface = Surface(
        events=[Event("sale.created")], entities=[Entity("customers", customers, readable=("id", "name"))]
    )
    options = {"data_dir": folder / "data", "isolation": "unprivileged", **settings}
    platform = Platform(Settings(**options), surface)
    house = House(platform)
    record = platform.recorder.record

    def keep(one: InvocationRecord) -> None:
        house.records.append(one)
        record(one)

    platform.recorder.record = keep  # type: ignore[method-assign]  # looked at, and passed on
    async with platform:
        async with platform.database.write(None) as session:
            connection = await session.connection()
            await connection.run_sync(host.create_all)
            await connection.execute(
                customers.insert(), [{"tenant_id": TENANT, "name": "Ada"}, {"tenant_id": RIVAL, "name": "Eve"}]
            )
        await platform.registry.ensure_publisher("pub", "Pub")
        for tenant in (TENANT, RIVAL):
            await platform.tenants.ensure_tenant(tenant, name=tenant.title())
        key, packages = _packed({name: source for name, (source, _) in plugins.items()})
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        for package in packages:

            async def chunks(data: bytes = package) -> AsyncIterator[bytes]:
                yield data

            await platform.registry.publish(chunks(), "pub")
        for name, (_, grants) in plugins.items():
            await platform.lifecycle.install(TENANT, name, grants=grants)
        house.token = (await platform.tenants.issue_token("owner", tenant_id=TENANT)).plaintext
        yield house
