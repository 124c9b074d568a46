"""Bodies that come compressed, decompressed within bounds: what is counted is what comes out."""

from __future__ import annotations

import zlib
from typing import Protocol

from jackfield.egress.errors import ResponseRefusedError, ResponseTooLargeError

__all__ = ["ACCEPTED", "Body", "decoder_of"]

ACCEPTED = "gzip, deflate"
_MEMBERS = 16
"""Parts of one gzip stream; real ones have one."""


class Body(Protocol):
    """Takes a body in pieces."""

    def feed(self, data: bytes) -> bytes:
        """What becomes of the next piece.

        Raises:
            ResponseTooLargeError: More came out than is taken.
            ResponseRefusedError: It is damaged.
        """
        ...

    def finish(self) -> None:
        """Look whether it was whole.

        Raises:
            ResponseRefusedError: It was cut off.
        """
        ...


def decoder_of(encoding: str, limit_bytes: int) -> Body | None:
    """What undoes a `Content-Encoding`; None for one that is not undone here.

    Raises:
        ResponseRefusedError: It was compressed more than once: a bomb multiplies that way.
    """
    names = [name.strip().lower() for name in encoding.split(",") if name.strip()]
    names = [name for name in names if name != "identity"]
    if not names:
        return _Plain(limit_bytes)
    if len(names) > 1:
        raise ResponseRefusedError("the response is compressed more than once")
    if names[0] in ("gzip", "x-gzip", "deflate"):
        return _Inflated(limit_bytes, is_gzip=names[0] != "deflate")
    return None


class _Plain:
    def __init__(self, limit_bytes: int) -> None:
        self._left = self._limit = limit_bytes

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ResponseTooLargeError(self._limit)
        return data

    def finish(self) -> None:
        pass


class _Inflated:
    def __init__(self, limit_bytes: int, *, is_gzip: bool) -> None:
        self._left = self._limit = limit_bytes
        self._is_gzip = is_gzip
        self._members = 0
        self._begun = False
        self._inflate = zlib.decompressobj(31 if is_gzip else 15)

    def feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        while data:
            if self._inflate.eof:
                self._members += 1
                # Padding after the end is common, and nothing.
                if not self._is_gzip or not data.strip(b"\0"):
                    break
                if self._members >= _MEMBERS:
                    raise ResponseRefusedError("the compressed response has too many parts")
                self._inflate = zlib.decompressobj(31)
            piece = self._decompress(data)
            self._begun = True
            self._left -= len(piece)
            if self._left < 0:
                raise ResponseTooLargeError(self._limit)
            out.append(piece)
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return b"".join(out)

    def finish(self) -> None:
        if self._begun and not self._inflate.eof:
            raise ResponseRefusedError("the compressed response was cut off")

    def _decompress(self, data: bytes) -> bytes:
        try:
            # One more than is left shows that there is more.
            return self._inflate.decompress(data, self._left + 1)
        except zlib.error as error:
            if not self._begun and not self._is_gzip:
                # Many servers send `deflate` without the header that it should have.
                self._inflate = zlib.decompressobj(-15)
                self._begun = True
                return self._decompress(data)
            raise ResponseRefusedError("the compressed response is damaged") from error
