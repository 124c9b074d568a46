"""A plugin's project folder: what `pyproject.toml` says, and which files are the plugin."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jackfield_sdk.errors import PackageError
from jackfield_sdk.package import MAX_FILE_BYTES, check_content, check_path

__all__ = ["Collected", "Project", "collect", "normalised", "project_files", "read_project"]

_FOLDERS_LEFT_OUT = {"tests", "test", "venv", "env", "build", "dist", "node_modules", "htmlcov", "__pycache__"}
_FILES_LEFT_OUT = {"pyproject.toml", "requirements.lock", "requirements.txt", "setup.py", "setup.cfg", "conftest.py"}
_DESCRIBING = ("pyproject.toml", "requirements.lock")
_ENDINGS_LEFT_OUT = {".jfp", ".pyc", ".pyo", ".lock"}
# A file that would run by itself, or that Python would load as a library, is never left out in silence.
_DANGEROUS = re.compile(
    r"(^|/)(sitecustomize|usercustomize)(\.[^/]*)?(/|$)|\.(pth|so|pyd|dll|dylib)(\.[0-9.]+)?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Project:
    """What `pyproject.toml` says.

    Attributes:
        slug: The project's name in the form of a slug.
        dependencies: Requirements as written, those that the platform provides left out.
        entry: Module that defines `plugin`.
        include: Patterns of the files that are the plugin; all when empty. `*` also matches across folders.
        exclude: Patterns of files that are not.
    """

    folder: Path
    slug: str
    version: str
    summary: str
    licence: str
    description: str
    dependencies: tuple[str, ...]
    entry: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """The plugin's own files (`src/…`), and the paths of those that were left out because of their kind."""

    files: dict[str, bytes]
    skipped: tuple[str, ...]


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503); also the form of a slug."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_project(folder: Path) -> Project:
    """Read `pyproject.toml`.

    Raises:
        PackageError: `project-missing` or `project-invalid`.
    """
    path = folder / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PackageError(
            f"there is no pyproject.toml in {folder}", code="project-missing", hint="`jackfield new` makes one."
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _invalid(f"it cannot be read: {error}") from error
    project = _table(table, "project")
    ours = _table(_table(table, "tool", default={}), "jackfield", default={})
    if unknown := sorted(set(ours) - {"entry", "include", "exclude"}):
        raise _invalid(f"[tool.jackfield] has an unknown key: {unknown[0]}")
    if "version" in project.get("dynamic", ()):
        raise _invalid("[project] version is dynamic", hint="Write the version down; a package is made from it.")
    return Project(
        folder=folder,
        slug=normalised(_text(project, "name")),
        version=_text(project, "version"),
        summary=_text(project, "description", default=""),
        licence=_licence(project),
        description=_readme(folder, project),
        dependencies=tuple(line for line in _texts(project, "dependencies") if not _is_provided(line)),
        entry=_text(ours, "entry", default="plugin"),
        include=_texts(ours, "include"),
        exclude=_texts(ours, "exclude"),
    )


def requirement_name(requirement: str) -> str:
    """The normalised name in a requirement (PEP 508).

    Raises:
        PackageError: `project-invalid`.
    """
    match = re.match(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)", requirement)
    if match is None:
        raise _invalid(f"{requirement!r} is not a requirement")
    return normalised(match[1])


def collect(project: Project) -> Collected:
    """The files that are the plugin.

    Left out: what begins with a dot, environments, tests, caches, what was built, and what describes the project. A
    file of a kind that packages do not hold is left out and told, unless `include` asks for it.

    Raises:
        PackageError: `source-link`, `package-file-refused`, `package-path-invalid`, `package-too-large`.
    """
    files: dict[str, bytes] = {}
    skipped: list[str] = []
    for path in _walk(project.folder):
        inner = path.relative_to(project.folder).as_posix()
        asked = _matches(inner, project.include)
        if _matches(inner, project.exclude) or (project.include and not asked):
            continue
        # Whoever clones a stranger's project must not publish what a link in it points to.
        if path.is_symlink() or not path.is_file():
            what = "a link" if path.is_symlink() else "not an ordinary file"
            raise PackageError(f"{inner} is {what}", code="source-link", hint="Put the file itself there.")
        target = f"src/{inner}"
        try:
            check_path(target)
        except PackageError:
            if asked or path.suffix == ".py" or _DANGEROUS.search(inner):
                raise
            skipped.append(inner)
            continue
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)  # enough to see that it is too large
        check_content(target, data)
        files[target] = data
    return Collected(files, tuple(skipped))


def project_files(folder: Path) -> Iterator[Path]:
    """Every file that has a part in what is packed: the plugin's own, and those that describe it."""
    for path in _walk(folder):
        yield path
    for name in _DESCRIBING:
        if (path := folder / name).is_file():
            yield path


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix in _ENDINGS_LEFT_OUT or path.name.endswith(".egg-info"):
            continue
        if path.is_dir() and not path.is_symlink():
            if path.name not in _FOLDERS_LEFT_OUT and not (path / "pyvenv.cfg").exists():
                yield from _walk(path)
        elif path.name not in _FILES_LEFT_OUT:
            yield path


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/") for pattern in patterns)


def _is_provided(requirement: str) -> bool:
    return requirement_name(requirement) in ("jackfield-sdk", "msgspec")


def _licence(project: dict[str, Any]) -> str:
    value = project.get("license", "")
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value).get("text", "")
    return value.strip() if isinstance(value, str) and len(value) <= 200 and "\n" not in value.strip() else ""


def _readme(folder: Path, project: dict[str, Any]) -> str:
    value = project.get("readme", "")
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        if "text" in table:
            return _text(table, "text")
        value = table.get("file", "")
    if not isinstance(value, str) or not value:
        return ""
    path = folder / value
    if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
        raise _invalid("[project] readme is not a file of this folder")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"[project] readme cannot be read: {error}") from error


def _table(parent: dict[str, Any], name: str, *, default: dict[str, Any] | None = None) -> dict[str, Any]:
    value = parent.get(name, default)
    if not isinstance(value, dict):
        raise _invalid(f"there is no table [{name}]")
    return cast("dict[str, Any]", value)


def _text(table: dict[str, Any], name: str, *, default: str | None = None) -> str:
    value = table.get(name, default)
    if not isinstance(value, str):
        raise _invalid(f"`{name}` is missing or is not text")
    return value


def _texts(table: dict[str, Any], name: str) -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in cast("list[Any]", value)):
        raise _invalid(f"`{name}` is not a list of texts")
    return tuple(cast("list[str]", value))


def _invalid(message: str, *, hint: str = "") -> PackageError:
    return PackageError(f"pyproject.toml: {message}", code="project-invalid", hint=hint)
