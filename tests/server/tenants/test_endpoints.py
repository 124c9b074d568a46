"""`/api/me` and the operator's endpoints."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from jackfield.db import Database
from jackfield.http import IdempotencyMiddleware
from jackfield.tenants import SqlAnswers, TenantService, router
from tests.server.conftest import ManualClock, application, client


@pytest.fixture
def service(database: Database, clock: ManualClock) -> TenantService:
    return TenantService(database, clock)


@pytest.fixture
def app(service: TenantService) -> FastAPI:
    return application(service, router(service))


@pytest.fixture
async def operator(service: TenantService) -> str:
    return (await service.issue_token("operator")).plaintext


async def test_me_says_who_the_token_stands_for(service: TenantService, app: FastAPI, operator: str) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    member = await service.add_member("acme", "Ann", "ann@example.com", "owner")
    person = await service.issue_token("owner", tenant_id="acme", member_id=member.id)
    program = await service.issue_token("admin", tenant_id="acme")
    async with client(app, person.plaintext) as http:
        me = (await http.get("/api/me")).json()
    assert (me["role"], me["tenant"]["name"], me["member"]["email"]) == ("owner", "Acme", "ann@example.com")
    async with client(app, program.plaintext) as http:
        me = (await http.get("/api/me")).json()
    assert (me["role"], me["tenant"]["id"], me["member"]) == ("admin", "acme", None)
    async with client(app, operator) as http:
        assert (await http.get("/api/me")).json() == {
            "role": "operator", "tenant": None, "member": None, "publisher_id": None,
        }  # fmt: skip


async def test_an_operator_makes_a_tenant_and_a_token_that_works_until_it_is_revoked(
    app: FastAPI, operator: str
) -> None:
    async with client(app, operator) as http:
        made = await http.post("/api/tenants", json={"id": "acme", "name": "Acme"})
        assert (made.status_code, made.json()["plan"]) == (201, "free")
        issued = await http.post("/api/tenants/acme/tokens", json={"role": "admin", "name": "till", "expires_in_s": 60})
        assert (issued.status_code, issued.headers["cache-control"]) == (201, "no-store")
        token = issued.json()["token"]
        async with client(app, token) as tenant:
            assert (await tenant.get("/api/me")).json()["role"] == "admin"
            listed = (await http.get("/api/tenants/acme/tokens")).json()["items"]
            assert [item["name"] for item in listed] == ["till"]
            assert token not in repr(listed)
            assert (await http.delete(f"/api/tenants/acme/tokens/{issued.json()['id']}")).status_code == 204
            refused = await tenant.get("/api/me")
        assert (refused.status_code, refused.json()["code"]) == (401, "token-invalid")
        assert [tenant["id"] for tenant in (await http.get("/api/tenants")).json()["items"]] == ["acme"]


async def test_an_expired_token_says_so(
    service: TenantService, app: FastAPI, operator: str, clock: ManualClock
) -> None:
    async with client(app, operator) as http:
        await http.post("/api/tenants", json={"id": "acme", "name": "Acme"})
        issued = await http.post("/api/tenants/acme/tokens", json={"role": "admin", "expires_in_s": 60})
    clock.advance(60)
    async with client(app, issued.json()["token"]) as http:
        answer = await http.get("/api/me")
    assert (answer.status_code, answer.json()["code"]) == (401, "token-expired")


@pytest.mark.parametrize("role", ["owner", "admin", "member"])
async def test_nobody_in_a_tenant_reaches_the_operators_endpoints(
    service: TenantService, app: FastAPI, role: str
) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    token = await service.issue_token(role, tenant_id="acme")  # type: ignore[arg-type]  # a literal
    async with client(app, token.plaintext) as http:
        for method, path, body in (
            ("GET", "/api/tenants", None),
            ("POST", "/api/tenants", {"name": "X"}),
            ("POST", "/api/tenants/acme/tokens", {"role": "owner"}),
            ("GET", "/api/tenants/acme/tokens", None),
            ("DELETE", f"/api/tenants/acme/tokens/{token.token.id}", None),
        ):
            answer = await http.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "role-missing")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/api/tenants", {"id": "acme", "name": "Again"}, 409, "tenant-exists"),
        ("POST", "/api/tenants", {"id": "A C", "name": "X"}, 422, "tenant-id-invalid"),
        ("POST", "/api/tenants", {"name": ""}, 422, "request-invalid"),
        ("POST", "/api/tenants", {"name": "X", "role": "owner"}, 422, "request-invalid"),
        ("POST", "/api/tenants/acme/tokens", {"role": "operator"}, 422, "request-invalid"),
        ("POST", "/api/tenants/acme/tokens", {"role": "owner", "member_id": "mem_x"}, 404, "member-not-found"),
        ("POST", "/api/tenants/none/tokens", {"role": "owner"}, 404, "tenant-not-found"),
        ("GET", "/api/tenants/none/tokens", None, 404, "tenant-not-found"),
        ("DELETE", "/api/tenants/acme/tokens/tok_x", None, 404, "token-not-found"),
        ("GET", "/api/tenants?cursor=x", None, 422, "cursor-invalid"),
    ],
)
async def test_what_cannot_be_done_has_a_code(
    service: TenantService,
    app: FastAPI,
    operator: str,
    method: str,
    path: str,
    body: dict[str, str] | None,
    status: int,
    code: str,
) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    async with client(app, operator) as http:
        answer = await http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_issuing_a_token_twice_with_one_key_issues_one_and_keeps_no_secret(
    service: TenantService, app: FastAPI, operator: str, database: Database
) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    keyed = IdempotencyMiddleware(app, service, SqlAnswers(database))
    async with client(keyed, operator) as http:
        headers = {"Idempotency-Key": "k1"}
        first = await http.post("/api/tenants/acme/tokens", json={"role": "owner"}, headers=headers)
        again = await http.post("/api/tenants/acme/tokens", json={"role": "owner"}, headers=headers)
        listed = (await http.get("/api/tenants/acme/tokens")).json()["items"]
    assert first.status_code == 201
    assert (again.status_code, again.json()["code"]) == (409, "idempotency-answer-gone")
    assert len(listed) == 1
