"""`serve`, `demo` and `doctor` become the programs that they name, or say what is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

# `serve` itself runs under the tests of this folder.


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["serve", "--level", "x"], "jackfield"), (["demo", "--no-such"], "corner_shop"),
        (["doctor", "--level", "x"], "jackfield"),
    ],
)  # fmt: skip
def test_options_go_to_the_program_and_its_status_comes_back(command: list[str], program: str, tmp_path: Path) -> None:
    # A file of that name in the folder is not what runs.
    (tmp_path / f"{program}.py").write_text("raise SystemExit('hijacked')")
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "jackfield_cli", *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert f"usage: python -m {program}" in ran.stderr


@pytest.mark.parametrize("command", ["serve", "demo", "doctor"])
def test_what_is_not_installed_is_said(
    command: str, jackfield: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    ran = jackfield(command)
    assert (ran.status, "[not-installed-here]" in ran.err) == (1, True)
