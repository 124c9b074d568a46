"""A client that keeps a few connections busy: requests per second of one round, answers checked.

Usage: `http_load.py PORT PATH [TOKEN…]`: a connection for each token, or as many without one. `fastapi_route.py`
loads its own server with the same code.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from time import perf_counter

import uvloop
from rounds import answer_rounds

CONNECTIONS = 8
WANTED = b'"hello, ann"'


async def load(port: int, path: str, tokens: Sequence[str], count: int) -> list[float]:
    """The rate of one round of `count` requests."""
    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for token in tokens or [""] * CONNECTIONS:
            group.create_task(_connection(port, path, token, -(-count // (len(tokens) or CONNECTIONS))))
    return [count / (perf_counter() - start)]


async def _connection(port: int, path: str, token: str, count: int) -> None:
    credentials = f"authorization: Bearer {token}\r\n" if token else ""
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n{credentials}\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(size)
        if not head.startswith(b"http/1.1 200") or WANTED not in body:
            raise RuntimeError(f"another answer: {head!r} {body!r}")
    writer.close()
    await writer.wait_closed()


def serve(port: int, path: str, tokens: Sequence[str]) -> None:
    """Rounds in one event loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answer_rounds(lambda count: runner.run(load(port, path, tokens, count)))


def main() -> None:
    """Read the arguments."""
    port, path, *tokens = sys.argv[1:]
    serve(int(port), path, tokens)


if __name__ == "__main__":
    main()
