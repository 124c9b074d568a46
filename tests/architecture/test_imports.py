"""Imports point one way: the contracts in pyproject.toml hold, and would notice if they did not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.architecture.house import SOURCES
from tools.committed import ROOT

OURS = frozenset(SOURCES)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*sorted(OURS), include_external_packages=True, cache_dir=None)


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the packages below `root`, by the contracts in its pyproject.toml."""
    sources = [str(path) for path in (*root.glob("packages/*/src"), *root.glob("examples/*/src"))]
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sources)},
        capture_output=True,
        text=True,
        check=False,
    )


def imported_by(package: str, graph: grimp.ImportGraph, *, but: str = "") -> set[str]:
    """Top-level names of all that a package's modules (`but` one) import, but for itself and the standard library."""
    modules = {name for name in graph.modules if name == package or name.startswith(package + ".")} - {but}
    names = {
        target.partition(".")[0] for module in modules for target in graph.find_modules_directly_imported_by(module)
    }
    return names - sys.stdlib_module_names - {package}


def test_the_contracts_hold() -> None:
    run = lint(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("file", "line", "named"),
    [
        ("cli/src/jackfield_cli/main.py", "def planted():\n    import jackfield.errors", "jackfield_cli.main"),
        ("sandbox/src/jackfield_sandbox/__init__.py", "import jackfield.errors", "jackfield_sandbox"),
        ("sdk/src/jackfield_sdk/errors.py", "import jackfield_sandbox", "jackfield_sdk.errors"),
        ("server/src/jackfield/db/__init__.py", "import jackfield.registry", "jackfield.db"),
        ("server/src/jackfield/registry/__init__.py", "import jackfield.isolation", "jackfield.registry"),
        ("server/src/jackfield/resolution/__init__.py", "import socket", "jackfield.resolution"),
        ("server/src/jackfield/helpers/__init__.py", "", "jackfield.helpers"),
    ],
    ids=[
        "cli to platform",
        "sandbox to platform",
        "sdk to sandbox",
        "upwards",
        "sideways",
        "I/O",
        "a folder of no place",
    ],
)
def test_a_planted_breach_is_found(file: str, line: str, named: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("packages", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / "packages" / file
    target.parent.mkdir(exist_ok=True)
    with target.open("a") as source:
        source.write(f"\n{line}\n")

    run = lint(tmp_path)

    assert run.returncode == 1
    _, broken, told = run.stdout.partition("Broken contracts")
    assert broken, run.stdout + run.stderr
    assert re.search(rf"\b{re.escape(named)}\b", told), told


def test_the_command_line_never_imports_the_platform(graph: grimp.ImportGraph) -> None:
    assert not graph.find_shortest_chains("jackfield_cli", "jackfield", as_packages=True)


def test_the_sdk_needs_msgspec_alone(graph: grimp.ImportGraph) -> None:
    # The one exception is what pytest loads by an entry point; whoever has no pytest never imports it.
    assert imported_by("jackfield_sdk", graph, but="jackfield_sdk.testing.fixtures") <= {"msgspec"}
    assert not graph.find_modules_that_directly_import("jackfield_sdk.testing.fixtures")


def test_the_sandbox_needs_msgspec_and_the_sdk_alone(graph: grimp.ImportGraph) -> None:
    # tzdata has no code, only the time zones that go into the standard library's image.
    assert imported_by("jackfield_sandbox", graph) <= {"msgspec", "jackfield_sdk", "tzdata"}


def test_the_sandbox_and_the_command_line_see_no_more_of_ours_than_they_should(graph: grimp.ImportGraph) -> None:
    assert imported_by("jackfield_cli", graph) & OURS <= {"jackfield_sdk", "jackfield_sandbox"}
    assert imported_by("jackfield", graph) & OURS <= {"jackfield_sdk", "jackfield_sandbox"}
