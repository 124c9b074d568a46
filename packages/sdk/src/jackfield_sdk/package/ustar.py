"""The one form of archive header that a package has: POSIX.1-1988 `ustar`, an ordinary file, no times, no owners.

A header is accepted when it equals, byte for byte, the header that we would write for its path and size. So nothing in
it is left to interpretation, and no two readers can differ over it.
"""

from __future__ import annotations

import re

from jackfield_sdk.package.codes import refusal

__all__ = ["BLOCK", "END", "decode_header", "encode_header", "padding"]

BLOCK = 512
END = bytes(2 * BLOCK)

_SIZE = re.compile(rb"[0-7]{11}\0")
_KINDS = {
    b"\0": "an old-style file", b"1": "a hard link", b"2": "a symbolic link", b"3": "a character device",
    b"4": "a block device", b"5": "a folder", b"6": "a named pipe", b"7": "a contiguous file", b"x": "a pax header",
    b"g": "a global pax header", b"L": "a GNU long name", b"K": "a GNU long link", b"S": "a GNU sparse file",
}  # fmt: skip


def padding(size: int) -> int:
    """How many zero bytes follow a file of this size."""
    return -size % BLOCK


def encode_header(path: str, size: int) -> bytes:
    """The header of a file.

    Raises:
        PackageError: `package-path-invalid` when the path cannot be split into a prefix of 155 and a name of 100 bytes.
    """
    prefix, name = _split(path)
    head = b"".join(
        (
            name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0",
            b" " * 8, b"0", bytes(100), b"ustar\x0000", bytes(32), bytes(32), b"0000000\0", b"0000000\0",
            prefix.ljust(155, b"\0"), bytes(12),
        )
    )  # fmt: skip
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _split(path: str) -> tuple[bytes, bytes]:
    raw = path.encode()
    if len(raw) <= 100:
        return b"", raw
    for at, byte in enumerate(raw):
        if byte == ord("/") and at <= 155 and len(raw) - at - 1 <= 100:
            return raw[:at], raw[at + 1 :]
    raise refusal("package-path-invalid", f"{path!r} is too long for the archive")


def decode_header(block: bytes) -> tuple[str, int]:
    """Path and size of the file whose header this is.

    Raises:
        PackageError: `package-entry-type`, `package-path-invalid` or `package-header-invalid`.
    """
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if block[148:156] != b"%06o\0 " % total:
        raise refusal("package-header-invalid", "a header's checksum is wrong")
    kind = block[156:157]
    if kind != b"0":
        raise refusal("package-entry-type", f"the archive has {_KINDS.get(kind, f'an entry of unknown type {kind!r}')}")
    if not _SIZE.fullmatch(block[124:136]):
        raise refusal("package-header-invalid", "a header's size is not a plain octal number")
    size = int(block[124:135], 8)
    name, prefix = block[:100].rstrip(b"\0"), block[345:500].rstrip(b"\0")
    try:
        path = (prefix + b"/" + name if prefix else name).decode()
    except UnicodeDecodeError as error:
        raise refusal("package-path-invalid", "a path in a header is not UTF-8") from error
    if encode_header(path, size) != block:
        raise refusal("package-header-invalid", f"the header of {path!r} is not in the one form that is allowed")
    return path, size
