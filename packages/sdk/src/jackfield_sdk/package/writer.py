"""Writes a package; the same content gives the same bytes, with the same zlib."""

from __future__ import annotations

import hashlib
import importlib.util
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from jackfield_sdk.manifest import Manifest
from jackfield_sdk.package.codes import refusal
from jackfield_sdk.package.gunzip import GZIP_HEADER
from jackfield_sdk.package.listing import (
    LIST_NAME,
    ListedFile,
    PackageList,
    parse_list,
)
from jackfield_sdk.package.rules import MAX_LIST_BYTES, MAX_TOTAL_BYTES, check_content, check_paths
from jackfield_sdk.package.signing import SIGNATURE_NAME, Signature, Signer
from jackfield_sdk.package.ustar import END, encode_header, padding

__all__ = ["WrittenPackage", "write_package"]


@dataclass(frozen=True, slots=True)
class WrittenPackage:
    """What was written.

    Attributes:
        digest: SHA-256 of the file, hex.
        size: Of the file, in bytes.
    """

    listing: PackageList
    digest: str
    size: int


def write_package(out: BinaryIO, manifest: Manifest, files: Mapping[str, bytes], signer: Signer) -> WrittenPackage:
    """Write a package.

    Args:
        out: Open for writing in binary.
        manifest: Becomes `manifest.json`, and says slug, version and language version.
        files: Path → contents: `src/…`, `vendor/…`, and `code/…` for every `.py` among them.

    Raises:
        PackageError: The reader would refuse what should be written.
    """
    contents = {**files, "manifest.json": manifest.encode()}
    check_paths(contents)
    for path, data in contents.items():
        check_content(path, data)
    listing = PackageList(
        slug=manifest.slug,
        version=manifest.version,
        python=manifest.python,
        magic=importlib.util.MAGIC_NUMBER.hex(),
        files=[
            ListedFile(path, hashlib.sha256(contents[path]).hexdigest(), len(contents[path]))
            for path in sorted(contents)
        ],
    )
    raw = listing.encode()
    parse_list(raw)  # what we would refuse to read, we do not write
    entries = {LIST_NAME: raw, SIGNATURE_NAME: Signature.of(signer, raw).encode()}
    entries |= {path: contents[path] for path in sorted(contents)}
    if len(raw) > MAX_LIST_BYTES or sum(map(_stored, entries.values())) + len(END) > MAX_TOTAL_BYTES:
        raise refusal("package-too-large", f"the files have more than {MAX_TOTAL_BYTES} bytes together")

    member = _Member(out)
    for path, data in entries.items():
        member.write(encode_header(path, len(data)))
        member.write(data)
        member.write(bytes(padding(len(data))))
    member.write(END)
    return WrittenPackage(listing, *member.close())


def _stored(data: bytes) -> int:
    return 512 + len(data) + padding(len(data))


class _Member:
    """The single gzip member. `gzip.GzipFile` writes a header that depends on the version of Python."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._digest = hashlib.sha256()
        self._size = self._crc = self._count = 0
        self._emit(GZIP_HEADER)

    def _emit(self, data: bytes) -> None:
        self._out.write(data)
        self._digest.update(data)
        self._size += len(data)

    def write(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._count += len(data)
        self._emit(self._deflate.compress(data))

    def close(self) -> tuple[str, int]:
        self._emit(self._deflate.flush())
        self._emit(self._crc.to_bytes(4, "little") + self._count.to_bytes(4, "little"))
        return self._digest.hexdigest(), self._size
