"""Secrets by reference: where a handle may stand, to whom its value goes, and what comes back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from jackfield.egress import InjectedSecret, RedirectRefusedError, ResponseRefusedError, SecretRefusedError
from tests.server.egress.conftest import Send
from tests.server.egress.world import Dns, Received, Web, ok

HANDLE = "jfs_" + "0" * 40
VALUE = 'pa/ss+wörd "1"&2'
PLAIN = "sk_live_0123456789"
LOCAL = ("127.0.0.0/8",)


def secret(*hosts: str, value: str = PLAIN, handle: str = HANDLE) -> InjectedSecret:
    return InjectedSecret(handle, value, hosts, "the secret `api_key`")


class Asker:
    """Sends to the test's server, with a secret that is bound to it."""

    def __init__(self, send: Send, web: Web) -> None:
        self._send, self._web = send, web
        self.host = f"127.0.0.1:{web.port}"

    async def __call__(self, path: str = "/", value: str = PLAIN, **options: Any) -> Any:
        return await self._send(
            f"{self._web.url}{path}", hosts=("*", f"*:{self._web.port}"), allowed=LOCAL,
            secrets=(secret(self.host, value=value),), **options,
        )  # fmt: skip


@pytest.fixture
def ask(send: Send, web: Web) -> Asker:
    web.answers["*"] = ok()
    return Asker(send, web)


@pytest.mark.parametrize(("name", "written", "sent"), [
    ("Authorization", f"Bearer {HANDLE}", f"Bearer {PLAIN}"),
    ("X-Api-Key", HANDLE, PLAIN),
    ("Authorization", "Basic " + base64.b64encode(f"{HANDLE}:".encode()).decode(),
     "Basic " + base64.b64encode(f"{PLAIN}:".encode()).decode()),
    ("authorization", "basic " + base64.b64encode(f"me:{HANDLE}".encode()).decode(),
     "basic " + base64.b64encode(f"me:{PLAIN}".encode()).decode()),
])  # fmt: skip
async def test_a_handle_in_a_header_is_replaced(ask: Asker, web: Web, name: str, written: str, sent: str) -> None:
    await ask(headers=((name, written),))
    assert web.received[0].headers[name.lower()] == sent


async def test_a_handle_in_the_url_is_replaced_and_encoded(ask: Asker, web: Web) -> None:
    response = await ask(f"/bot{HANDLE}/x?key={HANDLE}&a=1", value=VALUE)
    assert web.received[0].path == f"/bot{quote(VALUE, safe=':')}/x?key={quote(VALUE, safe=':')}&a=1"
    assert HANDLE in response.url
    assert "pa" not in response.url


async def test_a_handle_in_a_body_is_replaced_and_encoded(ask: Asker, web: Web) -> None:
    form, as_json = f"key={HANDLE}&a=1".encode(), json.dumps({"key": HANDLE, "n": [HANDLE]}).encode()
    for kind, body in (("application/x-www-form-urlencoded", form), ("application/json; charset=utf-8", as_json)):
        await ask(method="POST", headers=(("Content-Type", kind),), body=body, value=VALUE)
    assert web.received[0].body == f"key={quote_plus(VALUE)}&a=1".encode()
    assert json.loads(web.received[1].body) == {"key": VALUE, "n": [VALUE]}
    assert [int(got.headers["content-length"]) for got in web.received] == [len(got.body) for got in web.received]


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "", "application/octet-stream"])
async def test_a_handle_in_another_body_is_refused(ask: Asker, web: Web, kind: str) -> None:
    with pytest.raises(SecretRefusedError, match="neither JSON nor a form"):
        await ask(method="POST", headers=(("Content-Type", kind),) if kind else (), body=HANDLE.encode())
    assert web.connections == 0


async def test_a_value_that_a_header_cannot_carry_is_refused(ask: Asker, web: Web) -> None:
    for value in ("a\r\nX-Evil: 1", "ключ12", "a\x00bc"):
        with pytest.raises(SecretRefusedError, match="header"):
            await ask(headers=(("X-Key", HANDLE),), value=value)
    assert web.connections == 0


async def test_a_value_too_short_to_be_found_again_is_refused(ask: Asker, web: Web) -> None:
    with pytest.raises(SecretRefusedError, match="fewer than 4"):
        await ask(headers=(("X-Key", HANDLE),), value="abc")
    assert web.connections == 0


@pytest.mark.parametrize("hosts", [
    ("other.example",), ("127.0.0.1",), ("*.0.0.1",), (), ("127.0.0.1:1",),
])  # fmt: skip
async def test_a_value_goes_to_no_host_that_it_is_not_bound_to(send: Send, web: Web, hosts: tuple[str, ...]) -> None:
    with pytest.raises(SecretRefusedError, match="is not for"):
        await send(
            f"{web.url}/", hosts=(f"*:{web.port}",), allowed=LOCAL, secrets=(secret(*hosts),),
            headers=(("X-Key", HANDLE),),
        )  # fmt: skip
    assert web.connections == 0


async def test_a_value_does_not_go_over_plain_http_in_public(send: Send, dns: Dns) -> None:
    dns.names["api.example"] = ["93.184.215.14"]
    with pytest.raises(SecretRefusedError, match="plain http"):
        await send(
            "http://api.example/", hosts=("api.example:80",), secrets=(secret("api.example:80"),),
            headers=(("X-Key", HANDLE),),
        )  # fmt: skip
    assert dns.asked == []


def _echo(got: Received) -> bytes:
    text = json.dumps({"headers": got.headers, "path": got.path, "body": got.body.decode()})
    return ok(
        text.encode(), f"X-Seen: {got.headers.get('x-key', '')}", f"X-Auth: {got.headers.get('authorization', '')}"
    )


@pytest.mark.parametrize("value", [PLAIN, "with space/+&=%", 'quo"te\\d', "Zz09" * 40])
async def test_a_server_that_repeats_what_it_was_sent_gives_the_handle_back(ask: Asker, web: Web, value: str) -> None:
    web.answers["*"] = _echo
    response = await ask(
        f"/x?key={HANDLE}", value=value, method="POST",
        headers=(
            ("X-Key", HANDLE), ("Authorization", "Basic " + base64.b64encode(f"u:{HANDLE}".encode()).decode()),
            ("Content-Type", "application/json"),
        ),
        body=json.dumps({"key": HANDLE}).encode(),
    )  # fmt: skip
    said = response.body.decode() + "".join(value for _, value in response.headers)
    assert value not in said
    assert json.dumps(value)[1:-1] not in said
    assert quote(value, safe="") not in said
    for offset in range(3):
        assert base64.b64encode(b"x" * offset + value.encode())[4:-4].decode() not in said
    assert response.header("x-seen") == HANDLE
    assert HANDLE in said


async def test_a_redirect_that_carries_the_secret_is_followed_at_home_and_not_abroad(
    send: Send, web: Web, dns: Dns
) -> None:
    web.answers["/from"] = ok(b"", f"Location: /to?key={PLAIN}", status="302 Found")
    web.answers["/to"] = ok(b"done")
    async with Web().serving() as other:
        web.answers["/away"] = ok(b"", f"Location: {other.url}/?key={PLAIN}", status="302 Found")
        hosts = (f"*:{web.port}", f"*:{other.port}")
        options: dict[str, Any] = {
            "hosts": hosts, "allowed": LOCAL, "secrets": (secret(f"127.0.0.1:{web.port}"),),
            "headers": (("X-Key", HANDLE),),
        }  # fmt: skip
        response = await send(f"{web.url}/from", **options)
        assert (response.body, response.url) == (b"done", f"{web.url}/to?key={HANDLE}")
        assert web.received[-1].path == f"/to?key={PLAIN}"
        with pytest.raises(RedirectRefusedError, match="secret"):
            await send(f"{web.url}/away", **options)
        assert other.connections == 0


async def test_a_body_with_a_secret_is_not_sent_on_to_another_host(send: Send, web: Web) -> None:
    async with Web().serving() as other:
        web.answers["/"] = ok(b"", f"Location: {other.url}/", status="307 Temporary Redirect")
        with pytest.raises(RedirectRefusedError, match="secret"):
            await send(
                f"{web.url}/", hosts=(f"*:{web.port}", f"*:{other.port}"), allowed=LOCAL, method="POST",
                secrets=(secret("*:1", f"127.0.0.1:{web.port}"),), body=f"k={HANDLE}".encode(),
                headers=(("Content-Type", "application/x-www-form-urlencoded"),),
            )  # fmt: skip
        assert other.connections == 0


async def test_an_answer_that_cannot_be_looked_into_is_refused(ask: Asker, send: Send, web: Web) -> None:
    web.answers["*"] = ok(b"\x8b\x05\x80" + PLAIN.encode(), "Content-Encoding: br")
    with pytest.raises(ResponseRefusedError, match="not asked for"):
        await ask(headers=(("X-Key", HANDLE),))
    response = await send(f"{web.url}/", hosts=(f"*:{web.port}",), allowed=LOCAL)
    assert response.header("content-encoding") == "br"


def test_nothing_shows_a_value_by_accident(tmp_path: Path) -> None:
    assert PLAIN not in repr(secret("a.example"))
