"""Which request a piece of work belongs to, for those who write down where a change came from."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from jackfield.http.caller import CALLER, Caller

__all__ = ["Origin", "OriginMiddleware", "origin"]

_scope: ContextVar[Scope | None] = ContextVar("jackfield_request", default=None)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from.

    Attributes:
        caller: None before anybody has asked who it is, and for requests without a token.
        ip: As the server knows it: the proxy's word only where the server believes that proxy.
    """

    caller: Caller | None
    ip: str | None
    user_agent: str | None


class OriginMiddleware:
    """Keeps the request within reach of all that it leads to. What it says is read only when somebody asks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        before = _scope.set(scope)
        try:
            await self._app(scope, receive, send)
        finally:
            _scope.reset(before)


def origin() -> Origin | None:
    """The request that this task works for; None when it works for none."""
    scope = _scope.get()
    if scope is None:
        return None
    client = scope.get("client")
    agents = [value for name, value in scope["headers"] if name == b"user-agent"]
    return Origin(
        caller=scope.get(CALLER),
        ip=client[0] if client else None,
        user_agent=agents[0].decode("latin-1") if agents else None,
    )
