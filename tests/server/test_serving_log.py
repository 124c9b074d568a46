"""The log of a real node: each line is JSON and says which node and which trace, and none has a secret."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

TRACE = "0af7651916cd43dd8448eb211c80319c"
CANARY = "jf_owner_" + "c4n4ry" * 6


def test_each_line_of_a_nodes_log_is_whole_and_has_no_secret(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JACKFIELD_LOG_LEVEL": "debug", "JACKFIELD_METRICS_TOKEN": "the-canary-of-metrics"}
    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen(
            [sys.executable, "-m", "jackfield", "serve", "--data", str(tmp_path / "data"), "--port", str(port),
             "--isolation", "none"],
            stdout=subprocess.DEVNULL, stderr=log, env=environment,
        )  # fmt: skip
        try:
            # The port is taken before anything starts, so that this waits for the node.
            transport = httpx.HTTPTransport(retries=12)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=60) as http:
                assert http.get("/api/health").status_code == 200
                headers = {"authorization": f"Bearer {CANARY}", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
                assert http.get(f"/api/plugins/%0a{CANARY}?token={CANARY}", headers=headers).status_code == 401
                metrics = http.get("/metrics", headers={"authorization": "Bearer the-canary-of-metrics"})
                assert "jackfield_breakers_open 0.0" in metrics.text
                assert "jackfield_delivery_lag_seconds_count 0.0" in metrics.text
            node.send_signal(signal.SIGTERM)
            assert node.wait(60) in (0, -signal.SIGTERM)
        finally:
            node.kill()
            node.wait()
    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"ready"} <= {line["event"] for line in lines}
    assert len({line["node"] for line in lines}) == 1
    assert all(line["timestamp"] and line["level"] and line["logger"] for line in lines)
    assert not {line["logger"] for line in lines} & {"aiosqlite", "httpx"}, "what they tell may be secret"
    assert "c4n4ry" not in text
    assert "canary-of-metrics" not in text
