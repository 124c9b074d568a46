"""Files that only this user may read."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["read_or_create", "write_private"]


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once, so that a reader meets the old one or the new one, never a half."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _create(draft) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """A file's content; made and kept when there is none yet."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    write_private(path, make())
    return path.read_bytes()


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
