"""Locks a key file with a passphrase: scrypt (RFC 7914) and AES-256-GCM."""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from jackfield.backup.errors import PassphraseError

__all__ = ["PASSPHRASE_CHARS", "locked", "unlocked"]

PASSPHRASE_CHARS: Final = 12
_MARK: Final = b"jackfield keys 1\n"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12


def locked(keys: bytes, passphrase: str) -> bytes:
    """The mark, the salt, the nonce, and what is encrypted.

    Raises:
        PassphraseError: It is shorter than `PASSPHRASE_CHARS`.
    """
    if len(passphrase) < PASSPHRASE_CHARS:
        raise PassphraseError(f"a passphrase has at least {PASSPHRASE_CHARS} characters")
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    return _MARK + salt + nonce + AESGCM(_derived(passphrase, salt)).encrypt(nonce, keys, _MARK)


def unlocked(text: bytes, passphrase: str) -> bytes:
    """The keys again.

    Raises:
        PassphraseError: It is another one, or the text was changed.
    """
    rest = text.removeprefix(_MARK)
    salt, nonce, sealed = rest[:_SALT_BYTES], rest[_SALT_BYTES:][:_NONCE_BYTES], rest[_SALT_BYTES + _NONCE_BYTES :]
    try:
        if rest == text:
            raise InvalidTag
        return AESGCM(_derived(passphrase, salt)).decrypt(nonce, sealed, _MARK)
    except (InvalidTag, ValueError) as error:
        raise PassphraseError("the keys in the backup cannot be opened with this passphrase") from error


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())
