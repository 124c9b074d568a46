"""A message there and back between two processes over a socketpair: what no call into another process can beat.

Usage: `ping.py blocking` (the parent blocks in `recv`), `ping.py apart` (the same, each process on a CPU of its own, so
that each message wakes one up, as our calls do whenever node and isolate are not on the same) and `ping.py loop` (the
parent is an event loop, as our node is), in seconds; `ping.py rate PROCESSES` (pings per second of so many event loops,
each with eight at once).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from time import perf_counter

import uvloop
from rounds import answer_rounds

MESSAGE = b"x" * 64
AT_ONCE = 8
STRETCH_S = 0.2


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


def start_rates() -> socket.socket:
    """Fork a process with eight children and an event loop; it answers counts, and ends with the channel."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        channels = [start_echo() for _ in range(AT_ONCE)]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            while wanted := theirs.recv(64):
                rates = [runner.run(rate(channels)) for _ in range(int(wanted))]
                theirs.sendall(json.dumps(rates).encode())
        os._exit(0)
    theirs.close()
    return ours


async def rate(channels: list[socket.socket]) -> float:
    """Pings per second over all channels, one in flight on each."""
    loop = asyncio.get_running_loop()
    opened: list[tuple[asyncio.Transport, Ping]] = []
    for channel in channels:
        copy = channel.dup()
        copy.setblocking(False)
        opened.append(await loop.create_connection(Ping, sock=copy))
    start = perf_counter()

    async def caller(transport: asyncio.Transport, ping: Ping) -> int:
        pings = 0
        while perf_counter() - start < STRETCH_S:
            ping.answer = loop.create_future()
            transport.write(MESSAGE)
            await ping.answer
            pings += 1
        return pings

    pings = sum(await asyncio.gather(*(caller(transport, ping) for transport, ping in opened)))
    seconds = perf_counter() - start
    for transport, _ in opened:
        transport.close()
    return pings / seconds


def rates(processes: list[socket.socket], count: int) -> list[float]:
    """Pings per second of all processes together, in so many stretches of time."""
    for process in processes:
        process.sendall(b"%d" % count)
    answers = [json.loads(process.recv(1 << 16)) for process in processes]
    return [sum(together) for together in zip(*answers, strict=True)]


if __name__ == "__main__":
    if sys.argv[1] == "rate":
        processes = [start_rates() for _ in range(int(sys.argv[2]))]
        answer_rounds(lambda count: rates(processes, count))
    elif sys.argv[1] == "loop":
        answer_rounds(LoopPing(start_echo()).sample)
    else:
        cpus = sorted(os.sched_getaffinity(0))
        if sys.argv[1] == "apart":
            os.sched_setaffinity(0, cpus[-1:])  # the child takes it over
        echo = start_echo()
        os.sched_setaffinity(0, cpus[:1] if sys.argv[1] == "apart" else cpus)
        answer_rounds(lambda count: blocking(echo, count))
