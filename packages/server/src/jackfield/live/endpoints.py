"""`GET /api/stream`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from jackfield.errors import JackfieldError
from jackfield.http import Authenticator, Caller, RoleMissingError, UnauthenticatedError, problem_responses, require
from jackfield.http.caller import bearer_token
from jackfield.live.errors import StreamKindError, StreamPositionError
from jackfield.live.hub import HEARTBEAT_S, RETRY_MS, Hub, Stream, event_of
from jackfield.live.kinds import KINDS, Kind, heard_by

__all__ = ["router"]

_CHECK_S = 2.0
"""How often it is asked whether the token still holds. A revoked one is told of at once; the answer is in memory."""
_DOUBTS = 5
"""As often it may remain unknown whether the token holds. Then the stream ends."""
_FAREWELL_S = 2.0
"""How long a stream that has ended may take to say what was still queued."""
_LARGEST = 2**63 - 1
Listener = Annotated[Caller, Depends(require("owner", "admin", "member", "operator"))]
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def router(hub: Hub) -> APIRouter:
    """The endpoint over the hub."""
    routes = APIRouter(prefix="/api/stream", tags=["operations"])

    @routes.get(
        "", operation_id="listen", response_class=StreamingResponse, responses=problem_responses(401, 403, 422, 429)
    )
    async def listen(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        request: Request,
        caller: Listener,
        kinds: Annotated[str | None, Query(max_length=200, description="Comma-separated; all when absent")] = None,
        plugin: Annotated[str | None, Query(max_length=128, description="Only what is about this plugin")] = None,
        after: Annotated[str | None, Query(max_length=20, description="As `Last-Event-ID`")] = None,
        tenant: Annotated[
            str | None,
            Query(min_length=1, max_length=64, description="For operators: only this tenant; all when absent"),
        ] = None,
        last_event_id: Annotated[str | None, Header(max_length=20)] = None,
    ) -> StreamingResponse:
        """What happens from now on, as server-sent events. Goes on after `Last-Event-ID`; when that is too long ago,
        the event `reset` says that everything is to be loaded afresh. Operators hear of all tenants, and `tenant` in
        the data says of which."""
        wanted = _kinds(kinds, caller)
        seen = _position(last_event_id or after)
        stream, position = await hub.open(_whose(caller, tenant), caller, wanted, plugin)
        token = bearer_token(request.headers.get("authorization")) or ""
        authenticator = cast(Authenticator, request.app.state.authenticator)
        frames = _frames(hub, stream, position, seen, caller, token, authenticator)
        return _Answer(hub, stream, frames)

    return routes


class _Answer(StreamingResponse):
    """An answer that leaves the hub however it ends: before its first byte, or stuck in a client that does not read."""

    def __init__(self, hub: Hub, stream: Stream, frames: AsyncGenerator[bytes]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers=_HEADERS)
        self._hub = hub
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.ensure_future(super().__call__(scope, receive, send))
        ended = asyncio.ensure_future(self._stream.ended.wait())
        try:
            await asyncio.wait({answering, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await asyncio.wait({answering}, timeout=_FAREWELL_S)
        finally:
            self._hub.leave(self._stream)
            ended.cancel()
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering


def _whose(caller: Caller, tenant: str | None) -> str | None:
    """Whose happenings are heard: the caller's own tenant's, whatever was asked for; None for those of all."""
    if caller.role == "operator":
        return tenant
    if tenant is not None:
        raise RoleMissingError("Only operators choose a tenant.", roles=["operator"])
    return caller.tenant


def _kinds(given: str | None, caller: Caller) -> frozenset[Kind]:
    allowed = heard_by(caller)
    if given is None:
        return allowed
    named = {part.strip() for part in given.split(",") if part.strip()}
    if not named or not named <= set(KINDS):
        raise StreamKindError("There is no such kind.", hint=f"Kinds are {', '.join(KINDS)}.")
    if not named <= allowed:
        raise StreamKindError(
            "Your role may not hear one of these kinds.", hint=f"You may hear {', '.join(sorted(allowed))}."
        )
    return frozenset(cast("set[Kind]", named))


def _position(given: str | None) -> int | None:
    if not given:
        return None
    if not (given.isascii() and given.isdigit()) or int(given) > _LARGEST:
        raise StreamPositionError("That is no position of this stream.")
    return int(given)


async def _frames(
    hub: Hub, stream: Stream, position: int, seen: int | None, caller: Caller, token: str, authenticator: Authenticator
) -> AsyncGenerator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    last = position
    if seen is None:
        yield _at(position)
    else:
        missed = await hub.missed(stream.tenant_id, seen)
        if missed is None:
            yield event_of("reset", {}, position=position).frame
        else:
            last = seen
            for event in missed:
                last = event.position
                if stream.hears(event):
                    yield event.frame
            yield _at(last)
    loop = asyncio.get_running_loop()
    spoke_at = loop.time()
    check_at = spoke_at + _CHECK_S
    doubts = 0
    while True:
        event = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(check_at):
                event = await stream.next()
                if event is None:
                    yield f"retry: {RETRY_MS}\n".encode() + event_of("end", {"why": stream.end}).frame
                    return
        now = loop.time()
        if now >= check_at:
            # Before what has come is told: however much happens, nobody hears of it whose token was taken away.
            holds = await _still_holds(caller, token, authenticator)
            doubts = doubts + 1 if holds is None else 0
            if holds is False or doubts > _DOUBTS:
                yield event_of("end", {"why": "credentials" if holds is False else "unavailable"}).frame
                return
            check_at = now + _CHECK_S
            if event is None and now - spoke_at >= HEARTBEAT_S:
                spoke_at = now
                yield b": still here\n\n"
        if event is None or (event.position and event.position <= last):
            continue  # nothing, or what was among that which had been missed
        last = event.position or last
        spoke_at = now
        yield event.frame


def _at(position: int) -> bytes:
    return event_of("ready", {}, position=position).frame


async def _still_holds(caller: Caller, token: str, authenticator: Authenticator) -> bool | None:
    """None when the database does not answer, which says nothing about the token."""
    try:
        return await authenticator.authenticate(token) == caller
    except UnauthenticatedError:
        return False
    except (JackfieldError, SQLAlchemyError):
        return None
