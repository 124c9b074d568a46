"""The list of a package: canonical JSON, one form for one content."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from jackfield_sdk.manifest import Slug, Version
from jackfield_sdk.package.codes import refusal
from jackfield_sdk.package.rules import MAX_FILE_BYTES, MAX_TOTAL_BYTES, check_paths

__all__ = [
    "FORMAT",
    "LIST_NAME",
    "ListedFile",
    "PackageList",
    "is_version",
    "parse_list",
]

FORMAT = 1
LIST_NAME = "jackfield.list"

_IDENTIFIER = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?", re.ASCII
)


def is_version(text: str) -> bool:
    """Whether this is a semantic version (2.0.0, section 9 to the letter) without build metadata."""
    return _VERSION.fullmatch(text) is not None


class ListedFile(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One file: its path, SHA-256 in hex, and size in bytes."""

    path: str
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
    size: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class PackageList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in a package.

    Attributes:
        python: Language version that it was compiled with, as `3.11`.
        magic: `importlib.util.MAGIC_NUMBER` of that compiler, hex.
        files: By ascending path.
    """

    format: Literal[1] = 1
    slug: Slug
    version: Version
    python: Annotated[str, Meta(pattern=r"^3\.\d{1,2}$(?!\n)")]
    magic: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}$(?!\n)")]
    files: list[ListedFile]

    def encode(self) -> bytes:
        """The bytes that are signed."""
        return msgspec.json.encode(self, order="sorted")


def parse_list(data: bytes) -> PackageList:
    """Read the list and check all that can be known from it alone.

    Raises:
        PackageError: `package-list-invalid`, `package-format-unsupported`, `package-too-large`, all of `check_paths`.
    """
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format != FORMAT:
            raise refusal("package-format-unsupported", f"format {head.format} is not known here")
        listing = msgspec.json.decode(data, type=PackageList)
        canonical = listing.encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise refusal("package-list-invalid", f"the list cannot be read: {error}") from error
    if canonical != data:
        raise refusal("package-list-invalid", "the list is not in its canonical form")
    if not is_version(listing.version):
        raise refusal("package-list-invalid", f"{listing.version!r} is not a semantic version")
    check_list(listing)
    return listing


def check_list(listing: PackageList) -> None:
    """What holds for the files of a list together.

    Raises:
        PackageError: As `parse_list`.
    """
    paths = [file.path for file in listing.files]
    check_paths(paths)
    if any(later <= earlier for earlier, later in itertools.pairwise(paths)):
        raise refusal("package-list-invalid", "the files are not in the order of their paths")
    if sum(file.size for file in listing.files) > MAX_TOTAL_BYTES:
        raise refusal("package-too-large", f"the files have more than {MAX_TOTAL_BYTES} bytes together")


class _Head(msgspec.Struct):
    """Read first, so that a newer format is told from a damaged list."""

    format: int
