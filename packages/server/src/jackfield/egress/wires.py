"""A connection to an address that was checked: bytes in both directions, counted and bounded in time."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import cast

from jackfield.egress.errors import EgressTimeoutError, HostUnreachableError, ResponseTooLargeError
from jackfield.egress.urls import IpAddress, Target

__all__ = ["Wire", "connect"]

_HIGH_BYTES = 256 * 1024
_TRIED = 4
"""Addresses of one host that are tried."""


class _Protocol(asyncio.Protocol):
    """Keeps what has come until it is read. Not a `StreamReader`: that does not say whether anything has come unasked,
    which is how one answer is made to pass for the next one's."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.is_closed = False
        self.transport: asyncio.Transport | None = None
        self._is_paused = False
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > _HIGH_BYTES and not self._is_paused and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()
        _wake(self._readable)

    def eof_received(self) -> bool:
        self.is_closed = True
        _wake(self._readable)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        _wake(self._readable)
        _wake(self._writable)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    async def take(self, most: int) -> bytes:
        while not self.buffer and not self.is_closed:
            self._readable = asyncio.get_running_loop().create_future()
            try:
                await self._readable
            finally:
                self._readable = None
        data = bytes(self.buffer[:most])
        del self.buffer[:most]
        if self._is_paused and len(self.buffer) < _HIGH_BYTES and self.transport is not None and not self.is_closed:
            self._is_paused = False
            self.transport.resume_reading()
        return data

    async def drain(self) -> None:
        if self._writable is not None:
            await self._writable


class Wire:
    """Reads and writes.

    Attributes:
        sent_bytes, received_bytes: Since the beginning, within TLS.
        left_bytes: How much may still be received.
    """

    def __init__(self, protocol: _Protocol, read_s: float) -> None:
        self._protocol = protocol
        self._read_s = read_s
        self.sent_bytes = 0
        self.received_bytes = 0
        self.left_bytes = 0
        self.limit_bytes = 0

    @property
    def is_quiet(self) -> bool:
        """Open, and nothing has come that nobody asked for."""
        return not self._protocol.is_closed and not self._protocol.buffer

    def allow(self, size: int) -> None:
        """How much the next response may have on the wire."""
        self.left_bytes = self.limit_bytes = size

    @property
    def has_more(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(self._protocol.buffer)

    async def read(self, max_bytes: int) -> bytes:
        """What comes next; nothing at the end.

        Raises:
            EgressTimeoutError: Nothing comes.
            ResponseTooLargeError: More came than was allowed.
        """
        try:
            async with asyncio.timeout(self._read_s):
                data = await self._protocol.take(max_bytes)
        except TimeoutError as error:
            raise EgressTimeoutError(f"nothing has come for {self._read_s:g} s") from error
        self.received_bytes += len(data)
        self.left_bytes -= len(data)
        if self.left_bytes < 0:
            raise ResponseTooLargeError(self.limit_bytes)
        return data

    async def write(self, buffer: bytes) -> None:
        """Send all of it.

        Raises:
            HostUnreachableError: The connection is closed.
            EgressTimeoutError: The other side does not take it.
        """
        transport = self._protocol.transport
        if transport is None or self._protocol.is_closed:
            raise HostUnreachableError("the connection was closed")
        transport.write(buffer)
        self.sent_bytes += len(buffer)
        try:
            async with asyncio.timeout(self._read_s):
                await self._protocol.drain()
        except TimeoutError as error:
            raise EgressTimeoutError(f"nothing could be sent for {self._read_s:g} s") from error

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._protocol.transport is not None:
            self._protocol.transport.abort()


async def connect(
    target: Target, addresses: Sequence[IpAddress], tls: ssl.SSLContext | None, *, connect_s: float, read_s: float
) -> Wire:
    """Connect to one of the addresses, and speak TLS with the host's name.

    Raises:
        HostUnreachableError: Nobody answers, or with another's certificate.
        EgressTimeoutError: Not in time.
    """
    is_late = False
    for address in addresses[:_TRIED]:
        try:
            return Wire(await _connect(target, address, tls, connect_s), read_s)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or "no common protocol"
            raise HostUnreachableError(f"`{target.host}` cannot be trusted: {reason}") from error
        except TimeoutError:
            is_late = True
        except OSError:
            continue
    if is_late:
        raise EgressTimeoutError(f"`{target.host}` does not answer within {connect_s:g} s")
    raise HostUnreachableError(f"`{target.host}` does not take connections on port {target.port}")


async def _connect(target: Target, address: IpAddress, tls: ssl.SSLContext | None, connect_s: float) -> _Protocol:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    channel = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        async with asyncio.timeout(connect_s):
            # A number, so that nothing is looked up a second time.
            await loop.sock_connect(channel, (str(address), target.port))
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(connect_s):
            _, protocol = await loop.create_connection(
                _Protocol, sock=channel, ssl=tls, server_hostname=target.host if tls is not None else None
            )
    except BaseException:
        channel.close()
        raise
    return protocol


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
