"""The client repeats a write that was dropped with the same key, follows nobody elsewhere, and says who is silent."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from jackfield_cli import client as client_module
from jackfield_cli.client import Client
from jackfield_cli.errors import CliError, UsageError

Answer = Callable[[httpx.Request], httpx.Response]


QUOTA = {"code": "quota", "detail": "enough", "hint": "Wait."}


def client(answer: Answer, url: str = "http://127.0.0.1:1") -> Client:
    return Client(url, "jf_owner_x", transport=httpx.MockTransport(answer))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module.time, "sleep", lambda _seconds: None)


def test_a_dropped_write_is_repeated_with_its_key() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            raise httpx.RemoteProtocolError("gone")
        if len(keys) == 2:
            raise httpx.ConnectError("restarting")
        if len(keys) == 3:
            return httpx.Response(409, json={"code": "idempotency-key-busy", "detail": "still running"})
        return httpx.Response(200, json={"done": True})

    with client(answer) as api:
        assert api.write("POST", "plugins", "echo", "activate") == {"done": True}
        api.write("POST", "plugins", "echo", "activate")
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0], "another command is another request"


def test_it_gives_up_after_a_while_and_says_that_it_may_have_happened() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone")

    with client(answer) as api, pytest.raises(CliError) as caught:
        api.write("POST", "plugins", "install")
    assert caught.value.code == "connection-lost"
    assert "may have been done" in caught.value.hint


@pytest.mark.parametrize(
    ("response", "code", "says"),
    [
        (httpx.Response(302, headers={"location": "https://elsewhere.example"}), "redirected", "elsewhere.example"),
        (httpx.Response(502, text="<html>Bad gateway"), "not-jackfield", "502"),
        (httpx.Response(200, text="<html>Welcome"), "not-jackfield", "JSON"),
        (
            httpx.Response(429, headers={"retry-after": "7"}, json=QUOTA),
            "quota", "enough",
        ),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_said(response: httpx.Response, code: str, says: str) -> None:
    with client(lambda _request: response) as api, pytest.raises(CliError) as caught:
        api.get("me")
    assert caught.value.code == code
    assert says in str(caught.value)
    if "retry-after" in response.headers:
        assert caught.value.hint == "Wait. Try again in 7 s."


def test_all_faults_are_listed() -> None:
    problem = {"code": "config-invalid", "detail": "no", "hint": "h", "slug": "p", "errors": [
        {"path": "a", "message": "too long"}, {"path": "b", "message": "missing"}]}  # fmt: skip
    with client(lambda _request: httpx.Response(422, json=problem)) as api, pytest.raises(CliError) as caught:
        api.get("me")
    assert caught.value.details == ("a: too long", "b: missing")
    assert "jackfield plan p" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://user:pw@host", "file:///etc/passwd"]
)
def test_a_url_must_be_a_servers(url: str) -> None:
    with pytest.raises(UsageError):
        Client(url)


@pytest.mark.parametrize(
    ("url", "is_exposed"),
    [("http://127.0.0.1:8000", False), ("http://localhost", False), ("http://[::1]:1", False),
     ("https://plugins.example", False), ("http://plugins.example", True), ("http://127.0.0.1.evil.example", True)],
)  # fmt: skip
def test_a_token_in_the_clear_is_noticed(url: str, is_exposed: bool) -> None:
    with Client(url, "jf_owner_x") as api:
        assert api.is_exposed == is_exposed


def test_a_server_below_a_path_is_served_there() -> None:
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return httpx.Response(200, json={})

    with client(answer, "https://shop.example/plugins/") as api:
        api.get("plugins", "echo@second", "functions", "a b/c")
    assert paths == ["/plugins/api/plugins/echo@second/functions/a%20b%2Fc"]


def test_pages_are_read_until_there_are_enough() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("cursor", "0"))
        limit = int(request.url.params["limit"])
        return httpx.Response(200, json={"items": list(range(at, at + limit)), "next_cursor": str(at + limit)})

    with client(answer) as api:
        assert api.pages("logs", limit=250) == list(range(250))
