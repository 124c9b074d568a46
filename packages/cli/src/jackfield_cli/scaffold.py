"""A new plugin's folder, from the templates beside this file."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from jackfield_cli.errors import CliError, UsageError

__all__ = ["write_project"]

_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"


def write_project(slug: str, folder: Path) -> list[str]:
    """Write it; the files' names.

    Raises:
        UsageError: `slug-invalid`.
        CliError: `folder-not-empty`, `folder-unwritable`.
    """
    if not _SLUG.fullmatch(slug) or len(slug) > 64:
        raise UsageError(
            f"{slug!r} cannot name a plugin",
            code="slug-invalid",
            hint="Lower-case words joined by hyphens, at most 64.",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError(
            f"{folder} is there already, and not empty", code="folder-not-empty", hint="Name another by --dir."
        )
    words = {"slug": slug, "name": slug.replace("-", " ").capitalize()}
    files = dict(_templates(resources.files("jackfield_cli") / "templates", ""))
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(text, words), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error.strerror}", code="folder-unwritable") from error
    return sorted(files)


def _templates(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((prefix + entry.name.removesuffix(_SUFFIX), entry.read_text(encoding="utf-8")))
    return found


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: words[match[1]], text)
