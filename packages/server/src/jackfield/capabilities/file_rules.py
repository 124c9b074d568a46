"""What a file may be called, what it may say that it is, and what browsers are told of it. Pure."""

from __future__ import annotations

import re
from typing import Literal

from jackfield.capabilities.errors import ArgumentsInvalidError, FilePathInvalidError

__all__ = ["ROLES", "FileRole", "check_content_type", "check_path", "served_type"]

FileRole = Literal["member", "admin", "owner"]
ROLES: tuple[FileRole, ...] = ("member", "admin", "owner")
"""From the least on: who has a role may have what is for those before it."""

_PATH_CHARS = 256
# Control characters, what turns text around and what cannot be seen, and what stands for something in some file system.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff]")
_TOKEN = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,79}"  # noqa: S105  # RFC 6838's word for it
_CONTENT_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:; ?charset=[A-Za-z0-9_-]{{1,32}})?\Z")
# What a browser runs, or lets run: as a document, a script or a style sheet of the host's own origin.
_ACTIVE = re.compile(r"html|xml|svg|script|css|wasm|manifest|xsl|flash|java|multipart|x-mixed")


def check_path(path: str) -> str:
    """A path, as it came.

    Raises:
        FilePathInvalidError: It is not one.
    """
    names = path.split("/")
    if len(path) > _PATH_CHARS or _UNSAFE.search(path) or any(name in ("", ".", "..") for name in names):
        raise FilePathInvalidError(f"`{_UNSAFE.sub('?', path[:80])}` cannot be a file's path")
    return path


def check_content_type(content_type: str) -> str:
    """A content type, in lower case up to its parameter.

    Raises:
        ArgumentsInvalidError: It is not one.
    """
    if not _CONTENT_TYPE.match(content_type):
        raise ArgumentsInvalidError("`content_type` is not a media type such as `text/csv; charset=utf-8`")
    kind, semicolon, parameter = content_type.partition(";")
    return kind.lower() + semicolon + parameter


def served_type(content_type: str) -> str:
    """What a browser is told of a file: nothing that it would run, wherever it is put into a page.

    `Content-Disposition: attachment` alone keeps a file from being opened, and not from being used as a script.
    """
    return "application/octet-stream" if _ACTIVE.search(content_type) else content_type
