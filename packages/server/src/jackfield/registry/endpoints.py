"""The marketplace for everybody, and what publishers do."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.requests import ClientDisconnect

from jackfield.http import Caller, Page, PageParams, PublisherCaller, problem_responses, require
from jackfield.registry.errors import (
    KeyInvalidError,
    KeyProofInvalidError,
    MediaTypeUnsupportedError,
    PublisherMissingError,
    UploadInterruptedError,
)
from jackfield.registry.schemas import KeyOut, NewKey, PluginDetailsOut, PluginOut, ReleaseOut, Yank
from jackfield.registry.service import Registry
from jackfield.registry.values import Sort

__all__ = ["MEDIA_TYPE", "UPLOAD_PATH", "router"]

MEDIA_TYPE = "application/vnd.jackfield.package"
UPLOAD_PATH = "/api/registry/releases"
"""Bodies sent here are packages, which may be larger than others: the body limit makes an exception."""

AnyCaller = Annotated[Caller, Depends(require())]
YankCaller = Annotated[Caller, Depends(require("publisher", "operator"))]

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in (MEDIA_TYPE, "application/octet-stream")
        },
    }
}


def router(registry: Registry) -> APIRouter:
    """Endpoints over the registry."""
    routes = APIRouter(prefix="/api")
    _marketplace(routes, registry)
    _keys(routes, registry)
    _releases(routes, registry)
    return routes


def _marketplace(routes: APIRouter, registry: Registry) -> None:
    @routes.get("/marketplace", operation_id="searchMarketplace", tags=["marketplace"], responses=problem_responses())
    async def search(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        _caller: AnyCaller,
        page: PageParams,
        query: Annotated[str, Query(max_length=200, description="Words in name, slug, summary or tags")] = "",
        category: Annotated[str | None, Query(max_length=40)] = None,
        tag: Annotated[str | None, Query(max_length=80)] = None,
        sort: Annotated[Sort, Query(description="`newest`: by the date of the newest release")] = "name",
    ) -> Page[PluginOut]:
        """Plugins that can be installed."""
        found = await registry.search(query, category, tag, sort, page.cursor, page.limit)
        return Page[PluginOut](items=[PluginOut.of(entry) for entry in found.items], next_cursor=found.next_cursor)

    @routes.get(
        "/marketplace/{slug}",
        operation_id="getMarketplacePlugin",
        tags=["marketplace"],
        responses=problem_responses(404),
    )
    async def details(_caller: AnyCaller, slug: str) -> PluginDetailsOut:  # pyright: ignore[reportUnusedFunction]
        """One plugin, with all that its newest release contributes and asks for."""
        entry = await registry.entry(slug)
        return PluginDetailsOut.describing(entry, await registry.release(slug, entry.version))

    @routes.get(
        "/marketplace/{slug}/releases",
        operation_id="listReleases",
        tags=["marketplace"],
        responses=problem_responses(404),
    )
    async def releases(_caller: AnyCaller, slug: str, page: PageParams) -> Page[ReleaseOut]:  # pyright: ignore[reportUnusedFunction]
        """All releases of a plugin, withdrawn ones too, the newest first."""
        found = await registry.release_page(slug, page)
        return Page[ReleaseOut](items=[ReleaseOut.of(one) for one in found.items], next_cursor=found.next_cursor)


def _keys(routes: APIRouter, registry: Registry) -> None:
    @routes.post(
        "/registry/keys",
        status_code=201,
        operation_id="addKey",
        tags=["registry"],
        responses=problem_responses(403, 409),
    )
    async def add_key(caller: PublisherCaller, body: NewKey) -> KeyOut:  # pyright: ignore[reportUnusedFunction]
        """Add a public key, so that packages signed by it are accepted. For publishers."""
        publisher_id = _publisher_of(caller)
        # Whoever holds a token of a publisher is one, whether anything was published before or not.
        await registry.ensure_publisher(publisher_id)
        public_key, proof = _base64(body.public_key), _base64(body.proof)
        if public_key is None:
            raise KeyInvalidError("`public_key` is not base64.")
        if proof is None:
            raise KeyProofInvalidError("`proof` is not base64.")
        key = await registry.add_key(publisher_id, public_key, proof, body.name, actor=caller.subject)
        return KeyOut.model_validate(key)

    @routes.get("/registry/keys", operation_id="listKeys", tags=["registry"], responses=problem_responses(403))
    async def list_keys(caller: PublisherCaller) -> Page[KeyOut]:  # pyright: ignore[reportUnusedFunction]
        """The publisher's keys, revoked ones too. For publishers."""
        found = await registry.keys(_publisher_of(caller))
        return Page[KeyOut](items=[KeyOut.model_validate(key) for key in found])

    @routes.post(
        "/registry/keys/{key_id}/revoke",
        operation_id="revokeKey",
        tags=["registry"],
        responses=problem_responses(403, 404),
    )
    async def revoke_key(caller: PublisherCaller, key_id: str) -> KeyOut:  # pyright: ignore[reportUnusedFunction]
        """Accept nothing more that is signed by a key. What it signed before stays. For publishers."""
        return KeyOut.model_validate(await registry.revoke_key(_publisher_of(caller), key_id, actor=caller.subject))


def _releases(routes: APIRouter, registry: Registry) -> None:
    @routes.post(
        UPLOAD_PATH.removeprefix("/api"), status_code=201, operation_id="publishRelease", tags=["registry"],
        responses=problem_responses(403, 409, 413, 503), openapi_extra=_UPLOAD,
    )  # fmt: skip
    async def publish(caller: PublisherCaller, request: Request) -> ReleaseOut:  # pyright: ignore[reportUnusedFunction]
        """Publish a release: the body is the package file. For publishers."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in (MEDIA_TYPE, "application/octet-stream"):
            raise MediaTypeUnsupportedError(f"{media_type or 'Nothing'} is not the type of a package.")
        release = await registry.publish(_body(request), _publisher_of(caller), actor=caller.subject)
        return ReleaseOut.of(release)

    @routes.get(
        "/registry/releases/mine", operation_id="listMyReleases", tags=["registry"], responses=problem_responses(403)
    )
    async def mine(caller: PublisherCaller, page: PageParams) -> Page[ReleaseOut]:  # pyright: ignore[reportUnusedFunction]
        """All that the publisher has published, the newest first. For publishers."""
        found = await registry.releases_of_publisher(_publisher_of(caller), page)
        return Page[ReleaseOut](items=[ReleaseOut.of(one) for one in found.items], next_cursor=found.next_cursor)

    @routes.post(
        "/registry/releases/{slug}/{version}/yank", operation_id="yankRelease", tags=["registry"],
        responses=problem_responses(403, 404),
    )  # fmt: skip
    async def yank(caller: YankCaller, slug: str, version: str, body: Yank | None = None) -> ReleaseOut:  # pyright: ignore[reportUnusedFunction]
        """Offer a release no more; where it is installed, it stays. For its publisher, and operators."""
        return ReleaseOut.of(
            await registry.yank(
                slug, version, publisher_id=_owner(caller), reason=body.reason if body else "", actor=caller.subject
            )
        )

    @routes.post(
        "/registry/releases/{slug}/{version}/unyank", operation_id="unyankRelease", tags=["registry"],
        responses=problem_responses(403, 404),
    )  # fmt: skip
    async def unyank(caller: YankCaller, slug: str, version: str) -> ReleaseOut:  # pyright: ignore[reportUnusedFunction]
        """Offer a withdrawn release again. For its publisher, and operators."""
        return ReleaseOut.of(await registry.unyank(slug, version, publisher_id=_owner(caller), actor=caller.subject))


def _publisher_of(caller: Caller) -> str:
    if caller.publisher_id is None:
        raise PublisherMissingError("The token names no publisher.")
    return caller.publisher_id


def _owner(caller: Caller) -> str | None:
    """Whose plugin it must be; operators may touch all."""
    return None if caller.role == "operator" else _publisher_of(caller)


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise UploadInterruptedError("The client went away.") from error


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
