"""A platform that takes and sends webhooks, run as a process that can be killed: `python webhook_process.py DATA …`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx

from jackfield import Event, Platform, Settings, Surface, ensure_key_file
from jackfield.settings import EgressSettings
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project

TENANT = "acme"
SOURCE = """
import jackfield_sdk as jf

plugin = jf.Plugin("inbox", version="1.0.0")


@plugin.webhook("open", verify="none")
def opened(ctx: jf.Context, request: jf.Request) -> None:
    ctx.storage.increment("n/" + request.body.decode())


@plugin.function()
def seen(ctx: jf.Context) -> dict[str, int]:
    return {key[2:]: ctx.storage.get(key, 0) for key in ctx.storage.keys("n/", limit=1000)}
"""


def build(data: Path) -> Platform:
    """The platform, embedded."""
    ensure_key_file(data)
    egress = EgressSettings(allowed=("127.0.0.1",), plain_http=True)
    return Platform(Settings(data_dir=data, egress=egress), Surface(events=[Event("sale.created")]))


async def prepare(platform: Platform, folder: Path, receiver: str) -> dict[str, Any]:
    """Publish and install the plugin, and have events sent to a receiver; the plugin's address."""
    project = folder / "inbox"
    project.mkdir()
    (project / "plugin.py").write_text(SOURCE)
    (project / "pyproject.toml").write_text('[project]\nname = "inbox"\nversion = "1.0.0"\n')
    key = create_key(folder / "keys")
    pack_project(project, folder / "inbox.jfp", key=key)
    package = (folder / "inbox.jfp").read_bytes()

    async def chunks() -> AsyncGenerator[bytes]:
        yield package

    await platform.tenants.ensure_tenant(TENANT, "Acme")
    await platform.registry.ensure_publisher("pub", "Pub")
    await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
    await platform.registry.publish(chunks(), "pub")
    await platform.lifecycle.install(TENANT, "inbox", grants=[])
    await platform.webhook_endpoints.add(TENANT, receiver, ["sale.*"], "test")
    token = (await platform.tenants.issue_token("owner", tenant_id=TENANT)).plaintext
    async with client(platform) as owner:
        listed = await owner.get("/api/plugins/inbox/webhooks", headers={"Authorization": f"Bearer {token}"})
    return {"path": "/api/webhooks/" + listed.json()["items"][0]["url"].rpartition("/")[2]}


async def take_and_die(platform: Platform, path: str, first: int, count: int) -> None:
    """Take webhooks, some of them twice, and emit an event with each; say which were answered; die."""
    async with client(platform) as sender:
        for number in range(first, first + count):
            for _ in range(1 + (number % 5 == 0)):
                answer = await sender.post(path, content=str(number))
                assert answer.status_code == 202, answer.text
            await platform.tenant(TENANT).emit("sale.created", {"n": number})
            print(number, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


async def report(platform: Platform) -> dict[str, Any]:
    """Deliver what is left, and say what the plugin has had."""
    await platform.drain_events(60)
    answer = await platform.tenant(TENANT).call("inbox", "seen", {})
    return {"seen": answer.output}


def client(platform: Platform) -> httpx.AsyncClient:
    """Speaks to the platform's own application."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=platform.asgi), base_url="http://test")


async def main() -> None:
    data, command, *rest = Path(sys.argv[1]), *sys.argv[2:]
    async with build(data) as platform:
        if command == "prepare":
            print(json.dumps(await prepare(platform, data.parent, rest[0])))
        elif command == "take-and-die":
            await take_and_die(platform, rest[0], int(rest[1]), int(rest[2]))
        else:
            print(json.dumps(await report(platform)))


if __name__ == "__main__":
    asyncio.run(main())
