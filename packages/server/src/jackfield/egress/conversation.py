"""HTTP/1.1 over a wire: one request after the other, each with its whole response before the next begins."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import h11

from jackfield.egress.errors import HostUnreachableError, ResponseRefusedError
from jackfield.egress.wires import Wire

__all__ = ["Conversation", "Head"]

_READ_BYTES = 64 * 1024
_INFORMATIONAL = 8
"""Responses of the kind `103 Early Hints` before the true one."""


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before a body."""

    status: int
    headers: list[tuple[bytes, bytes]]


class Conversation:
    """On one connection.

    Args:
        header_bytes: The most that may come before a body, or in one chunk's head.
    """

    def __init__(self, wire: Wire, header_bytes: int) -> None:
        self._wire = wire
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=header_bytes)
        self._has_answer = False

    @property
    def is_ready(self) -> bool:
        """Whether another request may be sent: the last response ended where it should, and nothing came after it."""
        return self._state.our_state is h11.IDLE and not self._state.trailing_data[0] and self._wire.is_quiet

    async def ask(self, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Head:
        """Send a request, and wait for the head of its response.

        Raises:
            HostUnreachableError: The connection is closed.
            ResponseRefusedError: What comes is no HTTP.
        """
        self._has_answer = False
        request = h11.Request(method=method, target=path, headers=headers)
        data = [self._state.send(request), self._state.send(h11.Data(body)) if body else b""]
        data.append(self._state.send(h11.EndOfMessage()))
        try:
            await self._wire.write(b"".join(part for part in data if part))
        except HostUnreachableError:
            # It may have answered before it closed: `413` is often said like that.
            if not self._wire.has_more:
                raise
        for _ in range(_INFORMATIONAL + 1):
            event = await self._next()
            if isinstance(event, h11.Response):
                return Head(event.status_code, list(event.headers))
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                break
        raise ResponseRefusedError("the host wants to speak something else than HTTP/1.1")

    async def body(self) -> AsyncGenerator[bytes]:
        """The response's body, in pieces; afterwards the connection is ready for another request, or closed.

        Raises:
            ResponseRefusedError: It is cut off or damaged.
        """
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise ResponseRefusedError("the response is damaged")
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self._state.next_event()
                if event is not h11.NEED_DATA:
                    self._has_answer = True
                    return event  # pyright: ignore[reportReturnType]  # NEED_DATA is excluded by the line above
                data = await self._wire.read(_READ_BYTES)
                if not data and not self._has_answer and not self._state.trailing_data[0]:
                    raise HostUnreachableError("the connection was closed without an answer")
                self._state.receive_data(data)
            except h11.RemoteProtocolError as error:
                raise ResponseRefusedError("the host does not speak HTTP/1.1 as it should") from error
