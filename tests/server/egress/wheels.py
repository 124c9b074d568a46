"""Wheels of what is installed here, made anew from its files: tests pack real libraries without a network."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

__all__ = ["locked"]


def locked(folder: Path, *names: str) -> str:
    """Write pure-Python wheels beside a project; the text of a lock file for them.

    Compiled accelerators are left out: the libraries do without.
    """
    lines: list[str] = []
    for name in names:
        wheel = _wheel(folder, name)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name} @ {wheel.as_uri()} --hash=sha256:{digest}")
    return "\n".join(lines) + "\n"


def _wheel(folder: Path, name: str) -> Path:
    distribution = importlib.metadata.distribution(name)
    stem = f"{name.replace('-', '_')}-{distribution.version}"
    path = folder / f"{stem}-py3-none-any.whl"
    record: list[str] = []
    info = f"{stem}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:

        def write(inner: str, data: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(inner), data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{inner},sha256={digest},{len(data)}")

        for file in distribution.files or []:
            inner = file.as_posix()
            if inner.startswith("..") or "__pycache__" in inner or ".dist-info/" in inner or inner.endswith(".so"):
                continue
            write(inner, Path(str(file.locate())).read_bytes())
        write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {distribution.version}\n".encode())
        write(f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        record.append(f"{info}/RECORD,,")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join(record) + "\n")
    return path
