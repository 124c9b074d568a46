"""The trace that a request belongs to, from its `traceparent` header (W3C Trace Context)."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jackfield.opened import begin
from jackfield.tracing import Tracing, incoming, is_traceparent

__all__ = ["TraceMiddleware"]


class TraceMiddleware:
    """Everything that a request leads to belongs to its trace; with `tracing`, the request is a span of its own.

    Callers choose the ids of their traces, and could choose another's. It would put spans of theirs beside those of
    the other in the operator's view; nobody can read spans by it.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing | None = None) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin()
        given = _given(scope)
        if self._tracing is None:
            if not given:
                await self._app(scope, receive, send)
                return
            before = incoming.set(given)
            try:
                await self._app(scope, receive, send)
            finally:
                incoming.reset(before)
            return
        await self._traced(self._tracing, given, scope, receive, send)

    async def _traced(self, tracing: Tracing, given: str, scope: Scope, receive: Receive, send: Send) -> None:
        method = str(scope["method"])[:16]
        attributes = {"http.request.method": method}
        with tracing.span(f"HTTP {method}", attributes, kind="server", traceparent=given) as span:

            async def watched_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = int(message["status"])
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        tracing.failed(span, str(status))
                await send(message)

            # What is left for later, and the log, belong below this span.
            before = incoming.set(tracing.traceparent(span) or given)
            try:
                await self._app(scope, receive, watched_send)
            finally:
                incoming.reset(before)
                # Known only now, and the pattern rather than the path: a span's name is one of few.
                route: Any = scope.get("route")
                path = getattr(route, "path", None)
                if isinstance(path, str):
                    span.update_name(f"{method} {path}")
                    span.set_attribute("http.route", path)


def _given(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            text = value.decode("latin-1")
            return text if is_traceparent(text) else ""
    return ""
