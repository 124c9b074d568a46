"""Routes: who reaches them, what the plugin is told, what gets out of it, and what a stranger can learn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.server.sealed_house import RIVAL, TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/api/plugins/probe/api"
OPEN = f"{PATH}/open/bob?tenant={TENANT}"


async def answer(house: House, **response: Any) -> Any:
    return await house.ask("POST", f"{PATH}/answer", json=response)


async def test_a_pattern_names_parts_of_the_path(house: House) -> None:
    response = await house.ask("GET", f"{PATH}/open/bob?b=1&b=2&c=")
    assert response.json()["name"] == "bob"
    assert response.json()["query"] == {"b": "2", "c": ""}
    assert response.json()["caller"] == "owner"


@pytest.mark.parametrize(
    "path", ["/open", "/open/", "/open/a/b", "//open/a", "/open/a%2Fb", "/Open/a", "/members/", "/"]
)
async def test_other_paths_lead_nowhere(house: House, path: str) -> None:
    assert (await house.ask("GET", PATH + path)).status_code in {404, 405}


async def test_other_methods_are_named(house: House) -> None:
    response = await house.ask("POST", f"{PATH}/members")
    assert response.status_code == 404
    assert response.json()["code"] == "route-unknown"
    assert "GET" in response.json()["hint"]
    assert (await house.ask("OPTIONS", f"{PATH}/members")).status_code == 405


async def test_roles_are_held(house: House) -> None:
    assert (await house.ask("GET", f"{PATH}/members", "member")).json() == "member"
    assert (await house.ask("POST", f"{PATH}/owners", "admin")).status_code == 403
    assert (await house.ask("POST", f"{PATH}/owners", "owner")).status_code == 200
    assert (await house.ask("GET", f"{PATH}/members", "operator")).status_code == 403


async def test_a_public_route_needs_a_tenant_and_no_token(house: House) -> None:
    response = await house.ask("GET", OPEN, None)
    assert response.status_code == 200
    assert response.json()["tenant"] == TENANT
    assert response.json()["caller"] is None
    missing = await house.ask("GET", f"{PATH}/open/bob", None)
    assert missing.status_code == 422
    assert missing.json()["code"] == "tenant-missing"


async def test_a_token_decides_the_tenant_whatever_the_query_says(house: House) -> None:
    response = await house.ask("GET", f"{PATH}/open/bob?tenant={RIVAL}", "owner")
    assert response.json()["tenant"] == TENANT


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}/members?tenant={TENANT}",
        f"{PATH}/nothing?tenant={TENANT}",
        f"/api/plugins/nothing/api/open/bob?tenant={TENANT}",
        f"/api/plugins/probe@other/api/open/bob?tenant={TENANT}",
        f"{PATH}/open/bob?tenant=empty",
        f"{PATH}/open/bob?tenant=nobody",
        f"{PATH}/open/bob?tenant=",
        f"{PATH}/open/bob?tenant={'a' * 5000}",
        f"{PATH}/open/bob?tenant=%00",
        f"{PATH}/open/bob?tenant={TENANT}%0A",
    ],
)
async def test_a_stranger_learns_nothing_but_that_a_token_is_needed(house: House, path: str) -> None:
    response = await house.ask("GET", path, None)
    assert response.status_code == 401
    assert response.json()["code"] == "credentials-missing"
    assert response.json()["detail"] == "This needs a token."


async def test_strangers_cannot_fill_the_memory_with_tenants_that_cannot_be(house: House) -> None:
    for n in range(20):
        await house.ask("GET", f"{PATH}/open/bob?tenant={'x' * 500}{n}", None)
    assert not any(key.startswith("xxx") for key in house.platform.active._cached)  # pyright: ignore[reportPrivateUsage]


async def test_a_token_that_is_wrong_is_not_the_same_as_none(house: House) -> None:
    async with house.client() as client:
        response = await client.get(OPEN, headers={"Authorization": "Bearer jf_owner_wrong"})
    assert response.status_code == 401


async def test_a_huge_query_is_refused(house: House) -> None:
    response = await house.ask("GET", f"{PATH}/open/bob?q={'a' * 20_000}")
    assert response.status_code == 422
    assert response.json()["code"] == "query-too-large"


async def test_credentials_and_the_hosts_headers_do_not_reach_the_plugin(house: House) -> None:
    given = {
        "Cookie": "session=1",
        "X-Forwarded-For": "10.0.0.1",
        "Accept": "text/html",
        "X-Secret": "s",
        "Referer": "r",
    }
    headers = (await house.ask("GET", f"{PATH}/open/bob", headers=given)).json()["headers"]
    assert headers["accept"] == "text/html"
    assert not {"authorization", "cookie", "x-forwarded-for", "x-secret", "referer", "host"} & headers.keys()


async def test_more_requests_than_the_route_allows_are_too_many(house: House) -> None:
    statuses = [await house.ask("GET", f"{PATH}/rare", "rival") for _ in range(3)]
    assert [response.status_code for response in statuses] == [200, 200, 429]
    assert statuses[2].json()["code"] == "rate-limited"
    assert int(statuses[2].headers["retry-after"]) >= 1
    assert (await house.ask("GET", f"{PATH}/rare", "owner")).status_code == 200, "each installation has its own"


async def test_an_answer_is_fenced_in(house: House) -> None:
    response = await answer(house, body="<script>alert(1)</script>", content_type="text/html; charset=utf-8")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


async def test_headers_that_belong_to_the_host_do_not_get_out(house: House) -> None:
    given = {
        "Set-Cookie": "a=b", "Location": "https://evil.example", "Service-Worker-Allowed": "/",
        "Clear-Site-Data": '"*"',
        "Access-Control-Allow-Origin": "*", "Content-Security-Policy": "default-src *", "X-Content-Type-Options": "no",
        "ETag": '"1"', "Content-Language": "en\r\nSet-Cookie: a=b", "Content-Disposition": "attachment\x00",
        "Vary": "*",
        "Content-Length": "1", "Transfer-Encoding": "chunked", "WWW-Authenticate": "Basic", "Refresh": "0;url=//evil",
    }  # fmt: skip
    response = await answer(house, body="x", headers=given)
    assert set(response.headers) == {
        "content-type", "content-length", "etag", "content-security-policy", "x-content-type-options", "cache-control",
        "cross-origin-resource-policy", "referrer-policy", "vary",
    }  # fmt: skip
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["vary"] == "authorization"


@pytest.mark.parametrize(
    "kind",
    [
        "text/javascript", "application/javascript", "application/x-ecmascript", "text/css", "application/wasm",
        "multipart/x-mixed-replace; boundary=a", "message/rfc822", "text/html\r\nSet-Cookie: a=b", "text/html\n", "",
        "TEXT/HTML",
        "text/html; charset=utf-8; x=y",
    ],
)  # fmt: skip
async def test_types_that_a_browser_would_run_for_the_host_become_plain_bytes(house: House, kind: str) -> None:
    response = await answer(house, body="alert(1)", content_type=kind)
    assert response.headers["content-type"] == "application/octet-stream"


async def test_bytes_go_in_and_out_unchanged(house: House) -> None:
    data = bytes(range(256)) * 10

    async def in_parts() -> AsyncIterator[bytes]:
        yield data[:100]
        yield data[100:]

    for content in (data, in_parts()):
        response = await house.ask("POST", f"{PATH}/raw?type=image/png", content=content)
        assert response.content == data
        assert response.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("cache", "kept"), [("public, max-age=60", False), ("private, max-age=5", True), (None, False)]
)
async def test_no_shared_cache_keeps_what_was_answered_to_one_tenant(
    house: House, cache: str | None, kept: bool
) -> None:
    headers = {} if cache is None else {"Cache-Control": cache}
    response = await answer(house, body="x", headers=headers)
    assert response.headers["cache-control"] == (cache if kept else "private, no-cache")


@pytest.mark.parametrize(("status", "sent"), [(204, 204), (304, 304), (404, 404), (99, 200), (1000, 200)])
async def test_a_status_is_one_that_can_be_sent(house: House, status: int, sent: int) -> None:
    response = await answer(house, body="a body", status=status)
    assert response.status_code == sent
    assert (response.content == b"") == (sent in {204, 304})


async def test_an_error_for_the_user_is_a_problem_that_is_known_as_the_plugins(house: House) -> None:
    response = await house.ask("GET", f"{PATH}/fails?how=user")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "urn:jackfield:plugin:probe:token-expired"
    assert problem["detail"] == "no such customer"
    assert problem["plugin"] == "probe"


@pytest.mark.parametrize(
    ("how", "status", "code"), [("defect", 502, "plugin-error"), ("hang", 504, "deadline-exceeded")]
)
async def test_a_failing_plugin_is_a_bad_gateway(house: House, how: str, status: int, code: str) -> None:
    response = await house.ask("GET", f"{PATH}/fails?how={how}")
    assert response.status_code == status
    assert response.json()["code"] == code
    assert "RuntimeError" not in response.json().get("hint", "")


async def test_bytes_that_are_no_text_are_the_plugins_failure_and_not_ours(house: House) -> None:
    # A result is only taken for the call that runs; a fresh isolate counts from one.
    await house.platform.isolates.retire((await house.installation()).id)
    response = await house.ask("GET", f"{PATH}/fails?how=text")
    assert response.status_code == 502
    assert response.json()["code"] in {"result-not-data", "protocol-violation"}
    await house.platform.isolates.retire((await house.installation()).id)
