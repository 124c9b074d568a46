"""Encryption of secrets at rest: AES-256-GCM, bound to the tenant, the plugin and the field that a secret belongs to.

`docs/decisions/0005-secrets.md` says why. A token is `v1.KEYID.BASE64(nonce + ciphertext + tag)`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jackfield.capabilities.errors import SecretKeyInvalidError, SecretKeyMissingError, SecretUnreadableError
from jackfield.settings import Settings

__all__ = ["SecretKeys", "Vault", "create_key_file", "ensure_key_file", "load_keys", "parse_keys"]

_VERSION = "v1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_FILE = "secret.key"


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """Keys by id.

    Attributes:
        current: Id of the one that encrypts; the others only decrypt what they encrypted before.
    """

    current: str
    by_id: Mapping[str, bytes] = field(repr=False)


class Vault:
    """Encrypts and decrypts. It does not guess: what it cannot prove to be whole and in its place, it refuses."""

    def __init__(self, keys: SecretKeys) -> None:
        self._current = keys.current
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.by_id.items()}

    def encrypt(self, plaintext: str, tenant_id: str, slug: str, name: str) -> str:
        """A token for this place and no other."""
        nonce = os.urandom(_NONCE_BYTES)
        place = _place(self._current, tenant_id, slug, name)
        sealed = self._ciphers[self._current].encrypt(nonce, plaintext.encode(), place)
        return f"{_VERSION}.{self._current}.{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, token: str, tenant_id: str, slug: str, name: str) -> str:
        """The secret.

        Raises:
            SecretUnreadableError: The key is unknown, or the token was changed or belongs elsewhere.
        """
        version, _, rest = token.partition(".")
        key_id, _, body = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise SecretUnreadableError(f"the secret `{name}` was encrypted with a key that this node has not")
        try:
            sealed = base64.b64decode(body, validate=True)
            place = _place(key_id, tenant_id, slug, name)
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretUnreadableError(f"the secret `{name}` cannot be decrypted") from error


def load_keys(settings: Settings) -> SecretKeys:
    """The keys from the settings, or else from the key file in the data directory.

    Raises:
        SecretKeyMissingError: There is neither.
        SecretKeyInvalidError: They cannot be used, or others may read the file.
    """
    if settings.secret_key is not None:
        return parse_keys(settings.secret_key)
    try:
        # Neither follows a link nor waits at a pipe that somebody has put there.
        descriptor = os.open(settings.data_dir / _FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise SecretKeyMissingError("this node has no key for secrets") from error
    except OSError as error:
        raise SecretKeyInvalidError(f"the key file cannot be read: {error.strerror}") from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or stat.S_IMODE(about.st_mode) & 0o077 or about.st_uid != os.geteuid():
            raise SecretKeyInvalidError(
                "the key file is open to others", hint=f"It has to belong to the node's user: chmod 600 {_FILE}"
            )
        text = os.read(descriptor, 16 * 1024)
    finally:
        os.close(descriptor)
    return parse_keys(text.decode("ascii", "replace").strip())


def create_key_file(data_dir: Path) -> Path:
    """Make a key file that only its owner can read; one that is there stays as it is."""
    path = data_dir / _FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    # Beside its place first: a node that is killed half-way must not leave half a key where the next one looks.
    part = data_dir / f"{_FILE}.{os.urandom(4).hex()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{os.urandom(4).hex()}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}\n".encode())
            file.flush()
            # Secrets are encrypted with it from now on: it must not be lost with the power.
            os.fsync(descriptor)
        # Unlike a rename, a link never replaces what is there.
        with suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink()
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def ensure_key_file(data_dir: Path) -> None:
    """Make a key together with a fresh data folder.

    A folder that has a database but no key any more is a loss that must be seen: nothing is made there, and the node
    does not start.
    """
    if not Settings(data_dir=data_dir).database_file.exists():
        create_key_file(data_dir)


def parse_keys(text: str) -> SecretKeys:
    """Read `KEYID:BASE64[,KEYID:BASE64…]`; the first one encrypts. Messages never repeat any of it.

    Raises:
        SecretKeyInvalidError: It is not of this form.
    """
    keys: dict[str, bytes] = {}
    for number, part in enumerate(text.split(","), start=1):
        key_id, _, encoded = part.strip().partition(":")
        if not _KEY_ID.match(key_id) or key_id in keys:
            raise SecretKeyInvalidError(f"key {number} has no id of its own")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            # Without `from`: the cause's text could repeat the key.
            raise SecretKeyInvalidError(f"key {number} is not valid base64") from None
        if len(key) != _KEY_BYTES:
            raise SecretKeyInvalidError(f"key {number} has {len(key)} bytes instead of {_KEY_BYTES}")
        keys[key_id] = key
    return SecretKeys(next(iter(keys)), keys)


def _place(*parts: str) -> bytes:
    """The associated data. Each part with its length before it, so that no two places can read alike."""
    encoded = [part.encode() for part in (_VERSION, *parts)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
