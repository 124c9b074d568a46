"""`python -m corner_shop --data DIR --port N`: run the demo."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop

from corner_shop.demo import Demo
from corner_shop.extension import PackError, PlatformError, configure_logging

_PLUGINS = Path(__file__).resolve().parents[4] / "plugins"


class _Server(uvicorn.Server):
    """Says when it answers, and ends when it is asked to.

    uvicorn's own handler raises the signal once more when the server is down, which would kill the process before the
    platform has stopped its isolates and written its journal.
    """

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], farewell: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self._farewell = farewell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._farewell()  # pages that listen would be waited for
        self.force_exit = self.should_exit
        self.should_exit = True


def main() -> int:
    """Parse the command line and run until a signal comes."""
    parser = argparse.ArgumentParser(
        prog="python -m corner_shop", description="A shop and a clinic, extended by plugins."
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where everything is kept")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="0 takes a free one (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--plugins", type=Path, default=_PLUGINS, metavar="DIR", help="folder with the demo's plugins")
    arguments = parser.parse_args()
    # What is made here is readable by this user alone: keys, tokens, the database.
    os.umask(0o077)
    try:
        listener = socket.create_server((arguments.host, arguments.port))
    except OSError as error:
        print(f"Cannot listen on {arguments.host}:{arguments.port}: {os.strerror(error.errno or 0)}.", file=sys.stderr)
        return 1
    configure_logging()
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = 0
        try:
            runner.run(_run(arguments.data, arguments.plugins, listener))
        except* (PlatformError, PackError) as failures:
            status = 1
            for error in failures.exceptions:
                print(f"The demo cannot start: {error} {getattr(error, 'hint', '')}".strip(), file=sys.stderr)
    return status


async def _run(data: Path, plugins: Path, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    async with Demo(data, host=host, port=port, plugins=plugins) as demo:
        config = uvicorn.Config(
            demo.app,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=5,
            server_header=False,
            access_log=False,
        )
        await _Server(config, demo.announce, demo.farewell).serve(sockets=[listener])
    print("Stopped.", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
