"""Two nodes on one PostgreSQL behind a balancer, restarted in turn while calls and events go on: nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from jackfield_cli.keys import create_key
from tests.chaos.house import LEVEL, START_S
from tests.postgres import Postgres
from tests.server.db.nodes import KEY, TENANT, node, package

SURFACE = 'from jackfield import Event, Surface\n\nsurface = Surface(events=[Event("sale.created")])\n'
DRAIN_S = 0.6


@dataclass
class Member:
    """One node of the two."""

    data: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    is_ready: bool = False

    def start(self, url: str) -> None:
        environment = {
            **os.environ, "JACKFIELD_DATABASE_URL": url, "JACKFIELD_SECRET_KEY": KEY,
            "JACKFIELD_DRAIN_S": str(DRAIN_S),
        }  # fmt: skip
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "jackfield", "serve", "--data", str(self.data), "--port", str(self.port),
                    "--isolation", LEVEL, "--surface", "host_surface:surface",
                ],
                stdout=log, stderr=log, env=environment, cwd=self.data.parent,
            )  # fmt: skip

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Balancer:
    """Sends to nodes that say that they are ready; tries another one only where a connection was refused.

    Attributes:
        answered: Statuses of what was not answered with success.
        lost: What broke otherwise.
    """

    members: list[Member]
    token: str
    answered: list[tuple[int, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    refused: int = 0
    http: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
    )
    _turns: itertools.count[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async def watch(member: Member) -> None:
            async with httpx.AsyncClient(timeout=5) as http:
                while True:
                    try:
                        answer = await http.get(f"http://127.0.0.1:{member.port}/api/health")
                        member.is_ready = answer.status_code == 200
                    except httpx.TransportError:
                        member.is_ready = False
                    await asyncio.sleep(0.05)

        tasks = [asyncio.create_task(watch(member)) for member in self.members]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.http.aclose()

    async def send(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to one request on a connection of its own; None when it was lost."""
        async with asyncio.timeout(60):
            while True:
                ready = [member for member in self.members if member.is_ready]
                if not ready:
                    await asyncio.sleep(0.01)
                    continue
                member = ready[next(self._turns) % len(ready)]
                headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
                url = f"http://127.0.0.1:{member.port}{path}"
                try:
                    answer = await self.http.post(url, json=body, headers=headers)
                except httpx.ConnectError:
                    self.refused += 1
                    member.is_ready = False
                    continue
                except httpx.TransportError as error:
                    self.lost.append(f"{path} {body}: {error!r}")
                    return None
                if answer.status_code >= 300:
                    self.answered.append((answer.status_code, answer.text))
                    return None
                found: dict[str, Any] = answer.json()
                return found

    async def until_ready(self, member: Member) -> None:
        async with asyncio.timeout(START_S):
            while not member.is_ready:
                assert member.process is not None
                assert member.process.poll() is None, member.data
                await asyncio.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def prepare(url: str, folder: Path) -> str:
    """Publish and install the plugin; an owner's token."""
    key = create_key(folder / "keys")
    async with node(url, folder / "preparing") as platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await platform.tenants.ensure_tenant(TENANT, TENANT, plan="enterprise")
        content = package(folder, "1.0.0", key)

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        await platform.registry.publish(chunks(), "pub")
        await platform.lifecycle.install(TENANT, "ledger", grants=["storage"])
        return (await platform.tenants.issue_token("owner", tenant_id=TENANT)).plaintext


@pytest.mark.timeout(400)
async def test_no_acknowledged_call_and_no_event_is_lost(postgres: Postgres, tmp_path: Path) -> None:
    database = await postgres.create()
    url = postgres.url(database)
    token = await prepare(url, tmp_path)
    (tmp_path / "host_surface.py").write_text(SURFACE)
    members = [Member(tmp_path / name, free_port()) for name in ("one", "two")]
    balancer = Balancer(members, token)
    put: list[int] = []
    emitted: list[int] = []
    numbers = itertools.count()
    is_over = False

    async def work(kind: str) -> None:
        while not is_over:
            n = next(numbers)
            if kind == "call":
                body = {"arguments": {"key": f"k{n}", "value": n}}
                answer = await balancer.send("/api/plugins/ledger/functions/put", body)
                if answer is not None:
                    assert answer["success"], answer
                    put.append(n)
            elif await balancer.send("/api/events/sale.created", {"n": n}) is not None:
                emitted.append(n)
            await asyncio.sleep(0.01)

    try:
        async with balancer.watching():
            for member in members:
                member.start(url)
            for member in members:
                await balancer.until_ready(member)
            tasks = [asyncio.create_task(work(kind)) for kind in ("call", "call", "event")]
            await asyncio.sleep(1.0)
            for member in members:
                assert await asyncio.to_thread(member.stop) in (0, -signal.SIGTERM)
                member.start(url)
                await balancer.until_ready(member)
                await asyncio.sleep(0.5)
            is_over = True
            await asyncio.gather(*tasks)
            print(f"\n{len(put)} calls, {len(emitted)} events, {balancer.refused} connections refused")
            assert balancer.lost == []
            assert balancer.answered == []
            assert len(put) > 20
            assert len(emitted) > 10
            for n in put:
                answer = await balancer.send("/api/plugins/ledger/functions/get", {"arguments": {"key": f"k{n}"}})
                assert answer is not None
                assert answer["output"] == n

            async def sold() -> int:
                answer = await balancer.send("/api/plugins/ledger/functions/sales", {"arguments": {}})
                assert answer is not None
                return int(answer["output"])

            async with asyncio.timeout(30):
                while await sold() < min(len(emitted), 1000):  # noqa: ASYNC110  # the plugin is asked over the network
                    await asyncio.sleep(0.05)
    finally:
        for member in members:
            if member.process is not None and member.process.poll() is None:
                await asyncio.to_thread(member.stop)
    await postgres.drop(database)
