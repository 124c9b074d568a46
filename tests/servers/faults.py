"""A server that goes wrong in one way, whatever it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

__all__ = ["ANSWERS", "going_wrong"]

ANSWERS: dict[str, bytes] = {
    "unauthorized": b'HTTP/1.1 401 No\r\nContent-Length: 18\r\n\r\n{"error":"no tok"}',
    "forbidden": b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\n{}",
    "failing": b"HTTP/1.1 500 Oh\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<h1>trace</h1>",
    "gateway": b"HTTP/1.1 504 Slow\r\nContent-Length: 0\r\n\r\n",
    "busy": b"HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}",
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
    "truncated-json": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n[{"ident": 1, ',
    "truncated-http": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[{"ident"',
    "not-http": b"220 mail.example.com ESMTP\r\n",
    "redirect": b"HTTP/1.1 302 Gone\r\nLocation: http://127.0.0.1:9/secret?token=x\r\nContent-Length: 0\r\n\r\n",
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + b"[" * 2000 + b"]" * 2000,
    "nan": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[NaN]",
    "scalar": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "large": b"HTTP/1.1 200 OK\r\nContent-Length: 6000002\r\n\r\n[" + b" " * 6_000_000 + b"]",
    "silent": b"",
    "closed": b"",
}
"""Name → the whole answer; a silent one never comes, a closed one ends the connection."""


@contextlib.contextmanager
def going_wrong(name: str) -> Iterator[str]:
    """Its URL."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    port = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWERS[name])
            await writer.drain()
            if name == "silent":
                await reader.read()
        writer.close()

    async def start() -> asyncio.Server:
        nonlocal port
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        started.set()
        return server

    def run() -> None:
        server = loop.run_until_complete(start())
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
