"""Brings the plugin's pure-Python dependencies into its package, from a lock file with hashes.

`pip download` fetches wheels and checks their hashes; nothing is built or run. Their files are then read by us, so that
what lies in the package depends on the wheels alone and not on what an installer adds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from jackfield_cli.sources import Project, requirement_name
from jackfield_sdk.errors import PackageError
from jackfield_sdk.package import MAX_FILE_BYTES, MAX_TOTAL_BYTES, check_path, is_native

__all__ = ["LOCK_NAME", "vendored"]

LOCK_NAME = "requirements.lock"

_TIMEOUT_S = 300
_PROVIDED = {"jackfield-sdk", "jackfield-sandbox", "msgspec"}
_KEPT_METADATA = re.compile(r"(METADATA|(licenses/.*)?(LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)")
_NATIVE = re.compile(r"\.(so|pyd|dll|dylib|exe)(\.[0-9.]+)?$", re.IGNORECASE)


def vendored(project: Project) -> dict[str, bytes]:
    """The files of all locked dependencies, as `vendor/…`; none when the project declares none.

    Raises:
        PackageError: `dependencies-unlocked`, `dependency-unavailable`, `dependency-native`, `package-too-large`.
    """
    if not project.dependencies:
        return {}
    lock = project.folder / LOCK_NAME
    _check_lock(project, lock)
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="jackfield-vendor-") as folder:
        _download(lock, Path(folder))
        for wheel in sorted(Path(folder).iterdir()):
            for path, data in _wheel_files(wheel).items():
                if files.setdefault(path, data) != data:
                    raise PackageError(f"two dependencies bring {path}", code="package-path-collision")
    return files


def _check_lock(project: Project, lock: Path) -> None:
    try:
        text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    except FileNotFoundError as error:
        raise PackageError(
            f"dependencies are declared and there is no {LOCK_NAME}",
            code="dependencies-unlocked",
            hint=f"uv pip compile pyproject.toml --generate-hashes --output-file {LOCK_NAME}",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"{LOCK_NAME} cannot be read: {error}", code="dependencies-unlocked") from error
    lines = [line.strip() for line in text.splitlines()]
    locked = {requirement_name(line) for line in lines if line and line[0] not in "#-"}
    for requirement in project.dependencies:
        name = requirement_name(requirement)
        if name not in locked:
            raise PackageError(
                f"{name} is not in {LOCK_NAME}", code="dependencies-unlocked", hint="Make the lock file again."
            )


def _download(lock: Path, folder: Path) -> None:
    """Fetch the locked wheels, pure-Python ones only; a source archive would be run in order to be built."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as needed:
        needed.write(_without_provided(lock.read_text(encoding="utf-8")))
        needed.flush()
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
            "--no-deps", "--require-hashes", "--only-binary", ":all:",
            "--implementation", "py", "--abi", "none", "--platform", "any",
            "--python-version", f"{sys.version_info.major}.{sys.version_info.minor}",
            "--dest", str(folder), "--requirement", needed.name,
        ]  # fmt: skip
        try:
            # From the project's folder, so that a relative path in the lock file means what it says.
            run = subprocess.run(
                command, cwd=lock.parent, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PackageError(f"pip could not be run: {error}", code="dependency-unavailable") from error
    if run.returncode != 0:
        lines = [line.strip() for line in run.stderr.splitlines() if line.strip()]
        raise PackageError(
            "the dependencies cannot be fetched: " + " ".join(lines[:4])[:600],
            code="dependency-unavailable",
            hint="Each needs a pure-Python wheel (…-none-any.whl) with its hash in the lock file.",
        )


def _without_provided(text: str) -> str:
    """The lock file without what the platform provides; a lock of all dependencies names the SDK and msgspec too."""
    logical = text.replace("\\\n", " ").splitlines()
    kept = (line for line in logical if not _names_one_of(line, _PROVIDED))
    return "\n".join(kept) + "\n"


def _names_one_of(line: str, names: set[str]) -> bool:
    return bool(line.strip()) and line[0] not in "#- \t" and requirement_name(line) in names


def _wheel_files(wheel: Path) -> dict[str, bytes]:
    """What a wheel installs beside other modules, and its licences."""
    name = wheel.name.partition("-")[0]
    if not wheel.name.endswith("-none-any.whl"):
        raise _native(name, wheel.name)
    files: dict[str, bytes] = {}
    size = 0
    try:
        with zipfile.ZipFile(wheel) as archive:
            for inner, info in _members(archive):
                if _NATIVE.search(inner):
                    raise _native(name, inner)
                size += info.file_size
                if info.file_size > MAX_FILE_BYTES or size > MAX_TOTAL_BYTES:
                    raise PackageError(f"{name}: {inner} is too large", code="package-too-large")
                data = archive.read(info)
                if is_native(data):
                    raise _native(name, inner)
                if inner.endswith(".py") or _is_allowed(f"vendor/{inner}"):
                    files[f"vendor/{inner}"] = data
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise PackageError(f"{wheel.name} cannot be read: {error}", code="dependency-unavailable") from error
    return files


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    for info in archive.infolist():
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or not parts:
            continue
        if parts[0].endswith(".dist-info"):
            if _KEPT_METADATA.fullmatch("/".join(parts[1:])):
                yield info.filename, info
        elif parts[0].endswith(".data"):
            if len(parts) > 2 and parts[1] in ("purelib", "platlib"):
                yield "/".join(parts[2:]), info
        elif not info.filename.endswith((".pyc", ".pyo")):
            yield info.filename, info


def _is_allowed(path: str) -> bool:
    try:
        check_path(path)
    except PackageError:
        return False
    return True


def _native(name: str, what: str) -> PackageError:
    return PackageError(
        f"{name} has native code: {what}", code="dependency-native", hint="Use a dependency that is Python throughout."
    )
