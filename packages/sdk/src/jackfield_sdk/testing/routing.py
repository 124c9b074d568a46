"""From a request line to one of the plugin's routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from jackfield_sdk.context import Request
from jackfield_sdk.errors import PluginError
from jackfield_sdk.manifest import Route

__all__ = ["KEPT_HEADERS", "find_route", "webhook_request"]

KEPT_HEADERS = frozenset(
    {
        "accept", "accept-language", "content-type", "user-agent", "if-none-match", "if-modified-since", "x-request-id",
        "webhook-id", "webhook-timestamp", "webhook-signature", "stripe-signature",
    }
)  # fmt: skip
"""Request headers that reach a route."""

_HIDDEN = re.compile(
    r"authorization|cookie|token|secret|api-?key|password|credential|forwarded|(x-real-ip|via|host|connection|"
    r"content-length|transfer-encoding|te|upgrade|keep-alive|traceparent|tracestate)\Z"
)
"""Headers that do not reach a webhook."""
_HEADERS = 64
_HEADER_CHARS = 4_096


def find_route(
    routes: Iterable[Route], method: str, target: str, body: Any, query: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[Route, dict[str, Any]]:
    """The route that answers, and the request as it travels.

    Raises:
        PluginError: `route-unknown`.
    """
    parts = urlsplit(target)
    # The first that fits, in the order of the manifest.
    for route in routes:
        match = _pattern(route.path).fullmatch(parts.path)
        if match is None or route.method != method.upper():
            continue
        sent = {name.lower(): value for name, value in headers.items() if name.lower() in KEPT_HEADERS}
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("content-type", "application/json")
        request = Request(
            method=route.method, path=parts.path,
            params={name: unquote(value) for name, value in match.groupdict().items()},
            query={**dict(parse_qsl(parts.query, keep_blank_values=True)), **query},
            headers=sent, body=_bytes(body),
        )  # fmt: skip
        return route, msgspec.to_builtins(request, builtin_types=(bytes,))
    raise PluginError(f"the plugin has no route {method.upper()} {parts.path}", code="route-unknown")


def webhook_request(name: str, body: Any, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """What comes in at the address of a webhook, as it travels."""
    sent = {key.lower(): value for key, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        sent.setdefault("content-type", "application/json")
    kept = {
        key: value
        for key, value in sent.items()
        if not _HIDDEN.search(key) and len(key) <= 100 and len(value) <= _HEADER_CHARS
    }
    request = Request(
        method="POST", path=f"/webhooks/{name}", query=dict(query), headers=dict(sorted(kept.items())[:_HEADERS]),
        body=_bytes(body),
    )  # fmt: skip
    return msgspec.to_builtins(request, builtin_types=(bytes,))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", re.sub(r"[.~-]", r"\\\g<0>", path)))


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else msgspec.json.encode(body)
