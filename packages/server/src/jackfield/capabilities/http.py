"""`http`: requests to hosts that the tenant granted, through the platform's one way out.

A body that is larger than one message comes in pieces: the first with the answer, the others by `read`. They are kept
as long as the call, and no longer.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Collection, Sequence
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import BodyGoneError
from jackfield.capabilities.operations import Arguments, Capability, answer, operation
from jackfield.capabilities.tally import Sent
from jackfield.clock import Clock
from jackfield.egress import (
    Egress,
    HostPolicy,
    InjectedSecret,
    OutboundRequest,
    OutboundResponse,
    SecretRefusedError,
    Target,
    host_patterns,
    parse_url,
)
from jackfield.errors import JackfieldError

__all__ = ["HANDLE", "Http", "RenewingSource", "SecretGuard", "SecretSource"]

HANDLE = re.compile(rb"jfs_[0-9a-v]{40}")
"""What a handle of a secret looks like; see `Vault.handles`."""

_FIRST_BYTES = 512 * 1024
_PIECE_BYTES = 1024 * 1024
_BODIES = 8
"""Bodies of one call that are kept for it at the same time; the oldest goes."""
_HELD_BYTES = 8 * 1024 * 1024
"""More than that only when it is a single body."""
_RECORDED = 50
"""Requests of one call that are told of, one by one, in its log."""
_SECRETS = 16
_UNAUTHORIZED = 401


class SecretSource(Protocol):
    """Knows handles of one kind."""

    async def injected(self, context: CapabilityContext, handle: str) -> InjectedSecret | None:
        """What a handle of this installation stands for; None when it is not one of these.

        Raises:
            JackfieldError: It is one, and there is no value for it.
        """
        ...


class RenewingSource(Protocol):
    """A source whose values can be replaced by fresh ones."""

    async def renewed(self, context: CapabilityContext, secret: InjectedSecret) -> InjectedSecret | None:
        """A fresh value in place of one that was not accepted; None when there is no other.

        Raises:
            JackfieldError: There was to be one, and it cannot be had.
        """
        ...


class SecretGuard(Protocol):
    """Knows what else must not come back from a host than what a request refers to."""

    async def bound_to(
        self, context: CapabilityContext, target: Target, known: Collection[str]
    ) -> list[InjectedSecret]:
        """Secrets of the installation that a host may have been given before: it can repeat them at any time.

        Args:
            known: Handles of those that need not be told.
        """
        ...


class _Request(Arguments, frozen=True):
    method: Annotated[str, Meta(max_length=16)]
    url: Annotated[str, Meta(max_length=8192)]
    headers: Annotated[list[tuple[str, str]], Meta(max_length=256)] = msgspec.field(
        default_factory=list[tuple[str, str]]
    )
    body: bytes = b""
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] | None = None
    max_redirects: Annotated[int, Meta(ge=0, le=20)] = 5


class _Read(Arguments, frozen=True):
    id: Annotated[int, Meta(ge=1)]


class _Answer(msgspec.Struct, frozen=True):
    """What the isolate gets.

    Attributes:
        body: The beginning of it.
        rest: Bytes that are still to be read, by `id`.
    """

    status: int
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    redirects: int
    rest: int = 0
    id: int = 0


class Http:
    """The capability.

    Args:
        clock: What deadlines of calls are told by.
        sources: Asked in turn for what a handle stands for.
        guards: Asked for what is to be hidden in responses.
        renewing: Asked for other values when a host does not accept those that it was sent.
    """

    def __init__(
        self,
        egress: Egress,
        clock: Clock,
        sources: Sequence[SecretSource],
        guards: Sequence[SecretGuard] = (),
        renewing: Sequence[RenewingSource] = (),
    ) -> None:
        self._egress = egress
        self._clock = clock
        self._sources = tuple(sources)
        self._guards = tuple(guards)
        self._renewing = tuple(renewing)
        self.operations: Capability = {
            "request": operation(_Request, None, self._request),
            "read": operation(_Read, None, self._read),
        }

    async def _request(self, context: CapabilityContext, arguments: _Request) -> bytes:
        request = OutboundRequest(
            arguments.method,
            arguments.url,
            tuple(arguments.headers),
            arguments.body,
            self._timeout_s(context, arguments.timeout_s),
            max_redirects=arguments.max_redirects,
        )
        policy = self._policy(context)
        started = time.perf_counter()
        before = context.tally.egress_bytes
        status, code = 0, ""
        try:
            # Hosts first: whoever may not go there learns nothing about what they hold in their hands.
            grant = f"http:{self._egress.check(request, policy)}"
            uses = context.tally.permissions
            uses[grant] = uses.get(grant, 0) + 1
            secrets = await self._secrets(context, request)
            response = await self._egress.send(request, policy, secrets=secrets, payer=context.tally)
            if response.status == _UNAUTHORIZED and (renewed := await self._renewed(context, request, secrets)):
                # It was turned away at the door, so nothing has been done yet: once more, with what is good now.
                response = await self._egress.send(request, policy, secrets=renewed, payer=context.tally)
            status = response.status
        except JackfieldError as error:
            code = error.code
            raise
        finally:
            self._note(
                context, request, status, code, context.tally.egress_bytes - before, time.perf_counter() - started
            )
        return self._answer(context, response)

    async def _read(self, context: CapabilityContext, arguments: _Read) -> bytes:
        held = context.tally.bodies
        body = None if held is None else held.pop(arguments.id, None)
        if held is None or body is None:
            raise BodyGoneError
        rest = body[_PIECE_BYTES:]
        if rest:
            held[arguments.id] = rest
        return answer({"body": body[:_PIECE_BYTES], "rest": len(rest)})

    def _timeout_s(self, context: CapabilityContext, asked_s: float | None) -> float | None:
        """No longer than the call itself has: when that is ended, nobody waits for the answer."""
        if not context.deadline:
            return asked_s
        left_s = max(0.001, context.deadline - self._clock.now().timestamp())
        return left_s if asked_s is None else min(asked_s, left_s)

    def _policy(self, context: CapabilityContext) -> HostPolicy:
        patterns = host_patterns(context.rights.grants)
        return HostPolicy(context.tenant_id, context.installation_id, patterns)

    async def _secrets(self, context: CapabilityContext, request: OutboundRequest) -> list[InjectedSecret]:
        handles = _handles(request)
        if len(handles) > _SECRETS:
            raise SecretRefusedError(f"more than {_SECRETS} secrets in one request")
        found = [await self._injected(context, handle) for handle in handles]
        target = parse_url(request.url)
        for guard in self._guards:
            found += await guard.bound_to(context, target, {secret.handle for secret in found})
        return found

    async def _renewed(
        self, context: CapabilityContext, request: OutboundRequest, secrets: Sequence[InjectedSecret]
    ) -> list[InjectedSecret] | None:
        """The secrets of a request that was not accepted, at least one of them fresh; None when there is no other."""
        sent, found, is_new = set(_handles(request)), list[InjectedSecret](), False
        for secret in secrets:
            fresh = None
            if secret.handle in sent:
                for source in self._renewing:
                    fresh = fresh or await source.renewed(context, secret)
            found.append(fresh or secret)
            is_new |= fresh is not None
        return found if is_new else None

    async def _injected(self, context: CapabilityContext, handle: str) -> InjectedSecret:
        for source in self._sources:
            if (found := await source.injected(context, handle)) is not None:
                return found
        raise SecretRefusedError(
            "the request has a handle in it that is none of this installation's",
            hint="Get it from `ctx.secrets.ref(…)`; it is another one in every installation.",
        )

    def _answer(self, context: CapabilityContext, response: OutboundResponse) -> bytes:
        body = response.body
        number = 0
        if len(body) > _FIRST_BYTES:
            tally = context.tally
            if tally.bodies is None:
                tally.bodies = {}
            number = max(tally.bodies, default=0) + 1
            # A view: the bytes themselves are there once.
            tally.bodies[number] = memoryview(body)[_FIRST_BYTES:]
            while len(tally.bodies) > _BODIES or (
                len(tally.bodies) > 1 and sum(map(len, tally.bodies.values())) > _HELD_BYTES
            ):
                del tally.bodies[next(iter(tally.bodies))]
        return answer(
            _Answer(
                response.status,
                response.url,
                response.headers,
                body[:_FIRST_BYTES],
                response.redirects,
                max(0, len(body) - _FIRST_BYTES),
                number,
            )
        )

    def _note(
        self, context: CapabilityContext, request: OutboundRequest, status: int, code: str, size: int, took_s: float
    ) -> None:
        tally = context.tally
        if tally.requests is None:
            tally.requests = []
        if len(tally.requests) >= _RECORDED:
            return
        try:
            target = parse_url(request.url)
        except JackfieldError:
            host = ""
        else:
            # Without path and query: those are the plugin's and the other side's, and may hold what is not for a log.
            host = target.authority
        tally.requests.append(Sent(request.method, host, status, code, size, round(took_s * 1000, 1)))


def _handles(request: OutboundRequest) -> list[str]:
    """Handles in a request, each once."""
    found = dict.fromkeys(HANDLE.findall(request.url.encode("utf-8", "replace")))
    found.update(dict.fromkeys(HANDLE.findall(request.body)))
    for name, value in request.headers:
        found.update(dict.fromkeys(HANDLE.findall(value.encode("utf-8", "replace"))))
        scheme, _, coded = value.partition(" ")
        if name.lower() == "authorization" and scheme.lower() == "basic":
            try:
                found.update(dict.fromkeys(HANDLE.findall(base64.b64decode(coded.strip(), validate=True))))
            except (binascii.Error, ValueError):
                continue
    return [handle.decode() for handle in found]
