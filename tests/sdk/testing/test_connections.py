"""Connections under the fake platform, which refuses what the real one refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import jackfield_sdk as jf
from jackfield_sdk.testing import FakePlatform

API = "https://api.example.com"
plugin = jf.Plugin("diary", version="1.0.0", permissions=["http:api.example.com"])
plugin.connection("calendar", "oauth2", hosts=["api.example.com"], reason="Writes appointments into it.")
plugin.connection("mail", "basic", hosts=["mail.example.com"])


@plugin.function()
def fetch(ctx: jf.Context, name: str = "calendar") -> str:
    return ctx.http.get(f"{API}/me", headers=ctx.connections[name].headers).text


@plugin.function()
def state(ctx: jf.Context, name: str) -> list[str]:
    connection = ctx.connections[name]
    return [connection.state, connection.username, str(connection.is_ready)]


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    with FakePlatform(plugin).start() as platform:
        platform.web.answer("GET", f"{API}/me", by=lambda request: jf_answer(request))
        yield platform


def jf_answer(request: object) -> object:
    from jackfield_sdk.testing.web import FakeAnswer

    return FakeAnswer(200, str(getattr(request, "headers", {})).encode(), {}, None)


def test_the_handle_stands_for_the_token_and_comes_back_as_itself(platform: FakePlatform) -> None:
    platform.connect("calendar", "tok-1234567")
    assert "tok-1234567" not in platform.call("fetch")
    sent = {name.lower(): value for name, value in platform.web.requests[-1].headers.items()}
    assert sent["authorization"] == "Bearer tok-1234567"
    assert platform.call("state", name="calendar") == ["ready", "", "True"]


def test_what_is_not_connected_not_for_the_host_or_not_granted_is_refused(platform: FakePlatform) -> None:
    def code(**arguments: str) -> str:
        with pytest.raises(jf.PluginError) as refused:
            platform.call("fetch", **arguments)
        return refused.value.code

    assert platform.call("state", name="calendar") == ["missing", "", "False"]
    assert code() == "connection-missing"
    platform.connect("mail", "password", username="ann")
    assert platform.call("state", name="mail") == ["ready", "ann", "True"]
    assert code(name="mail") == "secret-refused"
    assert code(name="nothing") == "permission-denied"
    platform.connect("calendar")
    platform.grants.discard("connections:calendar")
    assert code() == "permission-denied"
