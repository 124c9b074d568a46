"""HTTP for the extension points. Answers are encoded by msgspec: these are the calls that come by the thousand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Body, Path, Query, Response
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jackfield.capabilities.plain import NotPlainError, check_plain
from jackfield.errors import JackfieldError
from jackfield.extension_points.contexts import read_context
from jackfield.extension_points.errors import (
    CallRefusedError,
    OverloadedError,
    PayloadInvalidError,
    QueryTooLargeError,
    TenantMissingError,
)
from jackfield.extension_points.events import Events
from jackfield.extension_points.filters import FilterRun, Filters
from jackfield.extension_points.functions import FunctionResult, Functions
from jackfield.extension_points.routes import RouteRequest, Routes
from jackfield.extension_points.schemas import (
    EmitAnswer,
    FilterAnswer,
    FunctionAnswer,
    FunctionCall,
    FunctionListing,
    SlotAnswer,
    SurfaceAnswer,
)
from jackfield.extension_points.widgets import Widgets
from jackfield.http import (
    AcceptLanguage,
    AdminCaller,
    Authenticator,
    Caller,
    MemberCaller,
    preferred_language,
    problem_responses,
)
from jackfield.http.caller import bearer_token
from jackfield.http.problems import problem_of
from jackfield.invocation import Outcome
from jackfield.quotas import QuotaFailure, exceeded
from jackfield.surface import Surface
from jackfield_sdk import wire

__all__ = ["QUOTA_WARNING", "acting", "plugin_routes", "router", "spoken"]

QUOTA_WARNING = "X-Jackfield-Quota-Warning"
"""Names the tenant's quotas that are nearly used up; absent when all is well."""

Slug = Annotated[str, Path(description="The plugin; `slug@instance` for an instance other than the first")]
_PLUGIN_MADE = frozenset({"error", "user-error", "veto", "retry"})
_QUERY_BYTES = 16 * 1024
_TITLES = {400: "Bad Request", 429: "Too Many Requests"}
_ROUTE_STATUS = {"timeout": 504, "cpu": 504, "overloaded": 503, "refused": 503}


def acting(caller: Caller) -> wire.Caller:
    """The caller, as a plugin gets to know them."""
    return wire.Caller(caller.member_id or caller.subject, caller.role)


def spoken(caller: Caller | None, accept_language: str | None) -> str:
    """The language to answer in: the member's setting, what the request asks for, the tenant's, English."""
    if caller is None:
        return preferred_language(accept_language) or "en"
    return caller.locale or preferred_language(accept_language) or caller.tenant_locale or "en"


def router(  # one argument for each extension point
    surface: Surface,
    filters: Filters,
    events: Events,
    functions: Functions,
    widgets: Widgets,
    warning_of: Callable[[str], str | None] = lambda _tenant_id: None,
) -> APIRouter:
    """Endpoints of all extension points.

    Args:
        warning_of: What answers to a tenant carry as `QUOTA_WARNING`.
    """
    api = APIRouter()

    def warned(tenant_id: str, answer: Response) -> Response:
        warning = warning_of(tenant_id)
        if warning is not None:
            answer.headers[QUOTA_WARNING] = warning
        return answer

    @api.get(
        "/api/surface",
        tags=["surface"],
        operation_id="getSurface",
        response_model=SurfaceAnswer,
        responses=problem_responses(),
    )
    async def get_surface(_caller: MemberCaller) -> Response:
        """What the host opens to plugins: hook points, events, slots and entities, with their schemas."""
        return _json(surface.describe())

    @api.post(
        "/api/plugins/{slug}/functions/{name}",
        tags=["functions"],
        operation_id="callFunction",
        response_model=FunctionAnswer,
        responses=problem_responses(403, 404, 413, 429, 503),
    )
    async def call_function(
        slug: Slug, name: str, body: FunctionCall, caller: MemberCaller, language: AcceptLanguage = None
    ) -> Response:
        """Call a function of an active plugin.

        A call that reached the plugin answers 200, `success` says how it went. What never ran (wrong arguments, no such
        function, too low a role; 429 a quota, 503 no place for it, both with `Retry-After`) is a problem document that
        carries the same members.
        """
        try:
            _check_plain(body.arguments, "the arguments")
            context = read_context(body.context)
            result, outcome = await functions.run(
                caller.tenant,
                slug,
                name,
                body.arguments,
                acting(caller),
                locale=spoken(caller, language),
                origin=context.origin,
                execution=context.execution,
            )
        except JackfieldError as error:
            error.data.update(
                success=False,
                output=None,
                error={"code": error.code, "message": str(error), "hint": error.hint},
                metrics={"duration_ms": 0.0, "cpu_ms": 0.0, "host_calls": 0, "invocation_id": ""},
            )
            return problem_of(error)
        refusal = None if result.success else _refusal(outcome, result)
        return warned(caller.tenant, _json(result) if refusal is None else problem_of(refusal))

    @api.get(
        "/api/functions",
        tags=["functions"],
        operation_id="listFunctions",
        response_model=list[FunctionListing],
        responses=problem_responses(),
    )
    async def list_functions(
        caller: MemberCaller,
        plugin: Annotated[str | None, Query(description="Only this plugin's")] = None,
    ) -> Response:
        """Every function the tenant can call, with JSON Schemas of arguments and output."""
        found = [
            {
                "plugin": slug,
                "name": function.name,
                "description": function.description,
                "parameters": function.parameters,
                "returns": function.returns,
                "read_only": function.read_only,
                "idempotent": function.idempotent,
                "destructive": function.destructive,
                "role": function.role,
                "examples": [{"title": e.title, "arguments": e.arguments} for e in function.examples],
            }
            for slug, function in await functions.all(caller.tenant)
            if plugin is None or slug == plugin
        ]
        return _json(found)

    @api.post(
        "/api/events/{name}",
        tags=["events"],
        operation_id="emitEvent",
        status_code=202,
        response_model=EmitAnswer,
        responses=problem_responses(403, 404, 413),
    )
    async def emit_event(name: str, payload: Annotated[Any, Body()], caller: AdminCaller) -> Response:
        """Emit an event of the host. It is committed when this answers, and delivered at least once from then on."""
        return _json({"id": await events.emit(caller.tenant, name, _plain(payload))}, 202)

    @api.post(
        "/api/filters/{name}",
        tags=["filters"],
        operation_id="runFilter",
        response_model=FilterAnswer,
        responses=problem_responses(403, 404, 409, 413, 503),
    )
    async def run_filter(
        name: str,
        payload: Annotated[Any, Body()],
        caller: AdminCaller,
        language: AcceptLanguage = None,
        *,
        dry_run: Annotated[
            bool,
            Query(
                description="Run every handler whatever the one before says, and show what each would do. Whatever "
                "else it would change is refused: nothing is left behind"
            ),
        ] = False,
    ) -> Response:
        """Pass a value through a filter hook. A veto answers 409 with the code `vetoed`."""
        run = filters.dry_run if dry_run else filters.run
        return warned(
            caller.tenant,
            _json(
                _filter_answer(
                    await run(caller.tenant, name, _plain(payload), acting(caller), spoken(caller, language))
                )
            ),
        )

    @api.get(
        "/api/plugins/ui-components/{slot}",
        tags=["widgets"],
        operation_id="fillSlot",
        response_model=SlotAnswer,
        responses=problem_responses(404),
    )
    async def fill_slot(
        slot: str,
        caller: MemberCaller,
        language: AcceptLanguage = None,
        *,
        context: Annotated[str, Query(description="JSON: what the widgets are about", max_length=32_768)] = "{}",
    ) -> Response:
        """Declarative widgets for a slot."""
        try:
            about = msgspec.json.decode(context)
        except (msgspec.DecodeError, RecursionError) as error:
            raise PayloadInvalidError(f"`context` is not valid JSON: {error}") from error
        found = await widgets.fill(caller.tenant, slot, about, acting(caller), spoken(caller, language))
        return warned(caller.tenant, _json({"slot": slot, "widgets": found}))

    async def documented(slug: str, path: str) -> Response:  # pragma: no cover  # `plugin_routes` stands before it
        raise NotImplementedError

    # One operation in the document stands for the routes of all plugins.
    api.add_api_route(
        "/api/plugins/{slug}/api/{path}",
        documented,
        methods=["GET"],
        tags=["routes"],
        operation_id="pluginRoute",
        summary="A route of the plugin's own (any method)",
        responses={**problem_responses(403, 404, 413, 429, 502, 503, 504), 200: {"description": "As the plugin says"}},
    )
    return api


def plugin_routes(routes: Routes, warning_of: Callable[[str], str | None] = lambda _tenant_id: None) -> Route:
    """The routes of all plugins, to stand before those of the platform.

    Not in the router: FastAPI asks each of its routes in turn and solves the dependencies of the one that it finds,
    which took longer than the plugin itself. And below Starlette's own `Request` and `Response`, which look at each
    header several times.

    Args:
        warning_of: What answers to a tenant carry as `QUOTA_WARNING`.
    """

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        method, slug, path = scope["method"], scope["path_params"]["slug"], f"/{scope['path_params']['path']}"
        headers = _headers(scope)
        token = bearer_token(headers.get("authorization"))
        authenticator: Authenticator = scope["app"].state.authenticator
        caller = None if token is None else await authenticator.authenticate(token)
        if len(scope["query_string"]) > _QUERY_BYTES:
            raise QueryTooLargeError(f"a query string of more than {_QUERY_BYTES} bytes")
        query = dict(QueryParams(scope["query_string"])) if scope["query_string"] else {}
        tenant_id = query.get("tenant") if caller is None else caller.tenant
        if tenant_id is None:
            raise TenantMissingError("this request names no tenant")
        find = routes.find_public if caller is None else routes.find
        found = await find(tenant_id, slug, method, path)
        incoming = RouteRequest(method, path, query, headers, await _body(receive))
        locale = spoken(caller, headers.get("accept-language"))
        outcome, answer = await routes.run(found, incoming, None if caller is None else acting(caller), locale)
        if answer is None:
            await _route_problem(slug, outcome)(scope, receive, send)
            return
        # How a tenant stands is nothing for strangers.
        warning = None if caller is None else warning_of(tenant_id)
        raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in answer.headers.items()]
        if answer.status not in (204, 304):
            raw.append((b"content-length", b"%d" % len(answer.body)))
        if warning is not None:
            raw.append((QUOTA_WARNING.lower().encode(), warning.encode("latin-1")))
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": answer.body})

    return _PluginRoute(respond)


class _PluginRoute(Route):
    def __init__(self, respond: ASGIApp) -> None:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        super().__init__("/api/plugins/{slug}/api/{path:path}", respond, methods=methods, include_in_schema=False)
        # A function would be given a `Request`.
        self.app = respond
        # No plugin can declare HEAD, and Starlette adds it to GET.
        self.methods = set(methods)


def _headers(scope: Scope) -> dict[str, str]:
    """Of each name the first."""
    headers: dict[str, str] = {}
    for name, text in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), text.decode("latin-1"))
    return headers


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _refusal(outcome: Outcome, result: FunctionResult) -> JackfieldError | None:
    """The problem of a call that never ran and may later; None when there is none."""
    failure = outcome.failure
    if failure is None or outcome.status not in ("refused", "overloaded"):
        return None
    if isinstance(failure, QuotaFailure):
        error: JackfieldError = exceeded(failure)
    elif outcome.status == "overloaded":
        error = OverloadedError(failure.message, hint=failure.hint, retry_after_s=failure.retry_after_s or 1.0)
    elif failure.retry_after_s is not None:
        error = CallRefusedError(failure.message, hint=failure.hint, retry_after_s=failure.retry_after_s)
    else:
        return None
    error.data.update(msgspec.to_builtins(result))
    return error


def _route_problem(slug: str, outcome: Outcome) -> Response:
    failure = outcome.failure or wire.Failure("plugin-error", "the plugin failed")
    status = 400 if outcome.status in ("user-error", "veto") else _ROUTE_STATUS.get(outcome.status, 502)
    if isinstance(failure, QuotaFailure):
        status = 429
    # The plugin chose this code: it must not be taken for one of the platform's own.
    is_its_own = outcome.status in _PLUGIN_MADE
    kind = f"plugin:{slug.partition('@')[0]}:{failure.code}" if is_its_own else f"problem:{failure.code}"
    document = {
        "type": f"urn:jackfield:{kind}",
        "title": _TITLES.get(status, "The plugin failed"),
        "status": status, "detail": failure.message, "code": failure.code, "hint": failure.hint, "plugin": slug,
        "invocation_id": outcome.invocation_id,
    }  # fmt: skip
    headers = {"cache-control": "no-store"}
    if failure.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(failure.retry_after_s)))
    return Response(msgspec.json.encode(document), status, headers, media_type="application/problem+json")


def _filter_answer(run: FilterRun) -> dict[str, Any]:
    return {"payload": run.payload, "is_dry_run": run.is_dry_run, "steps": [asdict(step) for step in run.steps]}


def _plain(payload: Any) -> Any:
    if not isinstance(payload, dict):
        raise PayloadInvalidError("the body must be a JSON object")
    _check_plain(payload, "the body")
    return cast("dict[str, Any]", payload)


def _check_plain(value: Any, what: str) -> None:
    """What Python's JSON reader lets in, and nothing behind us can carry: NaN, lone surrogates, numbers without end."""
    try:
        check_plain(wire.encode(value), allow_nul=True)
    except (NotPlainError, UnicodeEncodeError, OverflowError, RecursionError, ValueError) as error:
        raise PayloadInvalidError(f"{what} cannot be used: {_why(error)}") from error


def _why(error: Exception) -> str:
    # Others than ours quote the value, surrogates and all.
    return str(error) if isinstance(error, NotPlainError) else "a text or number in it is not what JSON can carry"


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
