"""Requests under the fake platform: `ctx.http`, secrets by reference, and libraries that know of neither."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import httpx
import pytest
import requests
import stripe

import jackfield_sdk as jf
from jackfield_sdk.capabilities.http import HttpStatusError
from jackfield_sdk.errors import PluginError
from jackfield_sdk.testing import FakePlatform
from jackfield_sdk.testing.web import FakeAnswer, FakeRequest

KEY = "sk_test_of_the_tenant"
API = "https://api.example.com"

plugin = jf.Plugin("caller", version="1.0.0", permissions=["http:api.example.com", "http:other.example.com"])


@plugin.config
class Config:
    key: Annotated[jf.Secret, jf.Hosts("api.example.com")]
    loose: jf.Secret | None = None


@plugin.function()
def fetch(ctx: jf.Context, url: str, method: str = "GET", headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = ctx.http.request(method, url, headers=headers)
    return {"status": answer.status, "text": answer.text, "url": answer.url, "headers": dict(answer.headers)}


@plugin.function()
def post(ctx: jf.Context) -> Any:
    handle = ctx.secrets.ref("key")
    ctx.http.post(f"{API}/json", json={"key": handle, "ü": 1})
    ctx.http.post(f"{API}/form", data={"key": handle, "on": True})
    ctx.http.put(f"{API}/raw", data=b"\x00\x01")
    ctx.http.patch(f"{API}/text", data="ü")
    ctx.http.delete(f"{API}/things", params={"a": "b c", "n": 1, "none": None}, headers={"X-Key": handle})
    return ctx.http.get(f"{API}/json?x=1", params={"y": 2}, auth=(handle, "")).raise_for_status().json()


@plugin.function()
def big(ctx: jf.Context) -> list[int]:
    body = ctx.http.get(f"{API}/big").body
    return [len(body), len(set(body))]


@plugin.function()
def status(ctx: jf.Context) -> str:
    try:
        ctx.http.get(f"{API}/gone?token=hush").raise_for_status()
    except HttpStatusError as error:
        return f"{error} {error.code} {error.response.text}"
    return ""


@plugin.function()
def reveal(ctx: jf.Context, name: str) -> str:
    return ctx.secrets.reveal(name)


@plugin.function()
def ref(ctx: jf.Context, name: str) -> str:
    return ctx.secrets.ref(name)


@plugin.function()
def libraries(ctx: jf.Context) -> list[Any]:
    client = stripe.StripeClient(ctx.secrets.ref("key"), base_addresses={"api": API}, max_network_retries=0)
    customer = client.v1.customers.create({"email": "a@example.com"})
    return [customer.id, requests.get(f"{API}/x", timeout=5).text, httpx.get(f"{API}/x").text]


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(plugin, config={"key": KEY, "loose": "hush-hush"}).start()


def test_a_host_answers_as_the_test_says(platform: FakePlatform) -> None:
    platform.web.answer("GET", f"{API}/x", status=201, body="hëllo", headers={"X-Two": "2"})
    said = platform.call("fetch", url=f"{API}/x?a=b")
    assert said == {"status": 201, "text": "hëllo", "url": f"{API}/x?a=b", "headers": {"x-two": "2"}}
    assert platform.web.requests == [FakeRequest("GET", f"{API}/x?a=b", {}, b"")]


def test_bodies_are_encoded_and_secrets_put_in(platform: FakePlatform) -> None:
    for method, path in (("POST", "json"), ("POST", "form"), ("PUT", "raw"), ("PATCH", "text"), ("DELETE", "things")):
        platform.web.answer(method, f"{API}/{path}")
    platform.web.answer("GET", f"{API}/json", json={"seen": f"Bearer {KEY}"})
    assert platform.call("post") == {"seen": f"Bearer {platform.call('ref', name='key')}"}
    as_json, form, raw, text, delete, get = platform.web.requests
    assert (as_json.json(), as_json.headers["content-type"]) == ({"key": KEY, "ü": 1}, "application/json")
    assert form.body == f"key={KEY}&on=true".encode()
    assert (raw.body, text.body) == (b"\x00\x01", "ü".encode())
    assert (delete.url, delete.headers) == (f"{API}/things?a=b+c&n=1", {"x-key": KEY})
    assert get.url == f"{API}/json?x=1&y=2"
    assert get.headers["authorization"] == "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()


def test_a_large_body_comes_whole(platform: FakePlatform) -> None:
    platform.web.answer("GET", f"{API}/big", body=bytes(range(256)) * 10_000)
    assert platform.call("big") == [2_560_000, 256]


def test_an_error_of_the_host_is_one_when_it_is_asked_for(platform: FakePlatform) -> None:
    platform.web.answer("GET", f"{API}/gone", status=410, body="gone")
    assert platform.call("status") == f"{API}/gone answered 410 http-status gone"


@pytest.mark.parametrize(("arguments", "code"), [
    ({"url": "https://elsewhere.example.com/"}, "permission-denied"), ({"url": f"{API}:8443/"}, "permission-denied"),
    ({"url": "http://api.example.com/"}, "permission-denied"), ({"url": "ftp://api.example.com/"}, "url-refused"),
    ({"url": "https://u@api.example.com/"}, "url-refused"), ({"url": "nonsense"}, "url-refused"),
    ({"url": f"{API}/nobody"}, "host-unreachable"), ({"url": f"{API}/", "method": "TRACE"}, "request-refused"),
    ({"url": f"{API}/", "headers": {"Host": "x"}}, "request-refused"),
    ({"url": f"{API}/", "headers": {"X": "a\r\nb"}}, "request-refused"),
    ({"url": f"{API}/", "headers": {"X": "jfs_" + "0" * 40}}, "secret-refused"),
])  # fmt: skip
def test_what_the_platform_would_refuse_is_refused(
    platform: FakePlatform, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(PluginError) as caught:
        platform.call("fetch", **arguments)
    assert caught.value.code == code


def test_a_secret_goes_to_its_hosts_alone(platform: FakePlatform) -> None:
    handle = platform.call("ref", name="key")
    platform.web.answer("GET", "https://other.example.com/")
    with pytest.raises(PluginError) as caught:
        platform.call("fetch", url="https://other.example.com/", headers={"X": handle})
    assert caught.value.code == "secret-refused"
    with pytest.raises(PluginError) as caught:
        platform.call("reveal", name="key")
    assert caught.value.code == "permission-denied"
    assert platform.call("reveal", name="loose") == "hush-hush"
    with pytest.raises(PluginError) as caught:
        platform.call("ref", name="loose")
    assert caught.value.code == "secret-not-bound"


def test_redirects_are_followed_where_they_may_lead(platform: FakePlatform) -> None:
    platform.web.answer("GET", f"{API}/a", status=302, headers={"Location": "https://other.example.com/b"})
    platform.web.answer("GET", f"{API}/away", status=302, headers={"Location": "https://elsewhere.example.com/"})
    platform.web.answer("GET", "https://other.example.com/b", by=lambda got: FakeAnswer(json=sorted(got.headers)))
    said = platform.call("fetch", url=f"{API}/a", headers={"Authorization": "x", "Accept": "y"})
    assert (said["text"], said["url"]) == ('["accept"]', "https://other.example.com/b")
    with pytest.raises(PluginError) as caught:
        platform.call("fetch", url=f"{API}/away")
    assert caught.value.code == "redirect-refused"


def test_libraries_ask_the_fake_hosts_within_a_call(platform: FakePlatform) -> None:
    platform.web.answer("POST", f"{API}/v1/customers", json={"id": "cus_1", "object": "customer"})
    platform.web.answer("GET", f"{API}/x", body="hello")
    assert platform.call("libraries") == ["cus_1", "hello", "hello"]
    assert platform.web.requests[0].headers["authorization"] == f"Bearer {KEY}"
