"""A platform that runs, with plugins of this repository published in it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from jackfield import Platform, Settings, Surface, ensure_key_file
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tools.committed import ROOT

__all__ = ["House", "published"]

URL = "http://jackfield.test"


class House:
    """The platform, and an owner of the tenant `acme` who talks to it over HTTP."""

    def __init__(self, platform: Platform, owner: httpx.AsyncClient) -> None:
        self.platform = platform
        self.owner = owner

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        """Something that must work."""
        answer = await self.owner.request(method, f"/api/plugins{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def install(self, slug: str, *grants: str, **config: Any) -> Any:
        """With everything that it asks for, or with these grants."""
        if not grants:
            plan = await self.ask("POST", "/plan", slug=slug)
            grants = tuple(each["permission"] for each in plan["permissions"])
        return await self.ask("POST", "/install", slug=slug, grants=list(grants), config=config)

    async def call(self, slug: str, function: str, **arguments: Any) -> Any:
        """What a function answers."""
        answer = await self.ask("POST", f"/{slug}/functions/{function}", arguments=arguments)
        assert answer["success"], answer["error"]
        return answer["output"]

    async def refusal(self, slug: str, function: str, **arguments: Any) -> str:
        """The code with which it refuses."""
        answer = await self.ask("POST", f"/{slug}/functions/{function}", arguments=arguments)
        assert not answer["success"]
        return answer["error"]["code"]


@contextlib.asynccontextmanager
async def published(
    folder: Path, surface: Surface, *plugins: str, database_url: str | None = None, **more: Any
) -> AsyncIterator[House]:
    """A house with these plugins in its marketplace.

    Args:
        more: Further settings.
    """
    key = create_key(folder / "keys")
    ensure_key_file(folder / "data")
    settings = Settings(data_dir=folder / "data", public_url=URL, database_url=database_url, **more)
    async with Platform(settings, surface) as platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        for slug in plugins:
            pack_project(ROOT / "plugins" / slug, folder / f"{slug}.jfp", key=key)
            await platform.registry.publish(_chunks((folder / f"{slug}.jfp").read_bytes()), "pub")
        await platform.tenants.ensure_tenant("acme", name="Acme")
        token = (await platform.tenants.issue_token("owner", tenant_id="acme")).plaintext
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=platform.asgi), base_url=URL,
            headers={"Authorization": f"Bearer {token}"}, timeout=30,
        ) as owner:  # fmt: skip
            yield House(platform, owner)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data
