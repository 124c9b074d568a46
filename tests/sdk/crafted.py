"""Packages made by hand, right ones and every kind of wrong one. The writer cannot make the wrong ones, so this can."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import marshal
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jackfield_sdk.errors import PackageError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.package import code_path, signed_message

SOURCE = b'import jackfield_sdk as jf\n\nplugin = jf.Plugin("crafted", version="1.0.0", name="Crafted")\n'


class Key:
    """A signing key that is the same in every run."""

    def __init__(self, seed: int = 1) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public = self._private.public_key().public_bytes_raw()
        self.key_id = hashlib.sha256(self.public).hexdigest()[:16]

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def verify(self, key_id: str, signature: bytes, message: bytes) -> None:
        """As the registry's: knows one key."""
        if key_id != self.key_id:
            raise PackageError("nobody has this key", code="key-unknown")
        try:
            self._private.public_key().verify(signature, message)
        except InvalidSignature as error:
            raise PackageError("the signature is wrong", code="signature-invalid") from error


KEY = Key()


def compiled(path: str, source: bytes) -> bytes:
    """As the sandbox compiles, to the byte."""
    return marshal.dumps(compile(source, path.partition("/")[2], "exec", dont_inherit=True, optimize=0), 2)


def manifest(**changes: Any) -> Manifest:
    return Manifest(**{"slug": "crafted", "version": "1.0.0", "name": "Crafted", **changes})


def contents(extra: Mapping[str, bytes] | None = None, **manifest_changes: Any) -> dict[str, bytes]:
    """A small plugin's files with what belongs to them: the manifest, and code for every `.py`."""
    files = {"src/plugin.py": SOURCE, "src/README.md": b"# Crafted\n", **(extra or {})}
    for path in [path for path in files if path.endswith(".py")]:
        if code_path(path) not in files:
            files[code_path(path)] = compiled(path, files[path])
    files.setdefault("manifest.json", manifest(**manifest_changes).encode())
    return files


def listing(files: Mapping[str, bytes], /, **changes: Any) -> dict[str, Any]:
    """The list as plain data."""
    return {
        "format": 1,
        "slug": "crafted",
        "version": "1.0.0",
        "python": "3.11",
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "files": [[path, hashlib.sha256(files[path]).hexdigest(), len(files[path])] for path in sorted(files)],
        **changes,
    }


def canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def signature(raw_list: bytes, key: Key = KEY, **changes: Any) -> bytes:
    signed = base64.b64encode(key.sign(signed_message(raw_list))).decode()
    return canonical({"algorithm": "ed25519", "key_id": key.key_id, "signature": signed, **changes})


@dataclass(frozen=True)
class Entry:
    """One member of the archive, with whatever header one likes."""

    path: str
    data: bytes
    fields: Mapping[str, bytes] | None = None
    size: int | None = None

    def encode(self) -> bytes:
        size = len(self.data) if self.size is None else self.size
        return header(self.path, size, **(self.fields or {})) + self.data + bytes(-len(self.data) % 512)


FIELDS = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
    "type": (156, 1), "link": (157, 100), "magic": (257, 8), "uname": (265, 32), "gname": (297, 32), "major": (329, 8),
    "minor": (337, 8), "prefix": (345, 155), "tail": (500, 12), "checksum": (148, 8),
}  # fmt: skip


def header(path: str, size: int, /, **fields: bytes) -> bytes:
    """A header in our form, with fields overwritten; the checksum is right unless it is given."""
    raw = path.encode("utf-8", "surrogatepass")
    prefix, name = b"", raw
    while len(name) > 100 and b"/" in name:
        head, _, name = name.partition(b"/")
        prefix = prefix + b"/" + head if prefix else head
    values = {
        "name": name[:100], "mode": b"0000644", "uid": b"0000000", "gid": b"0000000", "size": b"%011o" % size,
        "mtime": b"00000000000", "type": b"0", "magic": b"ustar\x0000", "major": b"0000000", "minor": b"0000000",
        "prefix": prefix, **fields,
    }  # fmt: skip
    block = bytearray(512)
    for name_, value in values.items():
        start, length = FIELDS[name_]
        block[start : start + length] = value.ljust(length, b"\0")[:length]
    if "checksum" not in fields:
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def gzip(data: bytes, *, head: bytes = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff", tail: bytes | None = None) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    if tail is None:
        tail = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return head + deflate.compress(data) + deflate.flush() + tail


def archive(entries: Iterable[Entry], *, end: bytes = bytes(1024)) -> bytes:
    return b"".join(entry.encode() for entry in entries) + end


def entries(
    files: Mapping[str, bytes], *, raw_list: bytes | None = None, raw_signature: bytes | None = None
) -> list[Entry]:
    """All members of a package of these files."""
    raw_list = canonical(listing(files)) if raw_list is None else raw_list
    raw_signature = signature(raw_list) if raw_signature is None else raw_signature
    return [
        Entry("jackfield.list", raw_list),
        Entry("jackfield.sig", raw_signature),
        *(Entry(path, files[path]) for path in sorted(files)),
    ]


def package(files: Mapping[str, bytes] | None = None, /, **changes: Any) -> bytes:
    """A package of these files whose list is changed, and signed as changed."""
    files = contents() if files is None else files
    return gzip(archive(entries(files, raw_list=canonical(listing(files, **changes)))))
