"""`POST /api/plugins/development`: what an author tries in a tenant, before anything of it is published."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect

from jackfield.errors import ForbiddenError
from jackfield.http import AdminCaller, problem_responses
from jackfield.lifecycle.schemas import DevelopmentOut
from jackfield.lifecycle.service import Lifecycle
from jackfield.registry import Development, UploadInterruptedError

__all__ = ["DEVELOPMENT_PATH", "DevelopmentOffError", "development_router"]

DEVELOPMENT_PATH = "/api/plugins/development"
"""Bodies sent here are packages, as those of `registry.UPLOAD_PATH`."""


class DevelopmentOffError(ForbiddenError):
    """This platform runs nothing that was not published."""

    code = "development-off"
    default_hint = "Develop on a platform of your own; its operator allows it with JACKFIELD_DEVELOPMENT=1."


def development_router(lifecycle: Lifecycle, development: Development, *, is_on: bool) -> APIRouter:
    """For owners and admins, on platforms whose operator allows it."""
    routes = APIRouter(tags=["plugins"])

    @routes.post(
        DEVELOPMENT_PATH, status_code=201, operation_id="uploadDevelopmentRelease",
        responses=problem_responses(403, 409, 413, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/vnd.jackfield.package": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )  # fmt: skip
    async def upload(caller: AdminCaller, request: Request) -> DevelopmentOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Try a package in this tenant: the answer names the version to install or update to. Nobody else can have it.

        The package is checked as one that is published; any key may have signed it. Only the last few are kept.
        """
        if not is_on:
            raise DevelopmentOffError("this platform takes no development releases")
        release = await development.upload(_body(request), caller.tenant, caller.subject)
        seen = await lifecycle.list(caller.tenant)
        in_use = {f"{installed.slug} {installed.version}" for installed in seen}
        await development.forget(caller.tenant, release.slug, in_use)
        return DevelopmentOut(slug=release.slug, version=release.version, digest=release.digest, size=release.size)

    return routes


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise UploadInterruptedError("The client went away.") from error
