"""`/api/plugins/{slug}/…`: its files for download, its secrets without their values, where it let any of them out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from jackfield.capabilities import FileReader, LeakBook, SecretState, StoredFile, served_type
from jackfield.http import AdminCaller, MemberCaller, Page, PageParams, cut, decode_cursor, problem_responses
from jackfield.lifecycle.configuration import MAX_SECRET_CHARS
from jackfield.lifecycle.endpoints import Plugin, actor_of
from jackfield.lifecycle.service import Lifecycle

__all__ = ["keeping_router"]


class FileOut(BaseModel):
    """A file that a plugin keeps."""

    model_config = ConfigDict(from_attributes=True)

    path: str
    content_type: str
    size_bytes: int
    role: str = Field(description="The least role that may download it")
    created_at: datetime
    updated_at: datetime


class SecretOut(BaseModel):
    """A secret field of a plugin's configuration. Its value never comes back."""

    name: str
    is_set: bool
    set_at: datetime | None = None
    set_by: str | None = None
    last_used_at: datetime | None = None
    last_used_by: str | None = Field(default=None, description="The handler that had it", examples=["function charge"])


class SecretIn(BaseModel):
    """A secret's new value."""

    model_config = ConfigDict(extra="forbid")

    value: str = Field(min_length=1, max_length=MAX_SECRET_CHARS, repr=False)


class LeakOut(BaseModel):
    """A secret was seen where it has no business, and was masked there."""

    model_config = ConfigDict(from_attributes=True)

    place: str = Field(description="`result`, `log`, `error`, or the capability it was handed to", examples=["log"])
    handler: str = Field(examples=["function charge"])
    count: int = Field(description="In how many places of texts it stood")
    is_masked: bool = Field(description="False for the plugin's own storage, which stays as it is")
    first_at: datetime
    last_at: datetime
    invocation_id: str = Field(description="Of the latest")


FilePath = Annotated[str, Path(max_length=256, description="Where the plugin put it")]
SecretName = Annotated[str, Path(max_length=64, description="A secret field of the configuration")]


def keeping_router(lifecycle: Lifecycle, files: FileReader, leaks: LeakBook) -> APIRouter:
    """Endpoints over what a plugin keeps."""
    routes = APIRouter(prefix="/api/plugins/{slug}", tags=["plugins"], responses=problem_responses(403, 404))

    @routes.get("/files", operation_id="listPluginFiles")
    async def list_files(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: MemberCaller,
        plugin: Plugin,
        page: PageParams,
        prefix: Annotated[str, Query(max_length=256, description="Only those whose path begins so")] = "",
    ) -> Page[FileOut]:
        """Files that the plugin keeps, by path; those that the caller may download."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        after = decode_cursor(page.cursor, str)[0] if page.cursor else ""
        found = await files.list(
            caller.tenant, installed.id, caller.role, prefix=prefix, after=after, limit=page.limit + 1
        )
        shown = cut(found, page.limit, lambda file: (file.path,)).map(FileOut.model_validate)
        return Page[FileOut](items=shown.items, next_cursor=shown.next_cursor)

    @routes.get("/files/{path:path}", operation_id="getPluginFile", response_class=StreamingResponse)
    async def get_file(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller, plugin: Plugin, path: FilePath, request: Request
    ) -> Response:
        """Download a file. A browser opens none of them in the host's own origin, whatever the plugin says they are."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        file = await files.find(caller.tenant, installed.id, caller.role, path)
        headers = _headers(file)
        if request.headers.get("if-none-match") == headers["ETag"]:
            del headers["Content-Length"]
            return Response(status_code=304, headers=headers)
        return StreamingResponse(
            _parts(files, caller.tenant, installed.id, file), headers=headers, media_type=served_type(file.content_type)
        )

    @routes.get("/secrets", operation_id="listPluginSecrets")
    async def list_secrets(caller: AdminCaller, plugin: Plugin) -> Page[SecretOut]:  # pyright: ignore[reportUnusedFunction]
        """Secret fields of its configuration: whether each is set, when and by whom, and when it was last used."""
        names, states = await lifecycle.secrets(caller.tenant, plugin.slug, instance=plugin.instance)
        return Page[SecretOut](items=[_secret_out(name, states.get(name)) for name in names])

    @routes.put("/secrets/{name}", operation_id="setPluginSecret", status_code=204, responses=problem_responses(409))
    async def set_secret(caller: AdminCaller, plugin: Plugin, name: SecretName, body: SecretIn) -> None:  # pyright: ignore[reportUnusedFunction]
        """Set one secret; the rest of the configuration stays. It can be used and replaced, and never be read again."""
        await lifecycle.set_secret(
            caller.tenant, plugin.slug, name, body.value, instance=plugin.instance, actor=actor_of(caller)
        )

    @routes.delete(
        "/secrets/{name}", operation_id="removePluginSecret", status_code=204, responses=problem_responses(409)
    )
    async def remove_secret(caller: AdminCaller, plugin: Plugin, name: SecretName) -> None:  # pyright: ignore[reportUnusedFunction]
        """Remove one secret; refused when the plugin cannot work without it."""
        await lifecycle.set_secret(
            caller.tenant, plugin.slug, name, None, instance=plugin.instance, actor=actor_of(caller)
        )

    @routes.get("/leaks", operation_id="listPluginLeaks")
    async def list_leaks(caller: AdminCaller, plugin: Plugin) -> Page[LeakOut]:  # pyright: ignore[reportUnusedFunction]
        """Where the plugin let out a secret: in a log line, an error, a result. Each was masked; see `is_masked`."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        found = await leaks.list(caller.tenant, installed.id)
        return Page[LeakOut](items=[LeakOut.model_validate(leak) for leak in found])

    return routes


def _headers(file: StoredFile) -> dict[str, str]:
    name = file.path.rpartition("/")[2]
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return {
        # RFC 6266: the plain name for those that know no other, and the real one.
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Length": str(file.size_bytes),
        "ETag": f'"{file.content_id}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


async def _parts(files: FileReader, tenant_id: str, installation_id: str, file: StoredFile) -> AsyncIterator[bytes]:
    # Replaced meanwhile, it ends short of its length, and whoever downloads it sees that it broke off.
    async for part in files.parts(tenant_id, installation_id, file):
        yield part


def _secret_out(name: str, state: SecretState | None) -> SecretOut:
    if state is None:
        return SecretOut(name=name, is_set=False)
    return SecretOut(
        name=name, is_set=True, set_at=state.set_at, set_by=state.set_by, last_used_at=state.last_used_at,
        last_used_by=state.last_used_by or None,
    )  # fmt: skip
