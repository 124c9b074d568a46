"""`/api/plugins/{slug}/connections`, and the address that browsers come back to."""

from __future__ import annotations

import functools
import html
import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Cookie, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from jackfield.connections.adapters import ADAPTERS
from jackfield.connections.authorizing import CALLBACK_PATH, Authorizations
from jackfield.connections.credentials import SECRET_FIELDS, Credentials
from jackfield.connections.schemas import (
    AuthorizationOut,
    ConfirmRequest,
    ConnectionChange,
    ConnectionOut,
    ConnectionsOut,
    ReportOut,
    report_out,
    seen_out,
)
from jackfield.connections.service import Connections
from jackfield.errors import JackfieldError
from jackfield.http import AdminCaller, problem_responses

__all__ = ["router"]

_COOKIE = "jf_connect"
_Name = Annotated[
    str, Path(pattern=r"^[a-z][a-z0-9_]*$", max_length=32, description="`data`, or one of the manifest's")
]


def _named(
    slug: Annotated[
        str, Path(max_length=110, description="The plugin; `slug@instance` when it is installed several times")
    ],
) -> tuple[str, str]:
    name, at, instance = slug.partition("@")
    return name, instance if at else "default"


Plugin = Annotated[tuple[str, str], Depends(_named)]


def router(connections: Connections, authorizations: Authorizations) -> APIRouter:
    """Endpoints over connections: for owners and admins, but for the one that browsers come back to."""
    routes = APIRouter(tags=["connections"])

    @routes.get(
        "/api/plugins/{slug}/connections", operation_id="listConnections", responses=problem_responses(403, 404)
    )
    async def list_connections(caller: AdminCaller, plugin: Plugin) -> ConnectionsOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """What the plugin is connected to, and what it could be."""
        found = await connections.list(caller.tenant, *plugin)
        return ConnectionsOut(items=[seen_out(seen) for seen in found])

    @routes.put(
        "/api/plugins/{slug}/connections/{name}",
        operation_id="putConnection",
        responses=problem_responses(403, 404, 409, 503),
    )
    async def put_connection(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, name: _Name, body: ConnectionChange
    ) -> ConnectionOut:
        """Connect it, or change how it is connected. It is tried first; what does not work is not saved."""
        slug, instance = plugin
        return seen_out(
            await connections.put(
                caller.tenant, slug, name, body.given(), instance=instance, actor=caller.subject
            )
        )  # fmt: skip

    @routes.post(
        "/api/plugins/{slug}/connections/{name}/test",
        operation_id="testConnection",
        responses=problem_responses(403, 404, 503),
    )
    async def test_connection(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, name: _Name, body: ConnectionChange | None = None
    ) -> ReportOut:
        """Try it: as it is, or as it would be with what is sent. Nothing is saved."""
        slug, instance = plugin
        given = body.given() if body is not None else {}
        return report_out(await connections.test(caller.tenant, slug, name, given or None, instance=instance))

    @routes.post(
        "/api/plugins/{slug}/connections/{name}/authorize",
        operation_id="authorizeConnection",
        responses=problem_responses(403, 404),
    )
    async def authorize(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, name: _Name, response: Response
    ) -> AuthorizationOut:
        """Where the account's owner agrees. Also to reconnect: settings and mapping stay."""
        slug, instance = plugin
        begun = await authorizations.begin(caller.tenant, slug, name, instance=instance, subject=caller.subject)
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie(
            _COOKIE, begun.browser, max_age=begun.expires_in_s, path=CALLBACK_PATH, httponly=True, samesite="lax",
            secure=authorizations.is_secure,
        )  # fmt: skip
        return AuthorizationOut(url=begun.url, expires_in_s=begun.expires_in_s)

    @routes.post(
        "/api/plugins/{slug}/connections/{name}/confirm",
        operation_id="confirmConnection",
        responses=problem_responses(403, 404, 503),
    )
    async def confirm(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, name: _Name, body: ConfirmRequest
    ) -> ConnectionOut:
        """End an authorization whose page was opened in another browser, with the code that it showed."""
        slug, instance = plugin
        await authorizations.confirm(
            caller.tenant, slug, name, body.code, instance=instance, subject=caller.subject
        )  # fmt: skip
        return seen_out(await connections.get(caller.tenant, slug, name, instance))

    @routes.delete(
        "/api/plugins/{slug}/connections/{name}",
        operation_id="deleteConnection",
        status_code=204,
        responses=problem_responses(403, 404),
    )
    async def delete_connection(caller: AdminCaller, plugin: Plugin, name: _Name) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Disconnect it: credentials and settings are removed, tokens are revoked."""
        slug, instance = plugin
        await connections.remove(caller.tenant, slug, name, instance=instance, actor=caller.subject)
        return Response(status_code=204)

    @routes.get("/api/connections/schemas", operation_id="getConnectionSchemas", responses=problem_responses(403))
    async def schemas(caller: AdminCaller) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """JSON Schemas of settings, by adapter, and of what may be seen of credentials; for forms and editors."""
        return _schemas()

    @routes.get(
        CALLBACK_PATH, operation_id="connectionCallback", response_class=HTMLResponse, include_in_schema=False
    )  # fmt: skip
    async def callback(  # pyright: ignore[reportUnusedFunction]
        request: Request,
        state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str | None, Query(max_length=4_000)] = None,
        error: Annotated[str | None, Query(max_length=200)] = None,
        iss: Annotated[str | None, Query(max_length=500)] = None,
        jf_connect: Annotated[str | None, Cookie(max_length=200)] = None,
    ) -> HTMLResponse:
        """Where OAuth2 servers send the browser of an account's owner."""
        try:
            returned = await authorizations.returned(state, code=code, error=error, issuer=iss, browser=jf_connect)
        except JackfieldError as failure:
            return _page("Not connected", str(failure), failure.hint, status=400)
        if returned.confirmation is None:
            return _page("Connected", f"“{returned.name}” is connected.", "You can close this window.")
        return _page(
            "One more step",
            f"Enter this code where “{returned.name}” was being connected: {returned.confirmation}",
            "If you did not begin this yourself, close this window and tell nobody the code.",
        )

    return routes


@functools.cache
def _schemas() -> dict[str, Any]:
    adapters = {name: msgspec.json.schema(kind) for name, kind in ADAPTERS.items()}
    return {
        "adapters": adapters, "credentials": msgspec.json.schema(Credentials),
        "secrets": {kind: list(fields) for kind, fields in SECRET_FIELDS.items()},
    }  # fmt: skip


def _page(title: str, text: str, hint: str, *, status: int = 200) -> HTMLResponse:
    """A page without scripts, which nothing else may be loaded into."""
    nonce = secrets.token_urlsafe(12)
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style nonce="{nonce}">'
        "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}</style></head>"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p><p>{html.escape(hint)}</p></body></html>"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    page = HTMLResponse(body, status, headers)
    page.delete_cookie(_COOKIE, path=CALLBACK_PATH)
    return page
