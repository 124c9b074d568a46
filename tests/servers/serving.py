"""Real HTTP servers on loopback, for tests of what goes out to the network: an ASGI application, run by uvicorn."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn

__all__ = ["App", "serving", "silent_port"]

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application on a port of its own, in a thread with a loop of its own; its URL, without a slash at the end."""
    # Told the protocol, asyncio sends small answers at once instead of waiting for more of them.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    settings = uvicorn.Config(app, log_level="critical", lifespan="off", loop="asyncio", http="h11", ws="none")
    server = uvicorn.Server(settings)
    server.force_exit = False
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(timeout=10)
        listening.close()


@contextlib.contextmanager
def silent_port() -> Iterator[str]:
    """The URL of a port that nobody listens on."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
    finally:
        taken.close()
