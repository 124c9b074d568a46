"""Every error is a problem document with a stable code."""

from __future__ import annotations

import logging

import pytest
from fastapi import APIRouter
from pydantic import BaseModel

from jackfield.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    JackfieldError,
    MissingError,
    UnavailableError,
)
from jackfield.http import BodyTooLargeError, UnauthenticatedError, problem_responses
from tests.server.conftest import KnownCallers, application, client

KINDS = {
    "invalid": (InvalidError("wrong"), 422),
    "unauthenticated": (UnauthenticatedError("who"), 401),
    "forbidden": (ForbiddenError("no"), 403),
    "not-found": (MissingError("gone"), 404),
    "conflict": (ConflictError("taken"), 409),
    "unavailable": (UnavailableError("later"), 503),
    "body-too-large": (BodyTooLargeError("big"), 413),
    "error": (JackfieldError("defect"), 500),
}

router = APIRouter()


class Secretive(BaseModel):
    password: int


@router.get("/raise/{kind}", responses=problem_responses(403))
async def raise_kind(kind: str) -> None:
    raise KINDS[kind][0]


@router.get("/data")
async def with_data() -> None:
    raise ConflictError("Taken.", hint="Choose another.", slug="echo", status=200, code="fine", type="about:blank")


@router.get("/later")
async def later() -> None:
    raise UnavailableError("Busy.", retry_after_s=2.6)


@router.post("/body")
async def body(body: Secretive) -> None:
    assert body


@router.get("/defect")
async def defect() -> None:
    raise ZeroDivisionError("the database password is hunter2")


APP = application(KnownCallers({}), router)


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_has_its_status(kind: str) -> None:
    error, status = KINDS[kind]
    async with client(APP) as http:
        answer = await http.get(f"/raise/{kind}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:jackfield:problem:{kind}"
    assert (document["status"], document["code"], document["detail"]) == (status, kind, str(error))
    assert document["hint"] == error.hint
    assert document["title"]


async def test_the_error_data_are_members_and_cannot_forge_the_standard_ones() -> None:
    async with client(APP) as http:
        answer = await http.get("/data")
    document = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (409, 409, "conflict")
    assert (document["slug"], document["hint"], document["type"]) == (
        "echo",
        "Choose another.",
        "urn:jackfield:problem:conflict",
    )


async def test_when_to_try_again_is_a_header_too() -> None:
    async with client(APP) as http:
        answer = await http.get("/later")
    assert (answer.headers["retry-after"], answer.json()["retry_after_s"]) == ("3", 2.6)


async def test_a_request_that_does_not_validate_is_told_where_and_never_quoted() -> None:
    async with client(APP) as http:
        answer = await http.post("/body", json={"password": "hunter2"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request-invalid")
    assert answer.json()["errors"][0]["path"] == "body.password"
    assert "hunter2" not in answer.text


async def test_a_body_that_is_no_json_is_invalid() -> None:
    async with client(APP) as http:
        answer = await http.post("/body", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request-invalid")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not-found"), ("PUT", "/body", 405, "method-not-allowed")],
)
async def test_what_the_framework_refuses_is_a_problem_too(method: str, path: str, status: int, code: str) -> None:
    async with client(APP) as http:
        answer = await http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_defect_says_nothing_about_itself_to_the_caller_and_all_to_the_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.ERROR)
    async with client(APP) as http:
        answer = await http.get("/defect")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text + "".join(capsys.readouterr())


def test_the_openapi_document_shows_problems() -> None:
    document = APP.openapi()
    responses = document["paths"]["/raise/{kind}"]["get"]["responses"]
    for status in ("401", "403", "422"):
        schema = responses[status]["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}
        assert "application/json" not in responses[status]["content"]
    assert "Problem" in document["components"]["schemas"]
