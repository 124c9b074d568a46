"""Two nodes on one PostgreSQL: whole platforms, each with a folder of its own; the database is all they share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jackfield import Event, Platform, Settings, Surface
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project

TENANT = "acme"
KEY = "k1:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="

SOURCE = """
import os

import jackfield_sdk as jf

plugin = jf.Plugin("ledger", version="{version}", permissions=["storage"], optional_permissions=["log"])


@plugin.config
class Config:
    word: str = "hello"


@plugin.function()
def word(ctx: jf.Context) -> str:
    return f"{version} {{ctx.config.word}}"


@plugin.function()
def process(ctx: jf.Context) -> int:
    return os.getpid()


@plugin.function()
def put(ctx: jf.Context, key: str, value: int) -> None:
    ctx.storage.set(key, value)


@plugin.function()
def get(ctx: jf.Context, key: str) -> int:
    return ctx.storage.get(key, -1)


@plugin.on("sale.created", ordered=False)
def sold(ctx: jf.Context, sale: dict[str, object]) -> None:
    ctx.storage.set(f"sale/{{sale['n']}}", os.getpid())


@plugin.function()
def sales(ctx: jf.Context) -> int:
    return len(ctx.storage.keys("sale/", limit=1000))
"""


@dataclass
class Nodes:
    """Two that run."""

    one: Platform
    two: Platform

    async def call(self, node: Platform, function: str, **arguments: Any) -> Any:
        result = await node.tenant(TENANT).call("ledger", function, arguments)
        assert result.error is None, result.error
        return result.output


def package(folder: Path, version: str, key: Any) -> bytes:
    """The plugin, packed."""
    project, packed = folder / f"ledger-{version}", folder / f"{version}.jfp"
    project.mkdir()
    (project / "plugin.py").write_text(SOURCE.format(version=version))
    (project / "pyproject.toml").write_text(f'[project]\nname = "ledger"\nversion = "{version}"\n')
    pack_project(project, packed, key=key)
    return packed.read_bytes()


def node(url: str, folder: Path, **settings: Any) -> Platform:
    """A node that has not started."""
    surface = Surface(events=[Event("sale.created")])
    return Platform(Settings(data_dir=folder, database_url=url, secret_key=KEY, **settings), surface)


@contextlib.asynccontextmanager
async def running(url: str, folder: Path) -> AsyncIterator[Nodes]:
    """Two nodes; the plugin's releases 1.0.0 and 1.0.1 are published through the first."""
    key = create_key(folder / "keys")
    async with node(url, folder / "one") as one, node(url, folder / "two") as two:
        await one.registry.ensure_publisher("pub", "Pub")
        await one.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await one.tenants.ensure_tenant(TENANT, TENANT, plan="enterprise")
        for version in ("1.0.0", "1.0.1"):
            content = package(folder, version, key)

            async def chunks(content: bytes = content) -> AsyncIterator[bytes]:
                yield content

            await one.registry.publish(chunks(), "pub")
        yield Nodes(one, two)


async def seen_after(claim: Callable[[], Awaitable[bool]], *, within_s: float = 5.0) -> float:
    """How long until it holds, in seconds.

    Raises:
        TimeoutError: It did not come to hold.
    """
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not await claim():  # noqa: ASYNC110  # it comes from elsewhere
            await asyncio.sleep(0.001)
    return time.monotonic() - began
