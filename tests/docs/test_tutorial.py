"""The tutorial's plugin and its tests are what the page says: they run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jackfield_sdk.testing import load_plugin
from tools.committed import ROOT

PAGE = (ROOT / "docs" / "tutorial" / "first-plugin.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "visits"
    (folder / "tests").mkdir(parents=True)
    plugin, tests = blocks("python")
    (folder / "pyproject.toml").write_text(blocks("toml")[0])
    (folder / "plugin.py").write_text(plugin)
    (folder / "tests" / "test_plugin.py").write_text(tests)
    return folder


def test_its_plugin_and_project_file_agree(folder: Path) -> None:
    manifest = load_plugin(folder).manifest()
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert (manifest.slug, manifest.version) == (project["name"], project["version"])
    assert manifest.permissions == []


def test_its_tests_pass(folder: Path) -> None:
    plugins = [f"-p{name}" for name in ("jackfield_sdk.testing.fixtures", "no:cacheprovider", "no:asyncio")]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, folder.name]
    run = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def test_it_shows_each_step_in_order() -> None:
    shown = "".join(blocks("sh"))
    steps = ["pytest visits", "jackfield pack", "make demo", "jackfield publish", "jackfield install", "jackfield call"]
    assert [step for step in steps if step not in shown] == []
    assert sorted(steps, key=shown.index) == steps
