"""The chain itself: what an entry's hash is over, its seal, and the signature of an end. No database here.

| value | made of |
| --- | --- |
| `hash` | SHA-256 of the entry's canonical bytes, in which the hash of the one before is the last field |
| `seal` | HMAC-SHA-256 of the hash, with a key that the database does not hold in the clear |
| signature of a head | Ed25519 over tenant, number, hash and time, with a key made from the same one |

The hash needs no key, so that whoever has an export can follow the chain to its signed end. The seal is what somebody
who can write the database cannot make.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jackfield.records.errors import AuditHeadInvalidError, AuditKeyMissingError

__all__ = ["ADOPTED", "FIELDS", "AuditKeys", "Head", "canonical", "digest", "parse_head", "read_head", "timestamp"]

ADOPTED: Final = "adopted"
"""Stands for the key of entries that were there before the chain; a checkpoint vouches for them."""
FIELDS: Final = (
    "tenant_id", "seq", "at", "actor", "actor_name", "token_id", "on_behalf_of", "plugin", "action", "target", "before",
    "after", "ip", "user_agent", "trace_id", "node_id", "key_id", "previous",
)  # fmt: skip
"""What an entry's hash is over, in order, after the name of the format."""
_FORMAT: Final = "jackfield-audit-1"
_HEAD_FORMAT: Final = "jackfield-audit-head-1"
_encoder = msgspec.json.Encoder(order="deterministic")


def timestamp(moment: datetime) -> str:
    """A moment as the hash is over it: UTC, with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def canonical(entry: Mapping[str, Any]) -> bytes:
    """An entry as bytes: a JSON list without blanks, members of objects by name.

    Args:
        entry: A value for each of `FIELDS`; `at` as a datetime or as `timestamp` has it.
    """
    at = entry["at"]
    values = [timestamp(at) if name == "at" and isinstance(at, datetime) else entry[name] for name in FIELDS]
    return _encoder.encode([_FORMAT, *values])


def digest(entry: Mapping[str, Any]) -> str:
    """The hash of an entry: 64 hex digits."""
    return hashlib.sha256(canonical(entry)).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """The signed end of a chain, as it is kept elsewhere: whoever has it can tell later that nothing was cut off.

    Attributes:
        public_key: Of the signature; base64.
        signature: Base64.
    """

    tenant_id: str
    seq: int
    hash: str
    at: str
    public_key: str
    signature: str

    @property
    def token(self) -> str:
        """In one line."""
        return "jfhead1." + base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    def is_genuine(self) -> bool:
        """Whether the signature is that of the public key. Whose key that is, is another question."""
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.public_key, validate=True))
            signature = base64.b64decode(self.signature, validate=True)
            key.verify(signature, _signed(self.tenant_id, self.seq, self.hash, self.at))
        except (InvalidSignature, ValueError):
            return False
        return True


def read_head(token: str) -> Head:
    """A head from its `token`.

    Raises:
        AuditHeadInvalidError: It is none, or its signature is not its own.
    """
    head = parse_head(token)
    if not head.is_genuine():
        raise AuditHeadInvalidError("the end of the audit trail has a signature that is not its own")
    return head


def parse_head(token: str) -> Head:
    """A head from its `token`, whoever has signed it.

    Raises:
        AuditHeadInvalidError: It is none.
    """
    prefix, _, body = token.strip().partition(".")
    try:
        if prefix != "jfhead1":
            raise ValueError(prefix)
        data = base64.b64decode(body.encode("ascii") + b"=" * (-len(body) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=Head)
    except (ValueError, msgspec.DecodeError) as error:
        raise AuditHeadInvalidError("that is no end of an audit trail") from error


@dataclass(slots=True)
class AuditKeys:
    """The keys of the seals. Filled when the platform starts; until then nothing can be added to the trail.

    Attributes:
        current: Id of the one that seals; the others only verify.
        reload: Reads them anew: another node may have a newer one.
    """

    current: str = ""
    reload: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    _seals: dict[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    _signers: dict[str, Ed25519PrivateKey] = field(default_factory=dict[str, Ed25519PrivateKey], repr=False)

    def take(self, current: str, secrets: Mapping[str, bytes]) -> None:
        """Use these keys from now on.

        Args:
            secrets: 32 bytes each. They are only what keys are made from, so that other uses of them cannot meet.
        """
        self._seals = {id: hmac.digest(secret, b"jackfield audit seal", "sha256") for id, secret in secrets.items()}
        self._signers = {
            id: Ed25519PrivateKey.from_private_bytes(hmac.digest(secret, b"jackfield audit signature", "sha256"))
            for id, secret in secrets.items()
        }
        self.current = current

    async def refresh(self) -> None:
        """Know all that there are, before something is taken for forged."""
        if self.reload is not None:
            await self.reload()

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._seals

    @property
    def public_keys(self) -> list[str]:
        """Of signatures, the present one first; base64."""
        ids = [self.current, *(id for id in self._signers if id != self.current)]
        return [_public(self._signers[id]) for id in ids]

    def seal(self, entry_hash: str) -> str:
        """The seal of an entry, with the present key.

        Raises:
            AuditKeyMissingError: There is none yet.
        """
        return self._tag(self.current, b"entry\0" + entry_hash.encode())

    def has_sealed(self, key_id: str, entry_hash: str, seal: str) -> bool:
        """Whether a seal is that of a hash."""
        return key_id in self and hmac.compare_digest(self._tag(key_id, b"entry\0" + entry_hash.encode()), seal)

    def seal_checkpoint(self, tenant_id: str, kind: str, seq: int, hash_: str, removed: int, at: datetime) -> str:
        """The seal of a checkpoint, with the present key.

        Raises:
            AuditKeyMissingError: There is none yet.
        """
        return self._tag(self.current, _checkpoint(tenant_id, kind, seq, hash_, removed, at))

    def has_sealed_checkpoint(self, row: Any) -> bool:
        """Whether the seal of an `AuditCheckpoint` is its own."""
        about = _checkpoint(row.tenant_id, row.kind, row.seq, row.hash, row.removed, row.at)
        return row.key_id in self and hmac.compare_digest(self._tag(row.key_id, about), row.seal)

    def sign(self, tenant_id: str, seq: int, hash_: str, at: datetime) -> Head:
        """The signed end of a chain.

        Raises:
            AuditKeyMissingError: There is no key yet.
        """
        signer = self._signer()
        told = timestamp(at)
        signature = base64.b64encode(signer.sign(_signed(tenant_id, seq, hash_, told))).decode()
        return Head(tenant_id, seq, hash_, told, _public(signer), signature)

    def sign_bytes(self, purpose: bytes, data: bytes) -> str:
        """A signature over something else, for one purpose; base64.

        Raises:
            AuditKeyMissingError: There is no key yet.
        """
        return base64.b64encode(self._signer().sign(purpose + b"\0" + data)).decode()

    def _signer(self) -> Ed25519PrivateKey:
        if self.current not in self._signers:
            raise AuditKeyMissingError("the keys of the audit trail are not there")
        return self._signers[self.current]

    def _tag(self, key_id: str, message: bytes) -> str:
        key = self._seals.get(key_id)
        if key is None:
            raise AuditKeyMissingError("the keys of the audit trail are not there")
        return hmac.digest(key, message, "sha256").hex()


def _public(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _signed(tenant_id: str, seq: int, hash_: str, at: str) -> bytes:
    return _encoder.encode([_HEAD_FORMAT, tenant_id, seq, hash_, at])


def _checkpoint(tenant_id: str, kind: str, seq: int, hash_: str, removed: int, at: datetime) -> bytes:
    return b"checkpoint\0" + _encoder.encode([tenant_id, kind, seq, hash_, removed, timestamp(at)])
