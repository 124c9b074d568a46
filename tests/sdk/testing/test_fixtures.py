"""A plugin's own tests need no set-up: the fixtures find the plugin and hand it over installed and active."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jackfield_sdk.errors import ManifestError
from jackfield_sdk.testing import load_plugin

PLUGIN = """
import jackfield_sdk as jf
from words import GREETING

plugin = jf.Plugin("small", version="1.0.0")


@plugin.config
class Config:
    name: str = "nobody"


@plugin.function()
def hello(ctx: jf.Context) -> str:
    return f"{GREETING} {ctx.config.name}"
"""
TESTS = """
import jackfield_sdk as jf


def test_it_greets(platform):
    assert platform.call("hello") == "hello nobody"


def test_it_greets_by_name(new_platform):
    assert [new_platform(config={"name": name}).call("hello") for name in "ab"] == ["hello a", "hello b"]


def test_it_is_the_plugin(plugin):
    assert plugin.slug == "small"
"""
OWN = """
import jackfield_sdk as jf

plugin = jf.Plugin("own", version="1.0.0")


def test_the_modules_own_plugin_goes_first(platform):
    assert platform.manifest.slug == "own"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    (folder / "tests").mkdir(parents=True)
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "words.py").write_text('GREETING = "hello"\n')
    (folder / "tests" / "test_plugin.py").write_text(TESTS)
    (folder / "tests" / "test_own.py").write_text(OWN)
    return folder


def test_a_plugin_folder_is_tested_as_it_is(folder: Path) -> None:
    plugins = [f"-p{name}" for name in ("jackfield_sdk.testing.fixtures", "no:cacheprovider", "no:asyncio")]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 passed" in run.stdout


def test_a_plugin_is_loaded_anew_each_time(folder: Path) -> None:
    one, other = load_plugin(folder), load_plugin(folder)
    assert one is not other
    assert one.manifest() == other.manifest()


def test_a_folder_without_a_plugin_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no plugin\.py"):
        load_plugin(tmp_path)
    (tmp_path / "plugin.py").write_text("plugin = 5\n")
    with pytest.raises(ManifestError, match="does not define `plugin`"):
        load_plugin(tmp_path)
