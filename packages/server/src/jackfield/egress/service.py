"""`Egress`: the one way out of the platform to the network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass

from jackfield.egress.addresses import Allowed
from jackfield.egress.connections import Connection, Connections
from jackfield.egress.decoding import ACCEPTED, decoder_of
from jackfield.egress.errors import (
    AddressRefusedError,
    EgressBusyError,
    EgressTimeoutError,
    HostNotGrantedError,
    HostUnreachableError,
    RedirectRefusedError,
    RequestRefusedError,
    ResponseRefusedError,
    SecretRefusedError,
    UrlRefusedError,
)
from jackfield.egress.headers import METHODS, checked_request_headers, encoded, kept_across_hosts, response_headers
from jackfield.egress.messages import Headers, OutboundRequest, OutboundResponse, Payer
from jackfield.egress.policy import HostPolicy, permission_for
from jackfield.egress.rates import Rates
from jackfield.egress.resolving import Resolver, resolver_of
from jackfield.egress.secrets import Filled, InjectedSecret, Injection
from jackfield.egress.urls import Target, parse_url, resolve_location
from jackfield.errors import JackfieldError
from jackfield.settings import EgressSettings
from jackfield.tracing import Tracing, here

__all__ = ["Charge", "Egress"]

Charge = Callable[[str, str, int], None]
"""Counts bytes of an installation (tenant, installation, bytes); raises when its quota was used up before."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REPEATABLE = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT"})
_USER_AGENT = "Jackfield"
_PIECES = 1_000
_PIECE_BYTES = 64
"""A body in smaller pieces than this on average, after the first thousand, is made to burn the node's time."""
_BREATH = 64
"""Pieces after which others get their turn."""


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request on the way through redirects, as the plugin sees it: handles stand where secrets go."""

    method: str
    target: Target
    headers: Headers
    body: bytes


@dataclass(slots=True)
class _Traffic:
    sent: int = 0
    received: int = 0


class Egress:
    """Sends requests. One per node; `close` it at the end.

    Args:
        charge: Told of all bytes; none are charged when absent.
        resolver: Looks names up; as the settings say when absent.
        tracing: Makes spans of requests; none when absent.

    Raises:
        ValueError: The settings allow what is no network, address or host.
    """

    def __init__(
        self,
        settings: EgressSettings | None = None,
        *,
        charge: Charge | None = None,
        resolver: Resolver | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings = settings or EgressSettings()
        self._charge = charge
        self._tracing = tracing
        self._told = HostPolicy("", "", settings.trace_hosts)
        self._allowed = Allowed(settings.allowed)
        self._connections = Connections(settings, resolver or resolver_of(settings.resolver), self._allowed)
        self._rates = Rates(
            settings.requests_per_minute, settings.concurrency, settings.tenant_concurrency, settings.node_concurrency
        )
        self._buffered = 0

    async def send(
        self,
        request: OutboundRequest,
        policy: HostPolicy,
        *,
        secrets: Sequence[InjectedSecret] = (),
        payer: Payer | None = None,
    ) -> OutboundResponse:
        """Send one request, and follow redirects; every hop is checked like the first.

        Args:
            secrets: Those that the request refers to, and those that are to be hidden in what comes back.

        Raises:
            UrlRefusedError, RequestRefusedError: It is not one that is sent.
            HostNotGrantedError: The policy does not cover it.
            AddressRefusedError: The host is not on the public internet.
            SecretRefusedError: A secret is not for this host.
            EgressError: It could not be done; `HostUnreachableError`, `EgressTimeoutError` and others say why.
            ResponseRefusedError, ResponseTooLargeError, RedirectRefusedError: What came back is not taken.
            QuotaExceededError: The minute's bytes are used up.
        """
        hop = self._first(request, policy)
        with self._span(hop, policy) as say_status:
            response = await self._send(request, hop, policy, secrets, payer)
            say_status(response.status)
        return response

    @contextlib.contextmanager
    def _span(self, hop: _Hop, policy: HostPolicy) -> Generator[Callable[[int], None]]:
        """A span of a request, redirects included; what it gives is told the status. Without path and query: those may
        hold what is not for the spans."""
        tracing = self._tracing
        if tracing is None:
            yield lambda _status: None
            return
        about = {
            "jackfield.tenant": policy.tenant_id, "jackfield.installation": policy.installation_id,
            "http.request.method": hop.method, "server.address": hop.target.host, "server.port": hop.target.port,
        }  # fmt: skip
        with tracing.span(f"HTTP {hop.method}", about, kind="client") as span:

            def say_status(status: int) -> None:
                span.set_attribute("http.response.status_code", status)
                if status >= 400:
                    tracing.failed(span, str(status))

            try:
                yield say_status
            except JackfieldError as error:
                span.set_attribute("error.type", error.code)
                tracing.failed(span, error.code)
                raise

    async def _send(
        self,
        request: OutboundRequest,
        hop: _Hop,
        policy: HostPolicy,
        secrets: Sequence[InjectedSecret],
        payer: Payer | None,
    ) -> OutboundResponse:
        traffic = _Traffic()
        total_s = min(request.timeout_s or self._settings.total_s, self._settings.total_s)
        self._rates.enter(policy.tenant_id, policy.installation_id)
        try:
            if self._charge is not None:
                # Whoever has used up their bytes does not send any more.
                self._charge(policy.tenant_id, policy.installation_id, 0)
            async with asyncio.timeout(total_s):
                return await self._follow(request, hop, policy, Injection(secrets), traffic)
        except TimeoutError as error:
            raise EgressTimeoutError(f"the request took longer than {total_s:g} s") from error
        finally:
            self._rates.leave(policy.tenant_id, policy.installation_id)
            self._settle(policy, traffic.sent + traffic.received, payer)

    def check(self, request: OutboundRequest, policy: HostPolicy) -> str:
        """Look at a request without sending it; the pattern of the policy that covers it.

        Raises:
            UrlRefusedError, RequestRefusedError, HostNotGrantedError: As `send`.
        """
        return self._check_granted(self._first(request, policy).target, policy)

    async def close(self) -> None:
        """Close what connections are kept."""
        self._connections.close()

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _first(self, request: OutboundRequest, policy: HostPolicy) -> _Hop:
        if request.method not in METHODS:
            raise RequestRefusedError(f"the method is none of {', '.join(sorted(METHODS))}")
        if len(request.body) > self._settings.request_bytes:
            raise RequestRefusedError(f"the body has more than {self._settings.request_bytes} bytes")
        target = parse_url(request.url)
        self._check_granted(target, policy)
        headers = checked_request_headers(request.headers, self._settings.headers, self._settings.header_bytes)
        return _Hop(request.method, target, headers, request.body)

    def _check_granted(self, target: Target, policy: HostPolicy) -> str:
        pattern = policy.covering(target.scheme, target.host, target.port, plain_http=self._settings.plain_http)
        if pattern is None:
            raise HostNotGrantedError(permission_for(*target.origin))
        return pattern

    def _next(self, hop: _Hop, status: int, location: str, policy: HostPolicy, injection: Injection) -> _Hop:
        """Where a redirect leads.

        Raises:
            RedirectRefusedError: Nowhere that we go.
        """
        try:
            target = resolve_location(hop.target, location)
        except UrlRefusedError as error:
            raise RedirectRefusedError(f"a redirect is not followed: {error}") from error
        try:
            self._check_granted(target, policy)
        except HostNotGrantedError as error:
            raise RedirectRefusedError(f"a redirect leads to `{target.host}`, and {error}") from error
        if hop.target.scheme == "https" and target.scheme != "https":
            raise RedirectRefusedError("a redirect leads from https to http", hint="")
        method, headers, body = hop.method, hop.headers, hop.body
        if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
            method, body = "GET", b""
            headers = tuple((name, value) for name, value in headers if not name.lower().startswith("content-"))
        if target.origin != hop.target.origin:
            headers = kept_across_hosts(headers)
            if injection.mentions(body) or injection.mentions(target.path):
                raise RedirectRefusedError("a redirect leads to another host, and a secret would go with it", hint="")
        return _Hop(method, target, headers, body)

    # -- doing ---------------------------------------------------------------------------------------------------------

    async def _follow(
        self, request: OutboundRequest, hop: _Hop, policy: HostPolicy, injection: Injection, traffic: _Traffic
    ) -> OutboundResponse:
        limit = min(request.max_response_bytes or self._settings.response_bytes, self._settings.response_bytes)
        most = min(request.max_redirects, self._settings.redirects)
        for redirects in range(most + 1):
            try:
                status, headers, body = await self._exchange(hop, policy, injection, limit, traffic)
            except (AddressRefusedError, SecretRefusedError) as error:
                if not redirects:
                    raise
                raise RedirectRefusedError(f"a redirect is not followed: {error}") from error
            location = next((value for name, value in headers if name == "location"), None)
            if status not in _REDIRECTS or location is None or not request.max_redirects:
                return OutboundResponse(
                    status, hop.target.url, headers, body, traffic.sent, traffic.received, redirects
                )
            hop = self._next(hop, status, location, policy, injection)
        raise RedirectRefusedError(f"more than {most} redirects", hint="")

    async def _exchange(
        self, hop: _Hop, policy: HostPolicy, injection: Injection, limit: int, traffic: _Traffic
    ) -> tuple[int, Headers, bytes]:
        """One hop."""
        target = hop.target
        is_private = self._allowed.names(target.host, target.port, target.address)
        # Before anything is connected: a handle in the wrong place must not even open a connection.
        filled = injection.fill(target, hop.headers, hop.body, is_private=is_private)
        connection = await self._connections.take(policy, target)
        try:
            return await self._converse(connection, hop, filled, injection, limit, traffic)
        except HostUnreachableError:
            # One that was kept may be closed at the other end at any moment.
            if connection.is_fresh or hop.method not in _REPEATABLE:
                raise
        connection = await self._connections.take(policy, target, fresh=True)
        return await self._converse(connection, hop, filled, injection, limit, traffic)

    async def _converse(
        self, connection: Connection, hop: _Hop, filled: Filled, injection: Injection, limit: int, traffic: _Traffic
    ) -> tuple[int, Headers, bytes]:
        wire, settings = connection.wire, self._settings
        sent, received = wire.sent_bytes, wire.received_bytes
        # What frames a body, and what comes before it, is bounded together with it.
        wire.allow(limit + limit // 8 + 2 * settings.header_bytes)
        try:
            asked = _headers(hop, filled, self._traceparent(hop.target))
            head = await connection.http.ask(hop.method, filled.path, asked, filled.body)
            taken = response_headers(head.headers, settings.headers, settings.header_bytes)
            headers, body = await self._body(hop, connection.http.body(), taken, limit, is_secret=injection.is_watchful)
        finally:
            traffic.sent += wire.sent_bytes - sent
            traffic.received += wire.received_bytes - received
            self._connections.put_back(connection)
        if injection.is_watchful:
            headers = tuple((name, injection.restore_text(value)) for name, value in headers)
            restored = injection.restore(body)
            if len(restored) != len(body):
                headers = tuple(pair for pair in headers if pair[0] != "content-length")
            body = restored
        return head.status, headers, body

    def _traceparent(self, target: Target) -> str:
        is_told = bool(self._told.hosts) and self._told.allows(
            target.scheme, target.host, target.port, plain_http=self._settings.plain_http
        )
        return here() if is_told else ""

    async def _body(
        self, hop: _Hop, incoming: AsyncGenerator[bytes], headers: Headers, limit: int, *, is_secret: bool
    ) -> tuple[Headers, bytes]:
        encoding = ",".join(value for name, value in headers if name == "content-encoding")
        decoder = decoder_of(encoding, limit)
        if decoder is None:
            if is_secret:
                # It may repeat the secret in a form that we cannot look into.
                raise ResponseRefusedError(f"the response is compressed by `{encoding[:40]}`, which was not asked for")
            decoder = decoder_of("", limit)
            assert decoder is not None  # noqa: S101  # nothing to undo can always be undone
        elif encoding:
            headers = tuple(pair for pair in headers if pair[0] not in ("content-encoding", "content-length"))
        parts: list[bytes] = []
        size = pieces = raw = 0
        try:
            async with contextlib.aclosing(incoming) as pieces_of:
                async for piece in pieces_of:
                    pieces += 1
                    raw += len(piece)
                    if pieces > _PIECES and raw < pieces * _PIECE_BYTES:
                        raise ResponseRefusedError("the response comes in too many small pieces")
                    if pieces % _BREATH == 0:
                        await asyncio.sleep(0)
                    out = decoder.feed(piece)
                    parts.append(out)
                    size += len(out)
                    self._buffered += len(out)
                    if self._buffered > self._settings.buffered_bytes:
                        raise EgressBusyError("the node holds as many bytes of responses as it may")
            if hop.method != "HEAD":
                decoder.finish()
            return headers, b"".join(parts)
        finally:
            self._buffered -= size

    def _settle(self, policy: HostPolicy, size: int, payer: Payer | None) -> None:
        if payer is not None:
            payer.egress_bytes += size
        if self._charge is not None and size:
            # What was under way was let through to its end.
            with contextlib.suppress(JackfieldError):
                self._charge(policy.tenant_id, policy.installation_id, size)


def _headers(hop: _Hop, filled: Filled, traceparent: str) -> list[tuple[bytes, bytes]]:
    target = hop.target
    headers = [("Host", target.authority), *_without(filled.headers, "accept-encoding")]
    names = {name.lower() for name, _ in headers}
    if "user-agent" not in names:
        headers.append(("User-Agent", _USER_AGENT))
    if "accept" not in names:
        headers.append(("Accept", "*/*"))
    if traceparent and "traceparent" not in names:
        headers.append(("traceparent", traceparent))
    # What the plugin's library would undo is the broker's to undo, since it counts.
    headers.append(("Accept-Encoding", ACCEPTED))
    if filled.body or hop.method in ("PATCH", "POST", "PUT"):
        headers.append(("Content-Length", str(len(filled.body))))
    return encoded(headers)


def _without(headers: Headers, name: str) -> Headers:
    return tuple(pair for pair in headers if pair[0].lower() != name)
