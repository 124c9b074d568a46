"""Reads a package while it arrives, and hands out nothing that is not proven."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from jackfield_sdk.errors import ManifestError, PackageError
from jackfield_sdk.manifest import Manifest, parse_manifest
from jackfield_sdk.package.codes import refusal
from jackfield_sdk.package.gunzip import Gunzip
from jackfield_sdk.package.listing import (
    LIST_NAME,
    PackageList,
    parse_list,
)
from jackfield_sdk.package.rules import MAX_LIST_BYTES, MAX_SIGNATURE_BYTES, MAX_TOTAL_BYTES, check_content
from jackfield_sdk.package.signing import SIGNATURE_NAME, Signature, Verify, parse_signature, signed_message
from jackfield_sdk.package.ustar import BLOCK, END, decode_header, padding

__all__ = ["Package", "PackageFile", "PackageReader", "read_package"]

_MAX_DEPTH = 40
_PIECE_BYTES = 64 * 1024

_Take = Generator["PackageFile | None", None, bytes]


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file whose place, size and hash are as the signed list says."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Package:
    """What is known once the whole package was read.

    Attributes:
        digest: SHA-256 of the package file, hex.
        size: Of the package file, in bytes.
    """

    listing: PackageList
    signature: Signature
    manifest: Manifest
    digest: str
    size: int


class PackageReader:
    """Fed chunks of a package file, yields its verified files in order; holds at most one file in memory.

    Any rule that is broken is a `PackageError`, after which the reader only raises that error again.

    Args:
        verify: Checks the signature; called once, before the list is even parsed.
        max_bytes: Largest package file that is read.
    """

    def __init__(self, verify: Verify, *, max_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._verify = verify
        self._max_bytes = max_bytes
        self._gunzip = Gunzip(MAX_TOTAL_BYTES)
        self._digest = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray()
        self._parser = self._parse()
        self._failure: PackageError | None = None
        self._is_complete = False
        self._signature: Signature | None = None
        self._manifest: Manifest | None = None
        self.listing: PackageList | None = None
        """The list, once its signature has been verified."""

    def feed(self, chunk: bytes) -> Iterator[PackageFile]:
        """The files that this chunk completes. It is lazy: nothing is read until it is iterated, to its end.

        Raises:
            PackageError: The package breaks a rule.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._size += len(chunk)
            if self._size > self._max_bytes:
                raise refusal("package-too-large", f"the package is larger than {self._max_bytes} bytes")
            self._digest.update(chunk)
            # In pieces: for each block that comes out, zlib copies what it has not read yet. A bomb in one large chunk
            # would have all of it copied a thousand times.
            for start in range(0, len(chunk), _PIECE_BYTES):
                for block in self._gunzip.feed(chunk[start : start + _PIECE_BYTES]):
                    self._buffer += block
                    while (file := next(self._parser)) is not None:
                        yield file
        except PackageError as error:
            self._failure = error
            raise

    def finish(self) -> Package:
        """Say that no more comes.

        Raises:
            PackageError: The package is not complete, or what follows its content is wrong.
        """
        if self._failure is not None:
            raise self._failure
        self._gunzip.finish()
        if not self._is_complete or self.listing is None or self._signature is None or self._manifest is None:
            raise refusal("package-truncated", "the archive ends early")
        return Package(self.listing, self._signature, self._manifest, self._digest.hexdigest(), self._size)

    def _parse(self) -> Generator[PackageFile | None, None, None]:
        """The whole archive, top to bottom. Yields a file, or None when it needs more bytes."""
        raw = yield from self._special(LIST_NAME, MAX_LIST_BYTES, "package-list-invalid")
        signed = yield from self._special(SIGNATURE_NAME, MAX_SIGNATURE_BYTES, "package-unsigned")
        signature = parse_signature(signed)
        self._verify(signature.key_id, signature.raw(), signed_message(raw))
        # Nothing of a stranger's list is looked at before this line.
        listing = parse_list(raw)
        self._signature, self.listing = signature, listing

        for index, expected in enumerate(listing.files):
            block = yield from self._take(BLOCK)
            if not any(block):
                raise refusal("package-file-missing", f"the archive ends before {expected.path!r}")
            path, size = decode_header(block)
            if path != expected.path:
                raise _misplaced(path, listing, index)
            if size != expected.size:
                raise refusal("package-size-mismatch", f"{path!r} has {size} bytes, the list says {expected.size}")
            data = yield from self._contents(size)
            if hashlib.sha256(data).hexdigest() != expected.sha256:
                raise refusal("package-hash-mismatch", f"{path!r} is not what was signed")
            check_content(path, data)
            if path == "manifest.json":
                self._manifest = _manifest(data, listing)
            yield PackageFile(path, data)

        block = yield from self._take(BLOCK)
        if any(block):
            raise _misplaced(decode_header(block)[0], listing, len(listing.files))
        if (yield from self._take(len(END) - BLOCK)) != END[BLOCK:]:
            raise refusal("package-trailing-data", "something follows the last file")
        self._is_complete = True
        while True:
            if self._buffer:
                raise refusal("package-trailing-data", "something follows the end of the archive")
            yield None

    def _special(self, name: str, max_bytes: int, code: str) -> _Take:
        block = yield from self._take(BLOCK)
        path, size = decode_header(block)
        if path != name:
            raise refusal(code, f"the archive has {path!r} where {name} belongs")
        if size > max_bytes:
            raise refusal("package-too-large", f"{name} is larger than {max_bytes} bytes")
        return (yield from self._contents(size))

    def _contents(self, size: int) -> _Take:
        data = yield from self._take(size)
        if any((yield from self._take(padding(size)))):
            raise refusal("package-header-invalid", "there are bytes hidden between two files")
        return data

    def _take(self, size: int) -> _Take:
        while len(self._buffer) < size:
            yield None
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def _misplaced(path: str, listing: PackageList, index: int) -> PackageError:
    known = [file.path for file in listing.files]
    if path in known:
        wanted = repr(known[index]) if index < len(known) else "nothing"
        return refusal("package-order", f"{path!r} comes where {wanted} belongs")
    return refusal("package-file-unlisted", f"{path!r} is not on the signed list")


def _manifest(data: bytes, listing: PackageList) -> Manifest:
    try:
        manifest = parse_manifest(data)
        canonical = manifest.encode()
        _check_values(msgspec.to_builtins(manifest), _MAX_DEPTH)
    except ManifestError as error:
        raise refusal("manifest-invalid", str(error), hint=error.hint) from error
    except (TypeError, RecursionError) as error:  # a JSON Schema is free in form: `properties` may be a number
        raise refusal("manifest-invalid", "a schema in it has the wrong shape") from error
    if canonical != data:
        raise refusal("manifest-invalid", "it is not in its canonical form")
    for name in ("slug", "version", "python"):
        ours, theirs = getattr(manifest, name), getattr(listing, name)
        if ours != theirs:
            raise refusal("package-manifest-mismatch", f"{name} is {ours} in the manifest, {theirs} on the list")
    entries = {f"src/{manifest.entry}.py", f"src/{manifest.entry}/__init__.py"}
    if not any(file.path in entries for file in listing.files):
        raise refusal("package-manifest-mismatch", f"the entry {manifest.entry!r} is not in the package")
    return manifest


def _check_values(value: Any, depth: int) -> None:
    """Databases cannot keep NUL in text, and what walks a manifest later must not run out of stack."""
    if depth == 0:
        raise ManifestError(f"nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, str) and "\0" in value:
        raise ManifestError("a text has a NUL character")
    if isinstance(value, dict):
        for key, inner in cast("dict[Any, Any]", value).items():
            _check_values(key, depth - 1)
            _check_values(inner, depth - 1)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            _check_values(inner, depth - 1)


def read_package(chunks: Iterable[bytes], verify: Verify) -> tuple[Package, dict[str, bytes]]:
    """Read a whole package into memory, for tools and tests.

    Raises:
        PackageError: The package breaks a rule.
    """
    reader = PackageReader(verify)
    files = {file.path: file.data for chunk in chunks for file in reader.feed(chunk)}
    return reader.finish(), files
