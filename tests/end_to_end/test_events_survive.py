"""Events are committed with the host's own rows, and outlive the death of everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HOST = Path(__file__).with_name("host_process.py")
ROOT = Path(__file__).parents[2]


def _host(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JACKFIELD_HOME": str(data.parent / "home")}
    return subprocess.run(
        [sys.executable, str(HOST), str(data), *arguments],
        check=False, capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A host's data folder with the echo plugin installed."""
    environment = {**os.environ, "JACKFIELD_HOME": str(tmp_path / "home")}
    package = tmp_path / "echo.jfp"
    jackfield = str(Path(sys.executable).with_name("jackfield"))
    command = [jackfield, "pack", str(ROOT / "plugins" / "echo"), "-o", str(package)]
    subprocess.run(command, check=True, timeout=120, env=environment, capture_output=True)
    folder = tmp_path / "data"
    done = _host(folder, "prepare", str(package))
    assert done.returncode == 0, done.stderr
    return folder


def test_what_was_committed_before_kill_9_is_delivered_and_what_was_rolled_back_is_not(data: Path) -> None:
    committed = 0
    for _ in range(2):
        done = _host(data, "sell-and-die", "25")
        assert done.returncode == -signal.SIGKILL, done.stderr
        committed += 25
    done = _host(data, "report")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["sales"] == committed
    assert report["error"] is None
    # At least once: a delivery that the death cut off is made again, and the plugin counts it again if it had got that
    # far.
    assert committed <= report["pings"]["count"] <= committed + 2
    assert set(report["pings"]["last"]) == set(range(25))
    assert max(report["pings"]["last"]) < 1000
