"""A message there and back between two processes over a socketpair: what no call into another process can beat.

Usage: `ping.py blocking` (the parent blocks in `recv`), `ping.py loop` (the parent is an event loop, as our node is).
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from time import perf_counter

import uvloop
from rounds import answer_rounds

MESSAGE = b"x" * 64


def start_echo() -> socket.socket:
    """Fork a child that sends back whatever it gets, and ends with the channel."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while message := theirs.recv(4096):
            theirs.sendall(message)
        os._exit(0)
    theirs.close()
    return ours


def blocking(channel: socket.socket, count: int) -> list[float]:
    """Seconds of each ping."""
    times: list[float] = []
    for _ in range(count):
        start = perf_counter()
        channel.sendall(MESSAGE)
        channel.recv(4096)
        times.append(perf_counter() - start)
    return times


class Ping(asyncio.Protocol):
    """One ping in flight."""

    answer: asyncio.Future[None]

    def data_received(self, data: bytes) -> None:
        """The pong."""
        self.answer.set_result(None)


class LoopPing:
    """The same, awaited in an event loop: a future and two trips through the selector are added."""

    def __init__(self, channel: socket.socket) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._loop = self._runner.get_loop()
        channel.setblocking(False)
        self._transport, self._ping = self._runner.run(self._open(channel))

    async def _open(self, channel: socket.socket) -> tuple[asyncio.Transport, Ping]:
        return await self._loop.create_connection(Ping, sock=channel)

    async def _sample(self, count: int) -> list[float]:
        times: list[float] = []
        for _ in range(count):
            start = perf_counter()
            self._ping.answer = self._loop.create_future()
            self._transport.write(MESSAGE)
            await self._ping.answer
            times.append(perf_counter() - start)
        return times

    def sample(self, count: int) -> list[float]:
        """Seconds of each ping."""
        return self._runner.run(self._sample(count))


if __name__ == "__main__":
    echo = start_echo()
    if sys.argv[1] == "loop":
        answer_rounds(LoopPing(echo).sample)
    else:
        answer_rounds(lambda count: blocking(echo, count))
