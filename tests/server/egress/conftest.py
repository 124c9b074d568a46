from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from jackfield.egress import Egress, HostPolicy, OutboundRequest, OutboundResponse
from jackfield.settings import EgressSettings
from tests.server.egress.world import Canary, Dns, Web, certificate

Make = Callable[..., Egress]


@pytest.fixture
async def dns() -> AsyncIterator[Dns]:
    async with Dns().serving() as server:
        yield server


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    async with Canary().listening() as server:
        yield server
        assert server.visits == 0, "something reached what nobody may reach"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with Web().serving() as server:
        yield server


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Web, Path]]:
    """A server for `api.example`, `other.example` and below, and the file of its authority."""
    context, authority = certificate(tmp_path / "tls", "api.example", "other.example", "*.below.example", "127.0.0.1")
    async with Web().serving(context) as server:
        yield server, authority


@pytest.fixture
async def make(dns: Dns) -> AsyncIterator[Make]:
    """Makes an egress that asks the test's name server."""
    made: list[Egress] = []

    def make(**settings: Any) -> Egress:
        options: dict[str, Any] = {"resolver": dns.address, "read_s": 2.0, "connect_s": 2.0, "total_s": 5.0, **settings}
        egress = Egress(EgressSettings(**options))
        made.append(egress)
        return egress

    yield make
    for egress in made:
        await egress.close()


Send = Callable[..., Any]


@pytest.fixture
def send(make: Make) -> Send:
    """Sends one request: `await send(url, grants=…, allowed=…)`. Everything is granted unless a test says otherwise."""

    async def send(
        url: str,
        *,
        hosts: tuple[str, ...] | None = None,
        egress: Egress | None = None,
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        secrets: Any = (),
        payer: Any = None,
        timeout_s: float | None = None,
        max_redirects: int = 5,
        installation: str = "inst",
        **settings: Any,
    ) -> OutboundResponse:
        way = egress or make(**settings)
        request = OutboundRequest(method, url, headers, body, timeout_s, None, max_redirects)
        return await way.send(request, HostPolicy("acme", installation, hosts or ("*",)), secrets=secrets, payer=payer)

    return send
