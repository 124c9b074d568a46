"""`make setup` says in one line what is missing, and does nothing when nothing has changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tools.committed import ROOT


def setup(python: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "tools" / "setup.sh")],
        env={**os.environ, "PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_python_is_named() -> None:
    run = setup("python-that-is-not-there")
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "setup: Python 3.11 or newer is needed and 'python-that-is-not-there' was not found (PYTHON=… names another)"
    ]


def test_an_old_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\ncase "$2" in *exit*) exit 1 ;; *) echo 3.9.1 ;; esac\n')
    old.chmod(0o755)
    run = setup(str(old))
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        f"setup: Python 3.11 or newer is needed; '{old}' is 3.9.1 (PYTHON=… names another)"
    ]


def test_a_second_run_does_nothing() -> None:
    stamp = ROOT / ".venv" / ".setup-stamp"
    written = stamp.stat().st_mtime_ns
    run = setup(os.environ.get("PYTHON", "python3"))
    assert (run.returncode, run.stderr) == (0, "")
    assert stamp.stat().st_mtime_ns == written
