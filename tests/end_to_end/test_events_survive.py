"""Events are committed with the host's own rows, and outlive the death of everything."""

from __future__ import annotations

import json
import os
import shutil
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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's data folder with the echo plugin installed."""
    home = tmp_path_factory.mktemp("prepared")
    environment = {**os.environ, "JACKFIELD_HOME": str(home / "home")}
    package = home / "echo.jfp"
    jackfield = str(Path(sys.executable).with_name("jackfield"))
    command = [jackfield, "pack", str(ROOT / "plugins" / "echo"), "-o", str(package)]
    subprocess.run(command, check=True, timeout=120, env=environment, capture_output=True)
    folder = home / "data"
    done = _host(folder, "prepare", str(package))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(prepared, tmp_path / "data"))


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
    # A delivery that the death cut off is made again; what it wrote and its end are one, so that it counts once.
    assert report["pings"]["count"] == committed
    assert set(report["pings"]["last"]) == set(range(25))
    assert max(report["pings"]["last"]) < 1000


def test_a_backup_has_what_was_pending_and_does_not_do_again_what_was_done(data: Path, tmp_path: Path) -> None:
    def moved(source: Path, name: str) -> Path:
        backup, target = tmp_path / f"{name}.backup", tmp_path / name
        for arguments in (["backup", "--data", source, "-o", backup], ["restore", backup, "--data", target]):
            subprocess.run([sys.executable, "-m", "jackfield", *map(str, arguments)], check=True, timeout=60)
        return target

    def pings(folder: Path) -> int:
        done = _host(folder, "report")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        assert report["error"] is None
        return int(report["pings"]["count"])

    assert _host(data, "sell-and-die", "25").returncode == -signal.SIGKILL
    pending = moved(data, "pending")
    assert pings(pending) == 25, "the installation works, with its package and its keys, and its deliveries were made"
    assert pings(moved(pending, "done")) == 25, "and not made again"
