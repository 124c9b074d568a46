"""`http`, as an isolate calls it: grants, pieces, handles, what is counted and what is told."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from jackfield.capabilities import Gate
from jackfield.capabilities.secrets import set_secrets
from jackfield.db import Database
from jackfield.egress import Egress
from jackfield.errors import JackfieldError
from jackfield.settings import EgressSettings
from tests.server.capabilities.installations import Installed, installed, make_gate, manifest
from tests.server.egress.world import Received, Web, ok

KEY = "sk_live_of_the_tenant"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with Web().serving() as server:
        yield server


@pytest.fixture
async def gate(database: Database) -> AsyncIterator[Gate]:
    egress = Egress(EgressSettings(allowed=("127.0.0.1",), requests_per_minute=100))
    yield make_gate(database, egress=egress)
    await egress.close()


@pytest.fixture
def plugin(gate: Gate, web: Web) -> Installed:
    host = f"127.0.0.1:{web.port}"
    section = {
        "schema": {"type": "object", "properties": {"key": {"type": "string"}, "other": {"type": "string"}}},
        "secrets": ["key", "other"],
        "secret_hosts": {"key": [host]},
    }
    return installed(
        gate, release=manifest(config=section, permissions=[f"http:{host}"]), grants=[f"http:{host}", "secrets:other"]
    )


async def code_of(made: Any) -> str:
    with pytest.raises(JackfieldError) as caught:
        await made
    return caught.value.code


async def test_a_granted_host_is_reached_and_another_is_not(plugin: Installed, web: Web) -> None:
    web.answers["/x"] = ok(b"hello", "X-Two: 2")
    answer = await plugin.call("http", "request", method="GET", url=f"{web.url}/x")
    assert (answer["status"], answer["body"], answer["rest"], answer["url"]) == (200, b"hello", 0, f"{web.url}/x")
    assert ["x-two", "2"] in answer["headers"]
    assert (
        await code_of(plugin.call("http", "request", method="GET", url="https://other.example/")) == "permission-denied"
    )


async def test_without_a_grant_nothing_is_reached(gate: Gate, web: Web) -> None:
    bare = installed(gate)
    assert await code_of(bare.call("http", "request", method="GET", url=f"{web.url}/")) == "permission-denied"
    assert web.connections == 0


async def test_a_large_body_comes_in_pieces_and_is_gone_afterwards(plugin: Installed, web: Web) -> None:
    body = bytes(range(256)) * 10_000
    web.answers["/"] = ok(body)
    answer = await plugin.call("http", "request", method="GET", url=f"{web.url}/")
    parts, rest = [answer["body"]], answer["rest"]
    while rest:
        piece = await plugin.call("http", "read", id=answer["id"])
        parts.append(piece["body"])
        rest = piece["rest"]
    assert b"".join(parts) == body
    assert len(parts) == 3
    assert await code_of(plugin.call("http", "read", id=answer["id"])) == "body-gone"


async def test_a_body_belongs_to_the_call_that_asked_for_it(gate: Gate, plugin: Installed, web: Web) -> None:
    web.answers["/"] = ok(b"x" * 1_000_000)
    answer = await plugin.call("http", "request", method="GET", url=f"{web.url}/")
    assert await code_of(installed(gate).call("http", "read", id=answer["id"])) == "body-gone"


async def test_few_bodies_are_kept_for_one_call(plugin: Installed, web: Web) -> None:
    web.answers["/"] = ok(b"x" * 600_000)
    ids = [(await plugin.call("http", "request", method="GET", url=f"{web.url}/"))["id"] for _ in range(10)]
    assert len(set(ids)) == 10
    assert await code_of(plugin.call("http", "read", id=ids[0])) == "body-gone"
    assert (await plugin.call("http", "read", id=ids[-1]))["rest"] == 0


async def test_bytes_and_requests_are_counted_without_what_was_in_them(plugin: Installed, web: Web) -> None:
    web.answers["/x"] = ok(b"y" * 1000)
    await plugin.call("http", "request", method="POST", url=f"{web.url}/x?token=hush", body=b"z" * 500)
    await code_of(plugin.call("http", "request", method="GET", url="https://other.example/?token=hush"))
    await code_of(plugin.call("http", "request", method="GET", url="nonsense"))
    tally = plugin.context.tally
    assert tally.egress_bytes > 1500
    assert tally.capabilities["http"] == 3
    assert tally.requests is not None
    assert [(one.method, one.host, one.status, one.code) for one in tally.requests] == [
        ("POST", f"127.0.0.1:{web.port}", 200, ""), ("GET", "other.example", 0, "permission-denied"),
        ("GET", "", 0, "url-refused"),
    ]  # fmt: skip
    assert tally.requests[0].size == tally.egress_bytes
    assert "hush" not in repr(tally.requests)


async def test_a_secret_is_put_in_by_its_handle(database: Database, plugin: Installed, web: Web) -> None:
    context = plugin.context
    async with database.write(context.tenant_id) as session:
        await set_secrets(session, context.tenant_id, context.installation_id, context.slug, {"key": KEY})
    web.answers["/"] = lambda got: ok(got.headers["authorization"].encode())
    handle = await plugin.call("secrets", "ref", name="key")
    answer = await plugin.call(
        "http", "request", method="GET", url=f"{web.url}/", headers=[["Authorization", f"Bearer {handle}"]]
    )
    assert web.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert answer["body"].decode() == f"Bearer {handle}"
    # What is kept of the call is searched for it all the same.
    assert context.tally.revealed == [KEY]


async def test_a_secret_that_a_host_was_given_before_does_not_come_back_later(
    database: Database, plugin: Installed, web: Web
) -> None:
    """A plugin may have the host keep it, and ask for it without a handle in sight."""
    context = plugin.context
    async with database.write(context.tenant_id) as session:
        await set_secrets(session, context.tenant_id, context.installation_id, context.slug, {"key": KEY})
    web.answers["/note"] = ok(f"the note says {KEY}".encode(), "Content-Type: text/plain")
    handle = await plugin.call("secrets", "ref", name="key")
    answer = await plugin.call("http", "request", method="GET", url=f"{web.url}/note")
    assert answer["body"].decode() == f"the note says {handle}"
    assert "content-length" not in dict(answer["headers"])


async def test_a_handle_without_a_value_says_so(plugin: Installed, web: Web) -> None:
    handle = await plugin.call("secrets", "ref", name="key")
    asked = plugin.call("http", "request", method="GET", url=f"{web.url}/", headers=[["X-Key", handle]])
    assert await code_of(asked) == "secret-not-set"
    assert web.connections == 0


@pytest.mark.parametrize("name", ["other", "missing"])
async def test_only_a_secret_that_is_bound_has_a_handle(plugin: Installed, name: str) -> None:
    assert await code_of(plugin.call("secrets", "ref", name=name)) == "secret-not-bound"


async def test_a_bound_secret_is_not_revealed_unless_that_was_asked_for(gate: Gate, plugin: Installed) -> None:
    assert await code_of(plugin.call("secrets", "reveal", name="key")) == "permission-denied"
    section = plugin.context.manifest.config
    assert section is not None
    assert await code_of(plugin.call("secrets", "reveal", name="other")) == "secret-not-set"


@pytest.mark.parametrize("handle", ["jfs_" + "0" * 40, "jfs_" + "v" * 40])
async def test_a_handle_of_nobody_is_refused(plugin: Installed, web: Web, handle: str) -> None:
    for options in (
        {"headers": [["X-Key", handle]]}, {"url": f"{web.url}/?k={handle}"},
        {"body": handle.encode(), "method": "POST"},
    ):  # fmt: skip
        arguments: dict[str, Any] = {"method": "GET", "url": f"{web.url}/", **options}
        assert await code_of(plugin.call("http", "request", **arguments)) == "secret-refused"
    assert web.connections == 0


async def test_a_handle_of_another_installation_is_one_of_nobody(gate: Gate, plugin: Installed, web: Web) -> None:
    other = Installed(gate, dataclasses.replace(plugin.context, tenant_id="rival", installation_id="inst_b"))
    handle = await plugin.call("secrets", "ref", name="key")
    assert handle != await other.call("secrets", "ref", name="key")
    asked = other.call("http", "request", method="GET", url=f"{web.url}/", headers=[["X-Key", handle]])
    assert await code_of(asked) == "secret-refused"


async def test_a_request_ends_with_the_call_that_made_it(plugin: Installed, web: Web) -> None:
    web.raw = lambda reader, _writer: reader.read()
    ending = Installed(plugin.gate, dataclasses.replace(plugin.context, deadline=time.time() + 0.2))
    started = time.monotonic()
    assert await code_of(ending.call("http", "request", method="GET", url=f"{web.url}/")) == "egress-timeout"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("arguments", [
    {}, {"method": "GET"}, {"method": 1, "url": "https://x.example/"}, {"method": "GET", "url": "x", "extra": 1},
    {"method": "GET", "url": "https://x.example/", "headers": {"a": "b"}},
    {"method": "GET", "url": "https://x.example/", "headers": [["a"]]},
    {"method": "GET", "url": "https://x.example/", "headers": [["a", "b"]] * 300},
    {"method": "GET", "url": "https://x.example/", "body": "text"},
    {"method": "GET", "url": "https://x.example/", "timeout_s": -1},
    {"method": "GET", "url": "https://x.example/", "timeout_s": float("nan")},
    {"method": "GET", "url": "https://x.example/", "max_redirects": 1000},
    {"method": "GET" * 10, "url": "https://x.example/"}, {"method": "GET", "url": "https://x.example/" + "a" * 9000},
])  # fmt: skip
async def test_arguments_that_are_none_are_refused(gate: Gate, plugin: Installed, arguments: dict[str, Any]) -> None:
    with pytest.raises(JackfieldError) as caught:
        await gate.call(plugin.context, "http", "request", msgspec.msgpack.encode(arguments))
    assert caught.value.code == "arguments-invalid"


async def test_credentials_of_one_tenant_travel_on_no_connection_of_another(gate: Gate, web: Web) -> None:
    seen: list[Received] = web.received
    web.answers["/"] = ok()
    host = f"127.0.0.1:{web.port}"
    one = installed(gate, grants=[f"http:{host}"])
    two = Installed(gate, dataclasses.replace(one.context, tenant_id="rival", installation_id="inst_b"))
    for who in (one, two, one, two):
        await who.call("http", "request", method="GET", url=f"{web.url}/")
    assert [got.connection for got in seen] == [1, 2, 1, 2]
