"""A channel without a socket: what the guest sends is encoded, decoded and answered on the spot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from jackfield_sdk import wire
from jackfield_sdk.guest import Channel

__all__ = ["MemoryChannel"]


class MemoryChannel(Channel):
    """Both ends in one process, all of it through the wire's encoding: what does not fit the wire does not fit here.

    Args:
        broker: Answers capability calls.
        log: Takes the plugin's log lines.
    """

    def __init__(self, broker: Callable[[wire.HostCall], wire.HostReply], log: Callable[[wire.Log], None]) -> None:
        super().__init__(-1)
        self._broker = broker
        self._write = log
        self._answers: deque[wire.Ready | wire.Result] = deque()

    def put(self, message: wire.ToGuest) -> None:
        """Hand the guest a message."""
        self._frames.extend(wire.FrameReader().feed(wire.frame(message)))

    def take(self) -> wire.Ready | wire.Result:
        """The guest's answer."""
        return self._answers.popleft()

    def receive(self) -> wire.ToGuest | None:
        """The next message, or None when there is none."""
        return wire.decode_to_guest(self._frames.popleft()) if self._frames else None

    def send(self, message: wire.ToNode) -> None:
        """Decode a message as the node does, and see to it."""
        for frame in wire.FrameReader().feed(wire.frame(message)):
            decoded = wire.decode_to_node(frame)
            if isinstance(decoded, wire.HostCall):
                self.put(self._broker(decoded))
            elif isinstance(decoded, wire.Log):
                self._write(decoded)
            else:
                self._answers.append(decoded)
