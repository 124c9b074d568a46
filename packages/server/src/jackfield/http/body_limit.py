"""A request's body is counted while it arrives; what goes over the limit is refused before anyone has it in memory."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jackfield.http.errors import BodyTooLargeError
from jackfield.http.problems import problem_of

__all__ = ["BodyLimitMiddleware", "read_body", "route_path"]


def route_path(scope: Scope) -> str:
    """The path below the place where our application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """A whole body, for who takes less than the middleware lets through.

    Raises:
        BodyTooLargeError: It is over the limit; the rest was not read.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise BodyTooLargeError(f"The body is over {limit_bytes} bytes.", limit_bytes=limit_bytes)
        parts.append(part)
    return b"".join(parts)


class BodyLimitMiddleware:
    """Answers 413 `body-too-large`.

    Args:
        limit_bytes: Largest body in bytes.
        overrides: Other limits for some paths, as the upload of packages needs one.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int, overrides: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._overrides = dict(overrides or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._overrides.get(route_path(scope), self._limit_bytes)
        if _announced_bytes(scope) > limit:
            await _refusal(limit)(scope, receive, send)
            return

        received = 0
        is_over = has_started = False

        async def counted_receive() -> Message:
            nonlocal received, is_over
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    is_over = True
                    raise BodyTooLargeError(f"The body is over {limit} bytes.", limit_bytes=limit)
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal has_started
            # FastAPI turns any error of reading a body into a 400 of its own; this answer takes its place.
            if is_over and not has_started:
                return
            has_started = True
            await send(message)

        try:
            await self._app(scope, counted_receive, guarded_send)
        except BodyTooLargeError:
            if has_started:
                raise
        if is_over and not has_started:
            await _refusal(limit)(scope, receive, send)


def _refusal(limit: int) -> Response:
    refusal = problem_of(BodyTooLargeError(f"The body is over {limit} bytes.", limit_bytes=limit))
    refusal.headers["Connection"] = "close"  # the rest of the body is not read
    return refusal


def _announced_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
