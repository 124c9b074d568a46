"""Looks through an exported audit trail without the platform: nothing but the file, and a public key to believe.

The file is what `GET /api/audit/export` gives: a line about it, a line for each entry, and a line that is signed. The
hash of an entry is over the one before, so a signed end speaks for all of them. The platform has code of its own for
this (`jackfield.records.trail`); this one follows the description in `docs/explanation/records.md`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jackfield_cli.errors import CliError

__all__ = ["FileVerdict", "verify_lines"]

_FORMAT: Final = "jackfield-audit-1"
_FIELDS: Final = (
    "tenant_id", "seq", "at", "actor", "actor_name", "token_id", "on_behalf_of", "plugin", "action", "target", "before",
    "after", "ip", "user_agent", "trace_id", "node_id", "key_id", "previous",
)  # fmt: skip
_LINE_BYTES: Final = 1024 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """What a file is found to be.

    Attributes:
        is_whole: Whether all entries of the trail should be there, and not only those of a filter.
        public_key: Whose signature it bears; None when it bears none.
        is_trusted: Whether that key is one that was given as the platform's.
        fault: The first thing that is wrong.
    """

    tenant_id: str
    entries: int
    first: int
    last: int
    is_whole: bool
    public_key: str | None
    is_trusted: bool
    fault: str | None


class _FaultError(Exception):
    """Ends a walk."""


def verify_lines(lines: Iterable[bytes], trusted: Iterable[str]) -> FileVerdict:
    """Look through an export.

    Args:
        lines: With their ends.
        trusted: Public keys of the platform, base64.

    Raises:
        CliError: It is no export of an audit trail.
    """
    walk = _Walk()
    fault: str | None = None
    try:
        for line in lines:
            walk.take(line)
        walk.end()
    except _FaultError as error:
        fault = str(error)
    if walk.about is None:
        raise CliError("that is no export of an audit trail", code="audit-file-invalid",
                       hint="`jackfield audit export` writes one, as NDJSON.")  # fmt: skip
    return FileVerdict(
        tenant_id=walk.about.tenant_id, entries=walk.entries, first=walk.first, last=walk.last,
        is_whole=not walk.about.filter, public_key=walk.public_key,
        is_trusted=walk.public_key is not None and walk.public_key in set(trusted), fault=fault,
    )  # fmt: skip


class _Dropped(msgspec.Struct):
    seq: int
    hash: str


class _About(msgspec.Struct):
    """The first line."""

    format: str
    tenant_id: str
    filter: dict[str, Any]
    dropped: _Dropped | None


class _Head(msgspec.Struct):
    tenant_id: str
    seq: int
    hash: str
    at: str
    public_key: str
    signature: str


class _Closing(msgspec.Struct):
    """The last line."""

    entries: int
    sha256: str
    end: _Head | None
    signature: str = ""


class _Walk:
    """How far it went."""

    def __init__(self) -> None:
        self.about: _About | None = None
        self.entries = self.first = self.last = 0
        self.public_key: str | None = None
        self._hash = ""
        self._summed = hashlib.sha256()
        self._closing: _Closing | None = None

    def take(self, line: bytes) -> None:
        """Look at the next line."""
        if self.about is None:
            self._begin(_decoded(line, _About))
        elif self._closing is not None:
            raise _FaultError("there is something behind its end")
        else:
            value = _decoded(line, dict[str, Any])
            if "seq" not in value:
                self._closing = _decoded(line, _Closing)
                return
            self._entry(value, self.about)
        self._summed.update(line)

    def end(self) -> None:
        """Look at the last line, once all are through."""
        closing, about = self._closing, self.about
        if closing is None or about is None:
            raise _FaultError("its end is missing")
        if closing.entries != self.entries or closing.sha256 != self._summed.hexdigest():
            raise _FaultError("it is not the file that was written: lines were changed, removed or put in")
        head = closing.end
        if head is None:
            raise _FaultError("it is not signed: the platform did not find its own seal at the end of the trail")
        signed = msgspec.json.encode(["jackfield-audit-head-1", head.tenant_id, head.seq, head.hash, head.at])
        whole = f"jackfield-audit-export-1\0{closing.sha256} {self.entries}".encode()
        _check(head.public_key, head.signature, signed)
        _check(head.public_key, closing.signature, whole)
        self.public_key = head.public_key
        if head.tenant_id != about.tenant_id:
            raise _FaultError("its end is that of another tenant")
        if not about.filter and (head.seq, head.hash) != (self.last, self._hash):
            raise _FaultError(f"the trail ended at entry {head.seq}, and the file ends at {self.last}")

    def _begin(self, about: _About) -> None:
        if about.format != _FORMAT:
            raise _FaultError("it has another format")
        self.about = about
        if about.dropped is not None:
            self.last, self._hash = about.dropped.seq, about.dropped.hash
        self.first = self.last + 1

    def _entry(self, value: Mapping[str, Any], about: _About) -> None:
        seq = value["seq"]
        if any(name not in value for name in _FIELDS) or not isinstance(seq, int):
            raise _FaultError("an entry is not whole")
        if hashlib.sha256(_canonical(value)).hexdigest() != value.get("hash"):
            raise _FaultError(f"entry {seq} does not say what it said")
        if value["tenant_id"] != about.tenant_id:
            raise _FaultError(f"entry {seq} is another tenant's")
        if seq <= self.last:
            raise _FaultError(f"entry {seq} comes after {self.last}")
        is_next = seq == self.last + 1
        if not is_next and not about.filter:
            raise _FaultError(f"entries are missing before {seq}")
        if is_next and value["previous"] != self._hash:
            raise _FaultError(f"entry {seq} does not follow from the one before")
        if not self.entries:
            self.first = seq
        self.last, self._hash = seq, str(value["hash"])
        self.entries += 1


def _canonical(value: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode([_FORMAT, *(value[name] for name in _FIELDS)], order="deterministic")


def _decoded(line: bytes, kind: type[T]) -> T:
    try:
        if len(line) > _LINE_BYTES:
            raise ValueError(len(line))
        return msgspec.json.decode(line, type=kind)
    except (ValueError, msgspec.DecodeError) as error:
        raise _FaultError("a line of it cannot be read") from error


def _check(public_key: str, signature: str, data: bytes) -> None:
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(signature, validate=True), data)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise _FaultError("its signature is not that of the key that it names") from error
