"""Connections that are kept for the next request: of one installation to one origin, never shared with another's."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from dataclasses import dataclass

import certifi

from jackfield.egress.addresses import Allowed
from jackfield.egress.conversation import Conversation
from jackfield.egress.errors import EgressTimeoutError
from jackfield.egress.policy import HostPolicy
from jackfield.egress.resolving import Resolver, checked_addresses
from jackfield.egress.urls import Target
from jackfield.egress.wires import Wire, connect
from jackfield.settings import EgressSettings

__all__ = ["Connection", "Connections"]

_Key = tuple[str, str, str, str, int]
_OF_ONE = 4
"""Idle ones of one installation to one origin."""
_OF_ALL = 512


@dataclass(slots=True)
class Connection:
    """One connection.

    Attributes:
        is_fresh: Nothing was sent on it before.
    """

    key: _Key
    http: Conversation
    wire: Wire
    made_at: float
    idle_at: float
    is_fresh: bool = True


class Connections:
    """Makes, keeps and closes them."""

    def __init__(self, settings: EgressSettings, resolver: Resolver, allowed: Allowed) -> None:
        self._settings = settings
        self._resolver = resolver
        self._allowed = allowed
        self._idle: dict[_Key, deque[Connection]] = {}
        self._count = 0
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def take(self, policy: HostPolicy, target: Target, *, fresh: bool = False) -> Connection:
        """A connection for one request; give it to `put_back` or `drop` afterwards.

        Args:
            fresh: Do not use one again.

        Raises:
            AddressRefusedError, HostUnreachableError, EgressTimeoutError: There is no way there.
        """
        key = (policy.tenant_id, policy.installation_id, *target.origin)
        while not fresh and (found := self._pop(key)) is not None:
            if self._is_usable(found, time.monotonic()):
                found.is_fresh = False
                return found
            found.wire.abort()
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connect_s):
                addresses = await checked_addresses(target, self._resolver, self._allowed)
        except TimeoutError as error:
            raise EgressTimeoutError(f"`{target.host}` cannot be looked up in {settings.connect_s:g} s") from error
        tls = self._context() if target.scheme == "https" else None
        wire = await connect(target, addresses, tls, connect_s=settings.connect_s, read_s=settings.read_s)
        now = time.monotonic()
        # Twice, so that it is we who say that there were too many.
        return Connection(key, Conversation(wire, 2 * settings.header_bytes), wire, now, now)

    def put_back(self, connection: Connection) -> None:
        """Keep it, if it is fit for another request."""
        connection.idle_at = time.monotonic()
        idle = self._idle.setdefault(connection.key, deque())
        if not self._is_usable(connection, connection.idle_at) or len(idle) >= _OF_ONE or self._count >= _OF_ALL:
            if not idle:
                del self._idle[connection.key]
            connection.wire.abort()
            return
        idle.append(connection)
        self._count += 1
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._settings.idle_s + 0.1, self._close_old)

    def drop(self, connection: Connection) -> None:
        """Close it."""
        connection.wire.abort()

    def close(self) -> None:
        """Close those that are kept."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for idle in self._idle.values():
            for connection in idle:
                connection.wire.abort()
        self._idle.clear()
        self._count = 0

    def _pop(self, key: _Key) -> Connection | None:
        idle = self._idle.get(key)
        if idle is None:
            return None
        self._count -= 1
        found = idle.pop()
        if not idle:
            del self._idle[key]
        return found

    def _is_usable(self, connection: Connection, now: float) -> bool:
        settings = self._settings
        return (
            connection.http.is_ready
            and now - connection.idle_at <= settings.idle_s
            and now - connection.made_at <= settings.connection_s
        )

    def _close_old(self) -> None:
        self._sweep = None
        now = time.monotonic()
        for key, idle in list(self._idle.items()):
            kept = deque(one for one in idle if self._is_usable(one, now))
            for one in idle:
                if one not in kept:
                    one.wire.abort()
            self._count -= len(idle) - len(kept)
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(self._settings.idle_s / 2 + 0.1, self._close_old)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            # The authorities by name: what the environment says of them (`SSL_CERT_FILE`) does not count here.
            self._tls = ssl.create_default_context(cafile=certifi.where())
            if self._settings.ca_file is not None:
                self._tls.load_verify_locations(self._settings.ca_file)
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls
