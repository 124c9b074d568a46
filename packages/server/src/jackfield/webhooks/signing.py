"""Standard Webhooks (https://www.standardwebhooks.com), version 1: HMAC with SHA-256 over id, time and body. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

__all__ = ["key_of", "new_secret", "signature"]

_PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> str:
    """A new secret of 256 bits, as it is shown and stored."""
    return f"{_PREFIX}{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"


def key_of(secret: str) -> bytes:
    """The key in a secret, with its prefix or without.

    Raises:
        ValueError: It holds none.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("no secret of Standard Webhooks") from error
    if not key:
        raise ValueError("an empty secret")
    return key


def signature(secret: str, id: str, timestamp: str, body: bytes) -> str:
    """One signature, with its version.

    Raises:
        ValueError: The secret holds no key.
    """
    signed = hmac.new(key_of(secret), b".".join((id.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"
