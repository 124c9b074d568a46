"""The marketplace and the registry over HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from jackfield.http import BodyLimitMiddleware, Caller
from jackfield.registry import UPLOAD_PATH, Registry, router
from tests.sdk.crafted import KEY, Key
from tests.server.conftest import KnownCallers, application, client
from tests.server.registry.uploads import PUBLISHER, chunks, package

CALLERS = {
    "publisher": Caller("publisher", publisher_id=PUBLISHER),
    "other": Caller("publisher", publisher_id="pub_other"),
    "operator": Caller("operator", token_id="tok_1"),
    "owner": Caller("owner", tenant_id="acme", member_id="mem_1"),
    "member": Caller("member", tenant_id="acme", member_id="mem_2"),
}
PACKAGE = {"Content-Type": "application/vnd.jackfield.package"}


@pytest.fixture
def app(registry: Registry) -> FastAPI:
    return application(KnownCallers(CALLERS), router(registry))


@pytest.fixture
async def publisher(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, "publisher") as http:
        yield http


async def send(http: httpx.AsyncClient, data: bytes, **headers: str) -> httpx.Response:
    return await http.post(UPLOAD_PATH, content=chunks(data), headers={**PACKAGE, **headers})


def new_key(key: Key, publisher_id: str) -> dict[str, Any]:
    proof = key.sign(f"jackfield-key-v1\n{publisher_id}".encode())
    return {"public_key": base64.b64encode(key.public).decode(), "proof": base64.b64encode(proof).decode()}


async def test_a_publisher_publishes_and_everybody_finds_it(app: FastAPI, publisher: httpx.AsyncClient) -> None:
    data = package(summary="Points.", permissions=["customers:read"], tags=["loyal"])
    answer = await send(publisher, data)
    assert answer.status_code == 201, answer.text
    assert answer.json()["slug"] == "points"
    assert answer.json()["size"] == len(data)

    for token in ("owner", "member", "operator", "other"):
        async with client(app, token) as http:
            listed = (await http.get("/api/marketplace", params={"query": "points", "tag": "loyal"})).json()
            assert [item["slug"] for item in listed["items"]] == ["points"]
            assert listed["items"][0]["publisher"] == {"id": PUBLISHER, "name": "Pub_Corner"}
            details = (await http.get("/api/marketplace/points")).json()
            assert details["manifest"]["permissions"] == details["permissions"] == ["customers:read"]
            releases = (await http.get("/api/marketplace/points/releases")).json()
            assert [item["version"] for item in releases["items"]] == ["1.0.0"]

    mine = (await publisher.get("/api/registry/releases/mine")).json()
    assert [item["version"] for item in mine["items"]] == ["1.0.0"]


async def test_either_media_type_is_taken_and_no_other(publisher: httpx.AsyncClient) -> None:
    answer = await publisher.post(
        UPLOAD_PATH, content=package(), headers={"Content-Type": "application/octet-stream; charset=binary"}
    )
    assert answer.status_code == 201
    for wrong in ("application/json", "multipart/form-data", ""):
        answer = await publisher.post(UPLOAD_PATH, content=package(), headers={"Content-Type": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "media-type-unsupported")


async def test_a_refusal_is_a_problem_document_with_the_rules_code(publisher: httpx.AsyncClient) -> None:
    for data, status, code in (
        (b"nonsense", 422, "package-gzip-invalid"),
        (package(key=Key(9)), 422, "key-unknown"),
        (package("install"), 403, "slug-reserved"),
        (package(signed={"permissions": ["customers:read"]}), 422, "manifest-mismatch"),
    ):
        answer = await send(publisher, data)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["hint"]
    await send(publisher, package())
    answer = await send(publisher, package())
    assert (answer.status_code, answer.json()["code"]) == (409, "version-not-greater")
    assert answer.json()["newest"] == "1.0.0"


async def test_only_publishers_publish(app: FastAPI) -> None:
    for token in ("owner", "member", "operator"):
        async with client(app, token) as http:
            assert (await send(http, package())).json()["code"] == "role-missing"
            assert (await http.get("/api/registry/keys")).status_code == 403
            assert (await http.get("/api/registry/releases/mine")).status_code == 403
    async with client(app) as http:
        assert (await http.get("/api/marketplace")).status_code == 401
        assert (await send(http, package())).status_code == 401


async def test_keys_are_added_listed_and_revoked(app: FastAPI, publisher: httpx.AsyncClient) -> None:
    key = Key(4)
    answer = await publisher.post("/api/registry/keys", json=new_key(key, PUBLISHER) | {"name": "laptop"})
    assert (answer.status_code, answer.json()["key_id"]) == (201, key.key_id)
    listed = (await publisher.get("/api/registry/keys")).json()["items"]
    assert {item["key_id"] for item in listed} == {KEY.key_id, key.key_id}
    answer = await publisher.post(f"/api/registry/keys/{key.key_id}/revoke")
    assert answer.json()["revoked_at"] is not None
    assert (await send(publisher, package(key=key))).json()["code"] == "key-revoked"
    async with client(app, "other") as http:
        answer = await http.post(f"/api/registry/keys/{KEY.key_id}/revoke")
        assert (answer.status_code, answer.json()["code"]) == (404, "key-not-found")


async def test_a_publisher_who_is_new_here_is_made_with_its_first_key(app: FastAPI) -> None:
    async with client(app, "other") as http:
        key = Key(6)
        assert (await send(http, package(key=key))).json()["code"] == "publisher-unknown"
        assert (await http.post("/api/registry/keys", json=new_key(key, "pub_other"))).status_code == 201
        assert (await send(http, package("other-points", key=key))).status_code == 201


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"public_key": "***"}, "key-invalid"),
        ({"public_key": "AAAA"}, "key-invalid"),
        ({"proof": "***"}, "key-proof-invalid"),
        ({"proof": "AAAA"}, "key-proof-invalid"),
        ({"surprise": 1}, "request-invalid"),
    ],
)
async def test_a_key_that_proves_nothing_is_refused(
    publisher: httpx.AsyncClient, changes: dict[str, Any], code: str
) -> None:
    answer = await publisher.post("/api/registry/keys", json=new_key(Key(4), PUBLISHER) | changes)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_release_is_withdrawn_by_its_publisher_or_an_operator(
    app: FastAPI, publisher: httpx.AsyncClient
) -> None:
    await send(publisher, package())
    path = "/api/registry/releases/points/1.0.0"
    async with client(app, "other") as http:
        assert (await http.post(f"{path}/yank")).json()["code"] == "plugin-not-yours"
    async with client(app, "owner") as http:
        assert (await http.post(f"{path}/yank")).json()["code"] == "role-missing"
    answer = await publisher.post(f"{path}/yank", json={"reason": "Loses points."})
    assert (answer.json()["state"], answer.json()["yank_reason"]) == ("yanked", "Loses points.")
    assert (await publisher.get("/api/marketplace/points")).json()["code"] == "plugin-not-found"
    assert len((await publisher.get("/api/marketplace/points/releases")).json()["items"]) == 1
    async with client(app, "operator") as http:
        assert (await http.post(f"{path}/unyank")).json()["state"] == "published"
        assert (await http.post(f"{path}/yank")).json()["state"] == "yanked"


async def test_lists_come_in_pages(publisher: httpx.AsyncClient) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        assert (await send(publisher, package(version=version))).status_code == 201
    for path in ("/api/marketplace/points/releases", "/api/registry/releases/mine"):
        first = (await publisher.get(path, params={"limit": 2})).json()
        assert [item["version"] for item in first["items"]] == ["1.2.0", "1.1.0"]
        rest = (await publisher.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert ([item["version"] for item in rest["items"]], rest["next_cursor"]) == (["1.0.0"], None)
        assert (await publisher.get(path, params={"cursor": "nonsense"})).json()["code"] == "cursor-invalid"


async def test_the_body_limit_of_packages_is_their_own(registry: Registry, app: FastAPI) -> None:
    limited = BodyLimitMiddleware(app, limit_bytes=100, overrides={UPLOAD_PATH: 5_000})
    async with client(limited, "publisher") as http:
        assert (await send(http, package())).status_code == 201
        answer = await send(http, bytes(6_000))
        assert answer.json()["code"] in ("body-too-large", "package-gzip-invalid")
        assert (await http.post("/api/registry/keys", json=new_key(Key(4), PUBLISHER))).status_code == 413


async def test_the_document_describes_the_upload(app: FastAPI) -> None:
    body = app.openapi()["paths"][UPLOAD_PATH]["post"]["requestBody"]
    assert set(body["content"]) == {"application/vnd.jackfield.package", "application/octet-stream"}
