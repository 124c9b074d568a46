"""Who is calling, and whether their role allows it."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends

from jackfield.http import AdminCaller, Caller, MemberCaller, RoleMissingError, require
from tests.server.conftest import KnownCallers, application, client

router = APIRouter()


@router.get("/install")
async def install(caller: AdminCaller) -> dict[str, str]:
    return {"tenant": caller.tenant, "subject": caller.subject}


@router.get("/list")
async def list_all(caller: MemberCaller) -> dict[str, str]:
    return {"tenant": caller.tenant}


@router.get("/anyone")
async def anyone(caller: Annotated[Caller, Depends(require())]) -> dict[str, str]:
    return {"subject": caller.subject}


APP = application(
    KnownCallers(
        {
            "own": Caller("owner", tenant_id="acme", member_id="mem_1", token_id="tok_1"),
            "mem": Caller("member", tenant_id="acme", token_id="tok_2"),
            "ops": Caller("operator", token_id="tok_3"),
            "pub": Caller("publisher", publisher_id="pub_1", token_id="tok_4"),
        }
    ),
    router,
)


async def test_a_role_that_is_allowed_passes_with_its_tenant() -> None:
    async with client(APP, "own") as http:
        answer = await http.get("/install")
    assert (answer.status_code, answer.json()) == (200, {"tenant": "acme", "subject": "member:mem_1"})


@pytest.mark.parametrize("token", ["mem", "ops", "pub"])
async def test_a_role_that_is_not_allowed_is_refused(token: str) -> None:
    async with client(APP, token) as http:
        answer = await http.get("/install")
    assert (answer.status_code, answer.json()["code"]) == (403, "role-missing")
    assert answer.json()["roles"] == ["owner", "admin"]


async def test_operators_do_not_see_into_tenants() -> None:
    async with client(APP, "ops") as http:
        assert (await http.get("/list")).status_code == 403


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "credentials-missing"),
        ("", "credentials-missing"),
        ("Bearer", "credentials-missing"),
        ("Bearer   ", "credentials-missing"),
        ("Basic b3duOg==", "credentials-missing"),
        ("Bearer nobody", "unauthenticated"),
    ],
)
async def test_without_good_credentials_the_answer_is_401_and_says_how(header: str | None, code: str) -> None:
    async with client(APP) as http:
        answer = await http.get("/list", headers={} if header is None else {"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_scheme_is_written_in_any_case() -> None:
    async with client(APP) as http:
        assert (await http.get("/list", headers={"Authorization": "bearer mem"})).status_code == 200


@pytest.mark.parametrize(
    ("token", "subject"),
    [("own", "member:mem_1"), ("mem", "member:tok_2"), ("ops", "operator:tok_3"), ("pub", "publisher:pub_1")],
)
async def test_each_caller_has_a_subject_of_their_own(token: str, subject: str) -> None:
    async with client(APP, token) as http:
        assert (await http.get("/anyone")).json() == {"subject": subject}


def test_a_caller_without_a_tenant_has_none_to_give() -> None:
    with pytest.raises(RoleMissingError):
        _ = Caller("operator").tenant


def test_the_openapi_document_names_the_bearer_scheme() -> None:
    document = APP.openapi()
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert document["paths"]["/install"]["get"]["security"] == [{"HTTPBearer": []}]
