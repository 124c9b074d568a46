"""Runs an ASGI application under uvicorn, on uvloop, as one process."""

from __future__ import annotations

import gc
import socket
import sys
from typing import Any

import uvicorn

from jackfield import telemetry

__all__ = ["calm_collector", "serve"]


_THRESHOLDS = (20_000, 20, 100)


def calm_collector() -> None:
    """Once a process is up: keep the garbage collector from holding calls up.

    What is there stays, so looking through it in every full collection finds nothing and takes a tenth of a second. And
    calls make and drop so many objects that the collector's own thresholds have it look several times a second. For the
    process of `serve`; a host that embeds the platform may call it too.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(*_THRESHOLDS)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        calm_collector()


def serve(app: Any, host: str, port: int) -> int:
    """Serve until SIGINT or SIGTERM; the exit status.

    The port is taken before anything is started, so that a busy one is said at once and in one line.
    """
    telemetry.configure()
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        print(f"error: cannot listen on {host}:{port}: {error.strerror}", file=sys.stderr)
        print("hint: stop what uses the port, or take another with --port", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app, loop="uvloop", http="auto", lifespan="on", log_config=None,
        access_log=False, server_header=False, timeout_graceful_shutdown=10,
    )  # fmt: skip
    server = _Server(config)
    with listener:
        server.run(sockets=[listener])
    return 0 if server.started else 1
