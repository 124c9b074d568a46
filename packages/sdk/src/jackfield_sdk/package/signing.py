"""Who signed a package, and what exactly a key signs."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from jackfield_sdk.package.codes import refusal

__all__ = [
    "SIGNATURE_NAME",
    "Signature",
    "Signer",
    "Verify",
    "key_id_of",
    "key_proof_message",
    "parse_signature",
    "signed_message",
]

SIGNATURE_NAME = "jackfield.sig"

Verify = Callable[[str, bytes, bytes], None]
"""`verify(key_id, signature, message)` raises `PackageError` (`key-unknown`, `signature-invalid`) unless it holds."""


class Signer(Protocol):
    """Who signs packages."""

    @property
    def key_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the raw public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes."""
        ...


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who signed the list, and the signature in base64."""

    algorithm: Literal["ed25519"] = "ed25519"
    key_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]
    signature: Annotated[str, Meta(max_length=88)]

    @classmethod
    def of(cls, signer: Signer, listing: bytes) -> Signature:
        """The signature over a list."""
        raw = signer.sign(signed_message(listing))
        return cls(key_id=signer.key_id, signature=base64.b64encode(raw).decode())

    def encode(self) -> bytes:
        """The bytes in the package."""
        return msgspec.json.encode(self, order="sorted")

    def raw(self) -> bytes:
        """The 64 bytes of the signature.

        Raises:
            PackageError: `package-unsigned`: it is something else.
        """
        try:
            raw = base64.b64decode(self.signature, validate=True)
        except (binascii.Error, ValueError) as error:
            raise refusal("package-unsigned", "the signature is not base64") from error
        if len(raw) != 64:
            raise refusal("package-unsigned", f"the signature has {len(raw)} bytes, not 64")
        return raw


def signed_message(listing: bytes) -> bytes:
    """What the signature is over. The prefix keeps it from being valid for anything else that the key signs."""
    return b"jackfield-package-v1\n" + listing


def parse_signature(data: bytes) -> Signature:
    """Read the signature entry.

    Raises:
        PackageError: `package-unsigned`.
    """
    try:
        signature = msgspec.json.decode(data, type=Signature)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refusal("package-unsigned", f"the signature cannot be read: {error}") from error
    raw = signature.raw()
    if signature.encode() != data or base64.b64encode(raw).decode() != signature.signature:
        raise refusal("package-unsigned", "the signature is not in its canonical form")
    return signature


def key_id_of(public_key: bytes) -> str:
    """How a key is named: the first 16 hex digits of the SHA-256 of its 32 raw public bytes."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def key_proof_message(publisher_id: str) -> bytes:
    """What a key signs to show that whoever adds it to a publisher holds it."""
    return b"jackfield-key-v1\n" + publisher_id.encode()
