"""A plugin uses a connection by its handle in `ctx.http`, and never sees what stands behind it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from jackfield.capabilities import CapabilityContext, Gate
from jackfield.data_adapters import SqlAdapter
from jackfield.errors import JackfieldError
from jackfield.surface import Surface
from jackfield_sdk.manifest import Manifest
from tests.server.connections.conftest import ADMIN, House, plugin
from tests.server.connections.test_oauth2 import authorization_code, connect
from tests.servers.oauth2 import OAuth2Server


class Calls:
    """Capability calls of one installation."""

    def __init__(self, house: House, *grants: str, tenant: str = "t") -> None:
        self.gate = Gate(
            house.database, house.vault, SqlAdapter(house.database, Surface()), egress=house.egress,
            secret_sources=(house.node.handles,), connections=house.node.handles.operations, clock=house.clock,
        )  # fmt: skip
        self.context: CapabilityContext = house.context(tenant, *grants)

    async def __call__(self, capability: str, operation: str, **arguments: Any) -> Any:
        encoded = msgspec.msgpack.encode(arguments)
        return msgspec.msgpack.decode(await self.gate.call(self.context, capability, operation, encoded))

    async def get(self, url: str, authorization: str) -> Any:
        return await self("http", "request", method="GET", url=url, headers=[("Authorization", authorization)])


def declared(*urls: str) -> Manifest:
    made = plugin()
    made._parts.clear()
    hosts = [urlsplit(url).netloc for url in urls]
    made.connection("calendar", "oauth2", hosts=hosts)
    made.connection("mail", "basic", hosts=hosts)
    return made.manifest()


@pytest.fixture
async def ready(house: House, oauth2: tuple[str, OAuth2Server]) -> tuple[House, str]:
    url, _ = oauth2
    house.manifest = declared(url)
    await house.node.connections.put(
        "t", "crm", "calendar", {"credentials": authorization_code(url)}, actor=ADMIN
    )  # fmt: skip
    await connect(house, url)
    return house, url


async def test_the_handle_becomes_a_fresh_token_on_its_way_out(
    ready: tuple[House, str], oauth2: tuple[str, OAuth2Server]
) -> None:
    (house, url), (_, server) = ready, oauth2
    call = Calls(house, f"http:{urlsplit(url).netloc}", "connections:calendar")
    handle = await call("connections", "ref", name="calendar")
    answer = await call.get(f"{url}/me", f"Bearer {handle}")
    assert (answer["status"], answer["body"]) == (200, b'{"name":"Ann"}')
    house.clock.advance(3600)
    server.expire_all()
    assert (await call.get(f"{url}/me", f"Bearer {handle}"))["status"] == 200
    assert server.asked[-1]["grant_type"] == "refresh_token"
    # What the call leaves is searched for what it was given.
    assert call.context.tally.revealed
    assert (await call("connections", "get", name="calendar"))["state"] == "ready"


async def test_the_handle_is_good_nowhere_else(ready: tuple[House, str]) -> None:
    house, url = ready
    host = urlsplit(url).netloc
    call = Calls(house, "http:127.0.0.1:9", f"http:{host}", "connections:calendar")
    handle = await call("connections", "ref", name="calendar")
    with pytest.raises(JackfieldError) as elsewhere:
        await call.get("http://127.0.0.1:9/", f"Bearer {handle}")
    assert elsewhere.value.code == "secret-refused"
    withdrawn = Calls(house, f"http:{host}")
    for attempt in (withdrawn("connections", "ref", name="calendar"), withdrawn.get(f"{url}/me", f"Bearer {handle}")):
        with pytest.raises(JackfieldError) as refused:
            await attempt
        assert refused.value.code == "permission-denied"
    rival = Calls(house, f"http:{host}", "connections:calendar", tenant="u")
    with pytest.raises(JackfieldError) as foreign:
        await rival.get(f"{url}/me", f"Bearer {handle}")
    assert foreign.value.code == "secret-refused"
    assert await rival("connections", "ref", name="calendar") != handle
    assert (await rival("connections", "get", name="calendar"))["state"] == "missing"


async def test_what_is_not_connected_says_so(ready: tuple[House, str]) -> None:
    house, url = ready
    call = Calls(house, f"http:{urlsplit(url).netloc}", "connections:mail", "connections:nothing")
    handle = await call("connections", "ref", name="mail")
    with pytest.raises(JackfieldError) as missing:
        await call.get(f"{url}/me", f"Bearer {handle}")
    assert missing.value.code == "connection-missing"
    with pytest.raises(JackfieldError) as undeclared:
        await call("connections", "ref", name="nothing")
    assert undeclared.value.code == "connection-not-declared"
    given = {"credentials": {"kind": "basic", "username": "ann", "password": "pw"}}
    await house.node.connections.put("t", "crm", "mail", given, actor=ADMIN)
    state = await call("connections", "get", name="mail")
    assert (state["state"], state["username"]) == ("ready", "ann")
