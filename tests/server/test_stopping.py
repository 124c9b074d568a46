"""A real node that is asked to stop: first it says so, then it stops, and in the end it is made to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from jackfield import serving

SAME_S = serving._SAME_S  # pyright: ignore[reportPrivateUsage]  # within which a signal is one with the last


def test_a_node_is_red_while_it_drains_and_each_further_signal_is_less_patient(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "JACKFIELD_DRAIN_S": "60", "JACKFIELD_SHUTDOWN_S": "60"}
    with (tmp_path / "log").open("wb") as log, contextlib.ExitStack() as stack:
        node = subprocess.Popen(
            [sys.executable, "-m", "jackfield", "serve", "--data", str(tmp_path / "data"), "--port", str(port),
             "--isolation", "none"],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
        stack.callback(node.wait)
        stack.callback(node.kill)
        # The port is taken before anything starts, so that this waits for the node.
        http = stack.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=60, transport=httpx.HTTPTransport(retries=12),
                headers={"Connection": "close"},
            )
        )  # fmt: skip
        ready = http.get("/readyz")
        parts = {"start": "ok", "isolates": "ok", "database": "ok"}
        assert (ready.status_code, ready.json()) == (200, {"status": "ok", "parts": parts})
        # A request that never ends, for a stop to wait for.
        slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        slow.sendall(b"POST /api/plugins/x/functions/y HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")

        node.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        while http.get("/readyz").status_code != 503 or time.monotonic() - asked <= 2 * SAME_S:
            assert time.monotonic() - asked < 20
        assert http.get("/readyz").json() == {"status": "draining", "parts": {}}
        assert http.get("/healthz").status_code == 200

        node.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        while _takes_connections(port) or time.monotonic() - asked <= 2 * SAME_S:
            assert time.monotonic() - asked < 20
        assert node.poll() is None, "what has begun is waited for"

        node.send_signal(signal.SIGTERM)
        assert node.wait(10) == 128 + signal.SIGTERM
    assert "stopped-by-force" in (tmp_path / "log").read_text()


def _takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
