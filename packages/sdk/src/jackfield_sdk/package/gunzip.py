"""One gzip member (RFC 1952), inflated as it arrives, a block at a time, never more in all than a limit."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator

from jackfield_sdk.package.codes import refusal

__all__ = ["GZIP_HEADER", "Gunzip"]

GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
"""Deflate, no flags (so no name), no time, best compression, unknown system: the only header we read or write."""

_BLOCK = 64 * 1024
_TRAILER = 8


class Gunzip:
    """Feed it what arrives, take what comes out, `finish` at the end.

    Args:
        max_bytes: Of output. Counted as it comes out; no length field is believed.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._head = b""
        self._trailer = b""
        self._crc = 0
        self._count = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What these bytes inflate to, in blocks.

        Raises:
            PackageError: `package-gzip-invalid`, `package-too-large` or `package-trailing-data`.
        """
        if len(self._head) < len(GZIP_HEADER):
            wanted = len(GZIP_HEADER) - len(self._head)
            self._head, chunk = self._head + chunk[:wanted], chunk[wanted:]
            if not GZIP_HEADER.startswith(self._head):
                raise refusal("package-gzip-invalid", "not a gzip file in the plain form that packages have")
        while chunk and not self._inflate.eof:
            chunk = yield from self._some(chunk)
        if self._inflate.eof:
            self._trailer += chunk
            if len(self._trailer) > _TRAILER:
                raise refusal("package-trailing-data", "something follows the end of the compressed data")

    def _some(self, chunk: bytes) -> Generator[bytes, None, bytes]:
        """Inflate a chunk to its end, or to the end of the deflate stream; returns what follows that."""
        while True:
            try:
                block = self._inflate.decompress(chunk, _BLOCK)
            except zlib.error as error:
                raise refusal("package-gzip-invalid", f"damaged compressed data: {error}") from error
            self._count += len(block)
            if self._count > self._max_bytes:
                raise refusal("package-too-large", f"it inflates to more than {self._max_bytes} bytes")
            self._crc = zlib.crc32(block, self._crc)
            chunk = self._inflate.unconsumed_tail
            if block:
                yield block
            if self._inflate.eof:
                return self._inflate.unused_data
            # A full block with nothing left to read may still have output waiting inside zlib.
            if not chunk and len(block) < _BLOCK:
                return b""

    def finish(self) -> None:
        """Say that no more comes.

        Raises:
            PackageError: `package-truncated`, or `package-gzip-invalid` when checksum or length is wrong.
        """
        if len(self._trailer) < _TRAILER:
            raise refusal("package-truncated", "the compressed data ends early")
        if self._trailer != self._crc.to_bytes(4, "little") + self._count.to_bytes(4, "little"):
            raise refusal("package-gzip-invalid", "checksum or length of the compressed data is wrong")
