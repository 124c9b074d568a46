"""A server as a process of its own, its data prepared beforehand, and callers who keep count."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from jackfield import Platform, Settings, ensure_key_file
from jackfield_cli.keys import SigningKey, create_key
from jackfield_cli.pack import pack_project

__all__ = ["Callers", "House", "Server", "prepare", "start"]

START_S = 120.0
STOP_S = 30.0
LEVEL = "strict" if os.geteuid() == 0 else "unprivileged"
TENANT = "acme"
TYPED = frozenset({"plugin-crashed", "isolate-lost", "isolation-unavailable", "overloaded", "deadline-exceeded"})
"""How a call may end whose process somebody took away."""

_MANY = "1000000"
_PATIENT = {
    f"JACKFIELD_{name}": _MANY for name in ("CRASH_GRACE", "CRASH_LIMIT", "BREAKER_IN_A_ROW", "BREAKER_MINIMUM")
}
"""A plugin whose processes are killed from outside looks like one that crashes. Here it is to go on."""

SOURCE = '''
import time

import jackfield_sdk as jf

plugin = jf.Plugin("ledger", version="{version}", permissions=["storage"])


@plugin.function(timeout_ms=8000)
def put(ctx: jf.Context, key: str, millis: int) -> str:
    """Counts how often it has run to its end."""
    time.sleep(millis / 1000)
    ctx.storage.set(key, ctx.storage.get(key, 0) + 1)
    return "{version}"


@plugin.function(timeout_ms=10000)
def counts(ctx: jf.Context, keys: list[str]) -> list[int]:
    return [ctx.storage.get(key, 0) for key in keys]
'''


@dataclass(frozen=True)
class House:
    """What was prepared."""

    data: Path
    token: str


def _package(folder: Path, version: str, key: SigningKey) -> bytes:
    project, package = folder / f"ledger-{version}", folder / f"{version}.jfp"
    project.mkdir()
    (project / "plugin.py").write_text(SOURCE.replace("{version}", version))
    (project / "pyproject.toml").write_text(f'[project]\nname = "ledger"\nversion = "{version}"\n')
    pack_project(project, package, key=key, level=LEVEL)
    return package.read_bytes()


async def _chunks(package: bytes) -> AsyncIterator[bytes]:
    yield package


async def prepare(folder: Path, *versions: str) -> House:
    """Publish the ledger, and install its first version."""
    data = folder / "data"
    ensure_key_file(data)
    key = create_key(folder / "keys")
    async with Platform(Settings(data_dir=data, isolation=LEVEL)) as platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await platform.tenants.ensure_tenant(TENANT, TENANT, plan="enterprise")
        for version in versions:
            await platform.registry.publish(_chunks(_package(folder, version, key)), "pub")
        await platform.lifecycle.install(TENANT, "ledger", version=versions[0], grants=["storage"])
        token = (await platform.tenants.issue_token("owner", tenant_id=TENANT)).plaintext
    return House(data, token)


@dataclass
class Server:
    """A running one."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    started_in_s: float = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Bearer {self.token}"}, timeout=60
        )

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


@contextlib.asynccontextmanager
async def start(house: House) -> AsyncIterator[Server]:
    """Start a server on the prepared data; it is asked to end afterwards, if it still runs."""
    log = house.data.parent / "server.log"
    server = _launch(house, log)
    process = server.process
    began = time.monotonic()
    try:
        async with server.client() as client, asyncio.timeout(START_S):
            while True:
                assert process.poll() is None, log
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/api/health")).status_code == 200:
                        break
                await asyncio.sleep(0.02)
        server.started_in_s = time.monotonic() - began
        yield server
    finally:
        if process.poll() is None:
            await asyncio.to_thread(server.stop)


def _launch(house: House, log: Path) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "jackfield", "serve", "--data", str(house.data), "--port", str(port),
                "--isolation", LEVEL,
            ],
            stdout=output, stderr=output, env={**os.environ, **_PATIENT},
        )  # fmt: skip
    return Server(process, port, house.token)


@dataclass
class Callers:
    """Several who call all the time. Each call has a key of its own, under which the plugin counts that it ran.

    Attributes:
        acknowledged: Keys of calls that were answered with success.
        failed: Key → code of those that were answered otherwise.
        unanswered: Keys of those that were not answered: the server had gone.
        versions: Which release answered, in order.
        successes: When a call was answered with success, and when it had been asked, by the monotonic clock.
    """

    server: Server
    acknowledged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    successes: list[tuple[float, float]] = field(default_factory=list)
    name: str = "a"
    millis: int = 5
    _is_over: bool = False
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def calling(self, count: int = 4) -> AsyncIterator[None]:
        """In the block, they call."""
        async with self.server.client() as client:
            tasks = [asyncio.create_task(self._call(client)) for _ in range(count)]
            try:
                yield
            finally:
                self._is_over = True
                await asyncio.gather(*tasks)
                self._is_over = False

    async def _call(self, client: httpx.AsyncClient) -> None:
        while not self._is_over:
            key = f"{self.name}-{next(self._numbers)}"
            asked = time.monotonic()
            try:
                answer = await client.post(
                    "/api/plugins/ledger/functions/put", json={"arguments": {"key": key, "millis": self.millis}}
                )
            except httpx.TransportError:
                self.unanswered.append(key)
                await asyncio.sleep(0.05)
                continue
            body = answer.json()
            if answer.status_code == 200 and body["success"]:
                self.acknowledged.append(key)
                self.versions.append(body["output"])
                self.successes.append((asked, time.monotonic()))
            else:
                self.failed[key] = body["error"]["code"]
            await asyncio.sleep(0.005)

    async def success_after(self, moment: float, *, seconds: float = 30.0) -> float:
        """How long after a moment a call was answered with success that was asked after it."""
        async with asyncio.timeout(seconds):
            while True:
                answered = [answered for asked, answered in self.successes if asked >= moment]
                if answered:
                    return min(answered) - moment
                await asyncio.sleep(0.005)

    async def counts(self) -> dict[str, int]:
        """How often each call has run, by the plugin's own count."""
        keys = [*self.acknowledged, *self.failed, *self.unanswered]
        found: dict[str, int] = {}
        async with self.server.client() as client:
            for start in range(0, len(keys), 200):
                part = keys[start : start + 200]
                answer = await client.post("/api/plugins/ledger/functions/counts", json={"arguments": {"keys": part}})
                found.update(zip(part, answer.json()["output"], strict=True))
        return found
