"""Errors become problem documents (RFC 9457) here and nowhere else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from jackfield.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    JackfieldError,
    MissingError,
    UnavailableError,
)
from jackfield.http.errors import BodyTooLargeError, TooManyRequestsError, UnauthenticatedError

__all__ = ["Problem", "add_problem_handlers", "problem_of", "problem_responses"]

MEDIA_TYPE = "application/problem+json"

_log = structlog.stdlib.get_logger(__name__)

# The first class that an error is an instance of decides, so the narrower ones come first.
_STATUSES: tuple[tuple[type[JackfieldError], HTTPStatus], ...] = (
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (BodyTooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (InvalidError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (MissingError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (TooManyRequestsError, HTTPStatus.TOO_MANY_REQUESTS),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
)

# Codes for what the framework refuses before any of our code runs.
_FRAMEWORK_CODES = {404: "not-found", 405: "method-not-allowed"}


class Problem(BaseModel):
    """An error, as RFC 9457 writes it. Further members depend on the `code`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:jackfield:problem:plugin-not-found",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "There is no plugin loyalty-point.",
                    "code": "plugin-not-found",
                    "hint": "Look for it in the marketplace.",
                }
            ]
        },
    )

    type: str = Field(description="A name for the kind of problem, made from the code")
    title: str = Field(description="The status in words")
    status: int
    detail: str = Field(description="What went wrong this time, for people")
    code: str = Field(description="Stable identifier, for programs")
    hint: str = Field(description="What to do about it; may be empty")


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: these statuses answer with a problem document. 401 and 422 are always among them."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 422, *statuses})
    }


def problem_of(error: JackfieldError) -> Response:
    """The answer to an error that the platform raised on purpose."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    headers: dict[str, str] = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    retry_after = error.data.get("retry_after_s")
    if isinstance(retry_after, int | float):
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return _document(status, error.code, str(error), error.hint, error.data, headers)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of this application with a problem document, and say so in its OpenAPI document."""
    app.add_exception_handler(JackfieldError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_framework)
    app.add_exception_handler(Exception, _on_defect)
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        # A route's `model` would put the schema there by itself, and claim that problems are `application/json`.
        document = describe()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = openapi


def _document(
    status: HTTPStatus, code: str, detail: str, hint: str, data: Mapping[str, Any], headers: Mapping[str, str]
) -> Response:
    # The error's own data goes in first: it can never pass itself off as another status or code.
    document = {
        **data,
        "type": f"urn:jackfield:problem:{code}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "hint": hint,
    }
    try:
        body = msgspec.json.encode(document, enc_hook=str)
    except UnicodeEncodeError:
        # A lone surrogate, out of a request that is told about here: only an escape can carry it.
        body = json.dumps(document, default=str).encode()
    return Response(body, status.value, {**headers}, media_type=MEDIA_TYPE)


async def _on_ours(_request: Request, error: Exception) -> Response:
    return problem_of(cast(JackfieldError, error))


async def _on_validation(_request: Request, error: Exception) -> Response:
    # The input itself is left out: it may hold a secret, and the caller has it anyway.
    details = cast(Sequence[Mapping[str, Any]], cast(RequestValidationError, error).errors())
    faults = [
        {
            "path": ".".join(str(part) for part in fault.get("loc", ())),
            "message": fault.get("msg", ""),
            "rule": fault.get("type", ""),
        }
        for fault in details
    ]
    first = faults[0] if faults else {"path": "", "message": "invalid"}
    return _document(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "request-invalid",
        f"{first['path']}: {first['message']}",
        "Correct what `errors` lists.",
        {"errors": faults},
        {},
    )


async def _on_framework(_request: Request, error: Exception) -> Response:
    refused = cast(HTTPException, error)
    status = HTTPStatus(refused.status_code)
    code = _FRAMEWORK_CODES.get(status.value, "request-refused")
    return _document(status, code, refused.detail, "", {}, refused.headers or {})


async def _on_defect(request: Request, error: Exception) -> Response:
    # The pattern rather than the path, which may be a secret: the address of a webhook is one.
    path = getattr(request.scope.get("route"), "path", None) or request.url.path
    _log.error("request-failed", method=request.method, path=path, exc_info=error)
    return _document(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal-error",
        "Something went wrong on our side.",
        "Try again; if it stays, tell the operator when it happened.",
        {},
        {},
    )
