"""Where things are, for the tests that look at the house itself."""

from __future__ import annotations

from pathlib import Path

from tools.committed import ROOT

SOURCES = {path.name: path for path in sorted(ROOT.glob("packages/*/src/*")) if path.is_dir()}
"""Our importable packages, by name."""


def code_folders(package: Path) -> list[Path]:
    """The folders directly inside a package that hold Python."""
    return sorted(path for path in package.iterdir() if path.is_dir() and any(path.glob("*.py")))
