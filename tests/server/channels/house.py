"""A platform with a sealed bot in it, a Telegram of our own, and an owner who sets channels up."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from jackfield import Platform, Settings, Slot, Surface, ensure_key_file
from jackfield.settings import EgressSettings
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.servers.serving import serving
from tests.servers.telegram import TOKEN, TelegramServer
from tools.committed import ROOT

PUBLIC = "http://jackfield.test"

BOT = """
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin(
    "bot", version="1.0.0", permissions=["channels:telegram", "channels:web-chat", "channels:voice-agent"],
    gateways=["telegram"],
)


@plugin.on("telegram.message")
def hear(ctx: jf.Context, message: jf.hooks.TelegramMessage) -> None:
    assert ctx.channel is not None and ctx.channel.id == message.channel
    ctx.storage.set(f"heard:{message.update_id}", {
        "text": message.text or message.caption, "photos": message.photos, "edited": message.is_edited,
        "settings": dict(ctx.channel.settings), "kind": ctx.channel.kind, "execution": ctx.execution.kind,
    })
    if message.text.startswith("/menu"):
        ctx.gateways["telegram"].send(
            message.chat.id, "What?", buttons=[[("Book", "book"), ("Site", "https://example.com/")]],
            reply_to=message.message_id, key=f"menu:{message.update_id}",
        )
    elif message.text.startswith("/say "):
        sent = ctx.gateways["telegram"].send(message.chat.id, message.text[5:], key=f"say:{message.update_id}")
        ctx.storage.set(f"sent:{message.update_id}", [sent.outcome, sent.message_ids, sent.is_repeat])


@plugin.on("telegram.callback")
def press(ctx: jf.Context, press: jf.hooks.TelegramCallback) -> None:
    telegram = ctx.gateways["telegram"]
    telegram.answer(press.id, f"You chose {press.data}")
    if press.chat is not None and press.message_id is not None:
        telegram.edit(press.chat.id, press.message_id, f"Chosen: {press.data}")


@plugin.on("channel.message", when="channel.kind == 'web-chat'")
def chat(ctx: jf.Context, message: jf.hooks.ChannelMessage) -> None:
    assert ctx.channel is not None
    ctx.gateways["web-chat"].send(message.chat_id, f"{ctx.channel.settings.get('hello', 'Hello')} {message.text}")


@plugin.function(description="Where it runs")
def Where(ctx: jf.Context) -> dict[str, Any]:
    here = ctx.channel
    return {"kind": ctx.execution.kind, "channel": None if here is None else here.kind, "plugin": "bot"}


@plugin.function(role="admin")
def Secret(ctx: jf.Context) -> str:
    return "for admins"


@plugin.function()
def Write(ctx: jf.Context, kind: str, chat_id: str, text: str, channel: str | None = None) -> list[Any]:
    gateway = ctx.gateways[kind] if channel is None else ctx.gateways[kind].on(channel)
    sent = gateway.send(chat_id, text)
    return [sent.outcome, sent.message_ids]


@plugin.function()
def Kept(ctx: jf.Context) -> dict[str, Any]:
    return dict(ctx.storage.items())


@plugin.function()
def Lines(ctx: jf.Context) -> list[Any]:
    return ctx.gateways.list()
"""

OTHER = """
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("other", version="1.0.0", permissions=["channels:telegram"])


@plugin.on("telegram.message")
def hear(ctx: jf.Context, message: jf.hooks.TelegramMessage) -> None:
    ctx.storage.set(f"heard:{message.update_id}", message.text)


@plugin.function(description="Where it runs")
def Where(ctx: jf.Context) -> dict[str, Any]:
    return {"plugin": "other"}


@plugin.function()
def Kept(ctx: jf.Context) -> dict[str, Any]:
    return dict(ctx.storage.items())
"""


@dataclass
class House:
    """The platform, its owner, and Telegram."""

    platform: Platform
    owner: httpx.AsyncClient
    telegram: TelegramServer

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        """Something that must work."""
        answer = await self.owner.request(method, f"/api{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def call(self, slug: str, function: str, **arguments: Any) -> Any:
        answer = await self.ask("POST", f"/plugins/{slug}/functions/{function}", arguments=arguments)
        assert answer["success"], answer["error"]
        return answer["output"]

    async def refusal(self, slug: str, function: str, **arguments: Any) -> str:
        answer = await self.ask("POST", f"/plugins/{slug}/functions/{function}", arguments=arguments)
        assert not answer["success"]
        return answer["error"]["code"]

    async def install(self, slug: str, *, without: str = "", **config: Any) -> None:
        plan = await self.ask("POST", "/plugins/plan", slug=slug)
        grants = [each["permission"] for each in plan["permissions"] if each["permission"] != without]
        await self.ask("POST", "/plugins/install", slug=slug, grants=grants, config=config)

    async def channel(self, kind: str = "telegram", name: str = "", **settings: Any) -> dict[str, Any]:
        body: dict[str, Any] = {"kind": kind, "name": name or kind, "settings": settings}
        if kind == "telegram":
            body["secret"] = self.telegram.token
            body["settings"] = {"updates": "webhook", **settings}
        made: dict[str, Any] = await self.ask("POST", "/channels", **body)
        return made

    async def assign(self, channel: dict[str, Any], slug: str, **how: Any) -> None:
        await self.ask("PUT", f"/channels/{channel['id']}/plugins/{slug}", priority=how.pop("priority", 100), **how)

    async def hook(self, update: dict[str, Any], *, secret: str | None = None, url: str | None = None) -> int:
        """Post an update to the webhook, as Telegram does; the status."""
        given = self.telegram.webhook.get("secret_token", "") if secret is None else secret
        stranger = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.platform.asgi), base_url=PUBLIC)
        async with stranger:
            answer = await stranger.post(
                url or self.telegram.webhook["url"], json=update, headers={"X-Telegram-Bot-Api-Secret-Token": given}
            )
        return answer.status_code

    async def says(self, text: str, **more: Any) -> dict[str, Any]:
        """Somebody writes to the bot, and all that follows is done."""
        update = self.telegram.says(text, **more)
        assert await self.hook(update) == 200
        await self.platform.drain_events()
        return update


@contextlib.asynccontextmanager
async def running(folder: Path, *slugs: str, database_url: str | None = None) -> AsyncIterator[House]:
    """A house with these plugins in its marketplace, and `bot` and `other` beside them."""
    telegram, key = TelegramServer(), create_key(folder / "keys")
    ensure_key_file(folder / "data")
    with serving(telegram.app) as url:
        settings = Settings(
            data_dir=folder / "data", public_url=PUBLIC, telegram_api=url, database_url=database_url,
            egress=EgressSettings(allowed=("127.0.0.1",)),
        )  # fmt: skip
        async with Platform(settings, Surface(slots=[Slot("Dashboard.Widgets")])) as platform:
            await platform.registry.ensure_publisher("pub", "Pub")
            await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
            projects = {slug: ROOT / "plugins" / slug for slug in slugs}
            for slug, source in (("bot", BOT), ("other", OTHER)):
                projects[slug] = folder / slug
                projects[slug].mkdir()
                (projects[slug] / "plugin.py").write_text(source)
                (projects[slug] / "pyproject.toml").write_text(f'[project]\nname = "{slug}"\nversion = "1.0.0"\n')
            for slug, project in projects.items():
                pack_project(project, folder / f"{slug}.jfp", key=key)
                await platform.registry.publish(_chunks((folder / f"{slug}.jfp").read_bytes()), "pub")
            await platform.tenants.ensure_tenant("acme", name="Acme")
            token = (await platform.tenants.issue_token("owner", tenant_id="acme")).plaintext
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=platform.asgi), base_url=PUBLIC,
                headers={"Authorization": f"Bearer {token}"}, timeout=30,
            ) as owner:  # fmt: skip
                yield House(platform, owner, telegram)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


__all__ = ["BOT", "OTHER", "PUBLIC", "TOKEN", "House", "running"]
