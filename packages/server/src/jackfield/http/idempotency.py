"""`Idempotency-Key`: a write that is repeated with the same key is carried out once.

The promise is *at most once*. The key is reserved before the request runs and its answer is kept before it is sent.
If the node dies in between, nobody knows whether the request took effect, so a repetition is told so and does not run.

Not kept, so that the key can be used again: answers that say the work was not begun (`NOT_BEGUN`). Kept without its
body: an answer marked `Cache-Control: no-store`, because it holds a secret, and one that is too large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jackfield.errors import JackfieldError
from jackfield.http.body_limit import route_path
from jackfield.http.caller import Authenticator, bearer_token
from jackfield.http.errors import (
    IdempotencyAnswerGoneError,
    IdempotencyKeyBusyError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyReusedError,
    IdempotencyOutcomeUnknownError,
    UnauthenticatedError,
)
from jackfield.http.problems import problem_of

__all__ = ["NOT_BEGUN", "Answer", "Answers", "IdempotencyMiddleware", "Reservation"]

NOT_BEGUN = frozenset({401, 403, 404, 405, 409, 411, 413, 415, 429, 503})
"""Refusals by the state of things at that moment: the same request may pass later."""

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ANSWER_LIMIT_BYTES = 1024 * 1024
# These are made anew for each answer; a cookie is for the first receiver alone.
_NOT_REPLAYED = frozenset({b"content-length", b"date", b"set-cookie", b"connection", b"transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. `body` is None when it was not kept."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """What `Answers.reserve` found.

    Attributes:
        state: `new` the key is ours now; `busy` another request runs with it; `unknown` that request never ended;
            `kept` it was answered; `reused` the key belongs to another request.
        answer: With `kept`.
        retry_after_s: With `busy`: when the other request is given up at the latest.
    """

    state: Literal["new", "busy", "unknown", "kept", "reused"]
    answer: Answer | None = None
    retry_after_s: float = 0.0


class Answers(Protocol):
    """Where keys and answers are kept. Each verb is atomic and durable when it returns."""

    async def reserve(self, subject: str, key: str, fingerprint: str) -> Reservation:
        """Take the key for this caller, or say what became of it."""
        ...

    async def keep(self, subject: str, key: str, answer: Answer) -> None:
        """The reserved request was answered."""
        ...

    async def release(self, subject: str, key: str) -> None:
        """The reserved request was not begun: forget the key."""
        ...

    async def give_up(self, subject: str, key: str) -> None:
        """The reserved request failed half-way: its outcome is unknown from now on."""
        ...


class IdempotencyMiddleware:
    """Honours the header on writes of known callers; without a key, or a caller, it steps aside.

    Put it inside `BodyLimitMiddleware`: it reads the whole body, to tell a repetition from another request.

    Args:
        streamed: Paths whose bodies are too large to be held, and that happen at most once by themselves: a version
            that is there cannot be published again. The key is not looked at.
    """

    def __init__(
        self, app: ASGIApp, authenticator: Authenticator, answers: Answers, streamed: Container[str] = ()
    ) -> None:
        self._app = app
        self._streamed = streamed
        self._authenticator = authenticator
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WRITES:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get("idempotency-key")
        subject = None if key is None else await self._subject(bearer_token(headers.get("authorization")))
        if key is None or subject is None or route_path(scope) in self._streamed:
            await self._app(scope, receive, send)
            return
        if not 1 <= len(key) <= 255 or not all("!" <= char <= "~" for char in key):
            await problem_of(IdempotencyKeyInvalidError("The Idempotency-Key cannot be used."))(scope, receive, send)
            return

        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return  # nothing was begun, and nobody is left to answer
        reservation = await self._answers.reserve(subject, key, _fingerprint(scope, body))
        if reservation.state != "new":
            await _repeated(reservation)(scope, receive, send)
            return
        await self._run(scope, body, receive, send, subject, key)

    async def _subject(self, token: str | None) -> str | None:
        if token is None:
            return None
        try:
            caller = await self._authenticator.authenticate(token)
        except UnauthenticatedError:
            return None  # the endpoint says so, in the usual words
        return f"{caller.tenant_id or '-'}/{caller.subject}"

    async def _run(self, scope: Scope, body: bytes, receive: Receive, send: Send, subject: str, key: str) -> None:
        """Run the request; the answer is held back until it is kept."""
        recorder = _Recorder(send)
        is_read = False

        async def replayed_receive() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()  # only a disconnect can follow
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self._app(scope, replayed_receive, recorder.send)
        except Exception:
            await self._answers.give_up(subject, key)
            raise
        answer = recorder.answer()
        if answer is None:
            await self._answers.give_up(subject, key)
        elif answer.status in NOT_BEGUN:
            await self._answers.release(subject, key)
        else:
            await self._answers.keep(subject, key, answer)
        await recorder.deliver()


class _Recorder:
    """Holds a response back, unless it grows too large to be kept."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []
        self._size = 0
        self._is_passing = False
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        if self._is_passing:
            await self._send(message)
            return
        self._held.append(message)
        self._size += len(message.get("body", b""))
        if self._size > _ANSWER_LIMIT_BYTES:
            self._is_passing = True
            await self.deliver()

    async def deliver(self) -> None:
        held, self._held = self._held, []
        for message in held:
            await self._send(message)

    def answer(self) -> Answer | None:
        """What to keep; None when the application answered nothing."""
        if self._start is None:
            return None
        raw: list[tuple[bytes, bytes]] = list(self._start.get("headers", ()))
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in raw
            if name.lower() not in _NOT_REPLAYED
        )
        is_secret = any(name.lower() == b"cache-control" and b"no-store" in value.lower() for name, value in raw)
        if is_secret or self._is_passing:
            return Answer(self._start["status"])
        return Answer(self._start["status"], headers, b"".join(message.get("body", b"") for message in self._held))


def _fingerprint(scope: Scope, body: bytes) -> str:
    digest = hashlib.sha256()
    query: bytes = scope.get("query_string", b"")
    for part in (scope["method"].encode(), route_path(scope).encode(), query, body):
        digest.update(len(part).to_bytes(8))  # lengths, so that no part can lend bytes to its neighbour
        digest.update(part)
    return digest.hexdigest()


def _repeated(reservation: Reservation) -> Response:
    """What the second request with a key is told."""
    answer = reservation.answer
    if reservation.state == "kept" and answer is not None and answer.body is not None:
        response = Response(answer.body, answer.status)
        for name, value in answer.headers:
            response.headers.append(name, value)
        response.headers["Idempotency-Replayed"] = "true"
        return response
    error: JackfieldError
    if reservation.state == "reused":
        error = IdempotencyKeyReusedError("The Idempotency-Key belongs to another request.")
    elif reservation.state == "busy":
        error = IdempotencyKeyBusyError(
            "The first request with this Idempotency-Key is still running.", retry_after_s=reservation.retry_after_s
        )
    elif answer is not None:
        error = IdempotencyAnswerGoneError(
            "The request was carried out, and its answer was not kept.", first_status=answer.status
        )
    else:
        error = IdempotencyOutcomeUnknownError("The first request with this Idempotency-Key did not end.")
    return problem_of(error)
