"""Every plugin folder is a plugin: its manifest is accepted, its project file agrees, its README tells of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from jackfield_sdk.manifest import CATEGORIES
from jackfield_sdk.testing import load_plugin
from tools.committed import ROOT

FOLDERS = sorted(path for path in (ROOT / "plugins").iterdir() if path.is_dir())


def test_there_are_some() -> None:
    assert {"echo", "loyalty-points"} <= {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_its_manifest_and_project_file_agree(folder: Path) -> None:
    manifest = load_plugin(folder).manifest()
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert folder.name == manifest.slug == project["name"]
    assert manifest.version == project["version"]
    assert "jackfield-sdk" in project["dependencies"]
    assert manifest.category in CATEGORIES
    assert manifest.summary


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_its_readme_tells_of_each_function_route_and_widget(folder: Path) -> None:
    manifest = load_plugin(folder).manifest()
    readme = (folder / "README.md").read_text(encoding="utf-8")
    told = [
        *(function.name for function in manifest.functions),
        *(f"{route.method} {route.path}" for route in manifest.routes),
        *(widget.slot for widget in manifest.widgets),
        *manifest.permissions,
    ]
    assert [name for name in told if name not in readme] == []
