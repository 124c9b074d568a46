"""The whole suite once more, by a user without any rights."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
_ROOT = Path(__file__).parents[2]
_SUITES = ("test_cases.py", "test_moves.py", "test_layers.py")


def _as_nobody(command: list[str], home: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    os.chown(home, NOBODY, NOBODY)
    environment = {
        "HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=timeout_s, cwd=_ROOT, env=environment,
        user=NOBODY, group=NOBODY, extra_groups=[],
    )  # fmt: skip


def _interpreter_for_everybody(home: str) -> str | None:
    """A Python of our version that any user may run and that finds the platform; one in root's home is not."""
    probe = "import sys, jackfield, pytest; print(*sys.version_info[:2])"
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            done = _as_nobody([candidate, "-c", probe], home, 60)
        except OSError:
            continue
        if done.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            return candidate
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; whoever else runs this is it")
@pytest.mark.timeout(900)
def test_nothing_escapes_from_an_ordinary_user() -> None:
    with tempfile.TemporaryDirectory() as home:
        interpreter = _interpreter_for_everybody(home)
        suite = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/hostile/{name}" for name in _SUITES)]
        if interpreter is not None:
            done = _as_nobody([interpreter, *suite], home, 880)
        else:  # no Python that an ordinary user may run, or a checkout only root may read: at least the level is tried
            environment = {**os.environ, "JACKFIELD_HOSTILE_LEVELS": "unprivileged"}
            done = subprocess.run(
                [sys.executable, *suite], check=False, capture_output=True, text=True, timeout=880, cwd=_ROOT,
                env=environment,
            )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 500
