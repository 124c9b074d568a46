"""The demo as a process of its own, started and stopped as a person would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

__all__ = ["Demo", "running_demo"]

_START_S = 90.0
_STOP_S = 30.0


@dataclass(frozen=True)
class Demo:
    """A running demo."""

    data: Path
    process: subprocess.Popen[bytes]

    @property
    def facts(self) -> dict[str, Any]:
        """What `demo.json` says."""
        return json.loads((self.data / "demo.json").read_bytes())

    @property
    def url(self) -> str:
        return self.facts["url"]

    def token(self, tenant_id: str, role: str) -> str:
        """A token of one of its tenants."""
        (tenant,) = [tenant for tenant in self.facts["tenants"] if tenant["id"] == tenant_id]
        return tenant["tokens"][role]

    def api(self, token: str) -> httpx.Client:
        """A client of the platform's API."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_S)


@contextmanager
def running_demo(data: Path) -> Iterator[Demo]:
    """Start the demo on a free port, with its data in a folder, and stop it afterwards."""
    log = data.parent / f"{data.name}.log"
    started_at = time.time_ns()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "corner_shop", "--data", str(data), "--port", "0"],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
    demo = Demo(data, process)
    try:
        _wait(demo, started_at, log)
        yield demo
    finally:
        if process.poll() is None:
            demo.stop()


def _wait(demo: Demo, started_at: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    file = demo.data / "demo.json"
    while not (file.exists() and file.stat().st_mtime_ns >= started_at):
        try:
            status = demo.process.wait(0.05)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, log.read_text(errors="replace")
        else:
            raise AssertionError(f"the demo ended with {status}: {log.read_text(errors='replace')}")
