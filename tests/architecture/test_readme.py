"""README keeps its word: its commands exist and its first plugin is a plugin."""

from __future__ import annotations

import re
import subprocess
import sys
import types

import pytest

import jackfield_sdk as jf
from tools.committed import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def first_plugin() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return code


def test_it_names_the_demo_and_the_tests() -> None:
    shown = "".join(re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    assert re.search(r"^make demo\b", shown, re.MULTILINE)
    assert re.search(r"^make test\b", shown, re.MULTILINE)


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"^\.venv/bin/jackfield ([a-z]+)", README, re.MULTILINE))
    assert named
    for command in named:
        subprocess.run([sys.executable, "-m", "jackfield_cli", command, "--help"], check=True, capture_output=True)


def test_it_fits_on_a_screen_or_two() -> None:
    assert len(README.splitlines()) <= 90


def test_its_first_plugin_has_a_valid_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("readme_plugin")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(first_plugin(), "README.md", "exec"), module.__dict__)

    plugin: object = module.__dict__["plugin"]
    assert isinstance(plugin, jf.Plugin)
    manifest = plugin.manifest()

    assert [handler.event for handler in manifest.events] == ["sale.created"]
    assert [function.name for function in manifest.functions] == ["full_cards"]
