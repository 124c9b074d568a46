"""Runs an ASGI application under uvicorn, on uvloop, as one process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal

import structlog
import uvicorn

from jackfield import telemetry
from jackfield.http import origin
from jackfield.tracing import here, span_id_of, trace_id_of

__all__ = ["calm_collector", "serve"]


_log = structlog.get_logger("jackfield")

_THRESHOLDS = (20_000, 20, 100)
_TICK_S = 1.0
"""How often the header with the date is made anew."""
_SAME_S = 0.5
"""Within which the same signal twice is one."""


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
    def __init__(self, config: uvicorn.Config, drain: Callable[[], None] | None, drain_s: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s
        self._is_asked = False
        self._last: tuple[int, float] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_told = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal. The first SIGTERM has the node say that it is about to stop; any other one stops it now. One more,
        while it stops, ends the process: what is left undone is what a node leaves that dies, and others take it up."""
        now = time.monotonic()
        if self._last is not None and self._last[0] == sig and now - self._last[1] < _SAME_S:
            return  # `timeout` and others tell the process and its group, which is the process again
        self._last = (sig, now)
        if self.should_exit:
            _log.warning("stopped-by-force")
            os._exit(128 + sig)
        if sig == signal.SIGTERM and not self._is_asked and self._drain is not None and self._loop is not None:
            self._is_asked = True
            self._drain()
            self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_s, self._stop_later, sig, frame)
        else:
            if self._drain is not None:
                self._drain()  # answers that have no end would be waited for
            self._exit(sig, frame)

    def _stop_later(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._exit(sig, frame)

    def _exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._is_told.set)

    async def main_loop(self) -> None:
        """Until a signal. uvicorn's own loop looks ten times a second whether there was one."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._is_told.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        calm_collector()


def serve(
    app: Any,
    host: str,
    port: int,
    *,
    drain: Callable[[], None] | None = None,
    drain_s: float = 0.0,
    shutdown_s: float = 30.0,
    node_id: str = "",
    log_form: Literal["auto", "console", "json"] = "auto",
    log_level: str = "info",
) -> int:
    """Serve until SIGINT or SIGTERM; the exit status.

    The port is taken before anything is started, so that a busy one is said at once and in one line.

    Args:
        drain: Called at SIGTERM, `drain_s` seconds before no more connections are taken.
        shutdown_s: How long requests that have begun may take from then on.
        node_id: What each line of the log has as `node`.
        log_form: By itself it is `console` on a terminal, else `json`.
    """
    form = ("console" if sys.stderr.isatty() else "json") if log_form == "auto" else log_form

    def fields() -> dict[str, str]:
        found, traceparent = {"node": node_id}, here()
        if traceparent:
            found |= {"trace_id": trace_id_of(traceparent) or "", "span_id": span_id_of(traceparent) or ""}
        request = origin()
        if request is not None and request.caller is not None and request.caller.tenant_id is not None:
            found["tenant_id"] = request.caller.tenant_id
        return found

    telemetry.configure(form=form, level=logging.getLevelNamesMapping()[log_level.upper()], fields=fields)
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
        access_log=False, server_header=False, timeout_graceful_shutdown=int(shutdown_s),
    )  # fmt: skip
    server = _Server(config, drain, drain_s)
    with listener:
        server.run(sockets=[listener])
    return 0 if server.started else 1
