"""Routes: a plugin's own HTTP interface below `/api/plugins/{slug}/api`.

A plugin's answer is served from the host's origin, so it is fenced in: no cookies, no redirects to elsewhere by headers
of its own, no sniffing, and a policy that gives a page no origin and no scripts.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import structlog

from jackfield.extension_points.errors import PluginInactiveError, RateLimitedError, RoleTooLowError, RouteUnknownError
from jackfield.extension_points.validation import OncePerRelease
from jackfield.http import CredentialsMissingError
from jackfield.invocation import ActiveInstallation, Invocation, Invoker, Outcome
from jackfield.lifecycle import ActiveInstallations
from jackfield_sdk.manifest import Route
from jackfield_sdk.wire import Caller

__all__ = ["RouteAnswer", "RouteRequest", "Routes"]

_log = structlog.get_logger("jackfield.extension_points")
_RANK = {"public": -1, "member": 0, "admin": 1, "owner": 2}
_KEPT_HEADERS = frozenset(
    "accept accept-language content-type user-agent if-none-match if-modified-since x-request-id webhook-id "
    "webhook-timestamp webhook-signature stripe-signature".split()
)
_ANSWER_HEADERS = frozenset("cache-control etag last-modified content-language content-disposition".split())
_TENANT = re.compile(r"[!-~]{1,128}\Z")
"""Ids that are looked up for strangers: each one costs a query, and a place in memory."""
# A script from the host's own origin is what its content policy lets in; parts of a multipart answer bring headers of
# their own.
_ACTIVE_TYPES = re.compile(r"(multipart|message)/|.*(script|wasm|css)")
_BODILESS = frozenset({204, 205, 304})
_SHARED = re.compile(r"public|s-maxage|proxy-revalidate", re.IGNORECASE)
_CONTENT_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,80}(; ?charset=[A-Za-z0-9-]{1,20})?\Z")
_FENCE = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "authorization",
}
_BUCKETS = 10_000


class RouteRequest(msgspec.Struct, frozen=True):
    """What came in; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class RouteAnswer(msgspec.Struct, frozen=True):
    """What goes out."""

    status: int
    headers: dict[str, str]
    body: bytes


class Routes:
    """Finds and runs routes."""

    def __init__(self, active: ActiveInstallations, invoker: Invoker) -> None:
        self._active = active
        self._invoker = invoker
        self._tables: OncePerRelease[list[tuple[str, re.Pattern[str], Route]]] = OncePerRelease()
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    async def find(
        self, tenant_id: str, slug: str, method: str, path: str
    ) -> tuple[ActiveInstallation, Route, dict[str, str]]:
        """The route for a request, and what its pattern's names stand for.

        Raises:
            PluginInactiveError, RouteUnknownError: There is none.
        """
        plugins = self._active.peek(tenant_id) or await self._active.get(tenant_id)
        installation = plugins.by_slug.get(slug)
        if installation is None:
            raise PluginInactiveError(f"`{slug}` is not active")
        table = self._tables.get(installation.digest)
        if table is None:
            table = self._tables.keep(installation.digest, _table(installation))
        other_methods: list[str] = []
        for route_method, pattern, route in table:
            match = pattern.match(path)
            if match is not None:
                if route_method == method:
                    return installation, route, match.groupdict()
                other_methods.append(route_method)
        hint = f"Its methods are {', '.join(other_methods)}." if other_methods else "See the plugin's details."
        raise RouteUnknownError(f"`{slug}` has no route {method} {path}", hint=hint)

    async def find_public(
        self, tenant_id: str, slug: str, method: str, path: str
    ) -> tuple[ActiveInstallation, Route, dict[str, str]]:
        """As `find`, for somebody without a token, who must not learn what a tenant has installed.

        Raises:
            CredentialsMissingError: There is no such public route: whatever else the reason may be.
        """
        if _TENANT.match(tenant_id):
            with contextlib.suppress(PluginInactiveError, RouteUnknownError):
                found = await self.find(tenant_id, slug, method, path)
                if found[1].auth == "public":
                    return found
        raise CredentialsMissingError("This needs a token.")

    async def run(
        self,
        found: tuple[ActiveInstallation, Route, dict[str, str]],
        request: RouteRequest,
        caller: Caller | None,
        locale: str = "en",
    ) -> tuple[Outcome, RouteAnswer | None]:
        """Run a route; no answer when the plugin failed.

        Raises:
            RoleTooLowError: The caller's role does not reach.
            RateLimitedError: Too many requests this minute.
        """
        installation, route, params = found
        if _RANK[route.auth] > (-1 if caller is None else _RANK.get(caller.role, -1)):
            raise RoleTooLowError(f"this route needs the role {route.auth}", needed=route.auth)
        self._count(installation, route)
        payload = {
            "method": request.method,
            "path": request.path,
            "params": params,
            "query": dict(request.query),
            "headers": {name: value for name, value in request.headers.items() if name in _KEPT_HEADERS},
            "body": request.body,
        }
        outcome = await self._invoker.run(
            Invocation(
                installation,
                "route",
                f"{route.method} {route.path}",
                route.handler,
                payload,
                route.timeout_ms,
                caller,
                locale=locale,
            )
        )
        if outcome.failure is not None:
            return outcome, None
        return outcome, _answer(outcome.value, is_private=caller is not None)

    def _count(self, installation: ActiveInstallation, route: Route) -> None:
        """A token bucket per installation and route, refilled evenly over the minute."""
        key = (installation.id, f"{route.method} {route.path}")
        now = time.monotonic()
        per_second = route.rate_limit_per_minute / 60
        tokens, last = self._buckets.pop(key, (float(route.rate_limit_per_minute), now))
        tokens = min(float(route.rate_limit_per_minute), tokens + (now - last) * per_second)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait_s = max(1, round((1 - tokens) / per_second))
            raise RateLimitedError(
                f"more than {route.rate_limit_per_minute} requests a minute to this route", retry_after_s=wait_s
            )


def _table(installation: ActiveInstallation) -> list[tuple[str, re.Pattern[str], Route]]:
    table: list[tuple[str, re.Pattern[str], Route]] = []
    for route in installation.manifest.routes:
        try:
            table.append((route.method, _pattern(route.path), route))
        except re.error:
            # Two parameters of one name: such a route cannot be called, and must not take the others with it.
            _log.warning("a route's path cannot be used", plugin=installation.slug, path=route.path)
    return table


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{([^}]+)\}", path)
    text = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile(f"{text}\\Z")


def _answer(value: Any, *, is_private: bool) -> RouteAnswer:
    """The plugin's answer, fenced in. A cache on the way sees the same address for all tenants and members.
    Our own code in the isolate gave it its form, but nothing relies on that."""
    if isinstance(value, dict) and {"body", "status", "content_type", "headers"} <= value.keys():
        answer = cast("dict[str, Any]", value)
    else:
        answer: dict[str, Any] = {"body": value, "status": 200, "content_type": "application/json", "headers": {}}
    body = answer["body"]
    content_type = str(answer["content_type"])
    if not _CONTENT_TYPE.match(content_type) or _ACTIVE_TYPES.match(content_type):
        content_type = "application/octet-stream"
    if isinstance(body, bytes):
        data = body
    elif isinstance(body, str) and not content_type.startswith("application/json"):
        data = body.encode()
    else:
        data, content_type = msgspec.json.encode(body), "application/json"
    status = answer["status"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        status = 200
    headers = {"content-type": content_type}
    given = answer["headers"]
    if isinstance(given, dict):
        for name, text in cast("dict[Any, Any]", given).items():
            lower = str(name).lower()
            if lower in _ANSWER_HEADERS and isinstance(text, str) and text.isascii() and text.isprintable():
                headers[lower] = text[:1000]
    if is_private and ("cache-control" not in headers or _SHARED.search(headers["cache-control"])):
        headers["cache-control"] = "private, no-cache"
    headers.update(_FENCE)
    # With a body, such an answer would break the connection off.
    return RouteAnswer(status, headers, b"" if status in _BODILESS else data)
