"""Whether a webhook comes from whom it should, and what its sender calls it. Pure.

What is refused is told apart here for the tenant's admins; the sender learns nothing of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from jackfield.webhooks.signing import key_of, signature

__all__ = ["DEFAULT_HEADER", "TOLERANCE_S", "Scheme", "candidates", "receipt_key", "refusal"]

Scheme = Literal["none", "hmac-sha256", "standard-webhooks", "stripe", "telegram", "github"]

TOLERANCE_S = 300
"""How far a signed time may be from ours, both ways."""
DEFAULT_HEADER = "x-signature"
"""Where `hmac-sha256` looks, unless the release says otherwise."""

_SIGNATURES = 16
"""That are looked at: each costs a hash over the body with each secret."""
_SECRETS = 8
_HEADER_CHARS = 8_192
_ID_CHARS = 256
_TIME = re.compile(r"[0-9]{1,12}\Z")


def candidates(secret: str) -> tuple[str, ...]:
    """The secrets in a configured text: itself, and when it has several parts with space between, each of them, for the
    time in which a sender's secret is replaced."""
    parts = secret.split()
    return tuple(dict.fromkeys((secret, *parts[:_SECRETS]))) if len(parts) > 1 else (secret.strip(),)


def refusal(
    scheme: Scheme,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    now: datetime,
    header: str | None = None,
) -> str | None:
    """Why a webhook is refused; None when it is genuine.

    Args:
        headers: Names in lower case.
        secrets: All that are good now. Without any, only the scheme `none` lets something in.
        header: Where `hmac-sha256` finds the signature.
    """
    if scheme == "none":
        return None
    secrets = [secret for secret in secrets if secret]
    if not secrets:
        return "secret-not-set"
    if scheme == "standard-webhooks":
        return _standard(headers, body, secrets, now)
    if scheme == "stripe":
        return _stripe(headers, body, secrets, now)
    if scheme == "telegram":
        given = headers.get("x-telegram-bot-api-secret-token", "")
        return _judged(given, (secret.encode() for secret in secrets))
    if scheme == "github":
        given = headers.get("x-hub-signature-256", "")
        return _judged(given, (b"sha256=" + _hex(secret, body) for secret in secrets))
    given = headers.get((header or DEFAULT_HEADER).lower(), "").strip().removeprefix("sha256=")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", given):
        return _judged(given.lower(), (_hex(secret, body) for secret in secrets))
    return _judged(given, (base64.b64encode(_digest(secret, body)) for secret in secrets))


def receipt_key(scheme: Scheme, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> tuple[str, bool]:
    """What a webhook is known by, and whether that is an id of its sender's: else it is its content."""
    id = _id(scheme, headers, body)
    if id is not None:
        return hashlib.sha256(f"id\0{id}".encode("utf-8", "replace")).hexdigest(), True
    digest = hashlib.sha256(b"content\0")
    digest.update(msgspec.json.encode(sorted(query.items())))
    digest.update(b"\0" + body)
    return digest.hexdigest(), False


def _id(scheme: Scheme, headers: Mapping[str, str], body: bytes) -> str | None:
    if scheme == "standard-webhooks":
        id: Any = headers.get("webhook-id")
    elif scheme == "github":
        id = headers.get("x-github-delivery")
    elif scheme == "stripe":
        id = _member(body, "id")
    elif scheme == "telegram":
        number = _member(body, "update_id")
        id = str(number) if isinstance(number, int) and not isinstance(number, bool) else None
    else:
        return None
    return id if isinstance(id, str) and 1 <= len(id) <= _ID_CHARS else None


def _member(body: bytes, name: str) -> Any:
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value.get(name) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # of JSON


def _standard(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: datetime) -> str | None:
    id, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not id or not moment or not given:
        return "signature-missing"
    if len(id) > _HEADER_CHARS or len(given) > _HEADER_CHARS:
        return "signature-mismatch"
    if late := _untimely(moment, now):
        return late
    signatures = [one for one in given.split(" ") if one.startswith("v1,")][:_SIGNATURES]
    keys = [secret for secret in secrets if _is_key(secret)]
    if not keys:
        return "secret-invalid"
    return _any_of(signatures, [signature(secret, id, moment, body).encode() for secret in keys])


def _stripe(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: datetime) -> str | None:
    given = headers.get("stripe-signature", "")
    if not given:
        return "signature-missing"
    if len(given) > _HEADER_CHARS:
        return "signature-mismatch"
    parts = [part.strip().partition("=") for part in given.split(",")]
    moment = next((value for name, _, value in parts if name == "t"), "")
    if late := _untimely(moment, now):
        return late
    signatures = [value for name, _, value in parts if name == "v1"][:_SIGNATURES]
    return _any_of(signatures, [_hex(secret, moment.encode() + b"." + body) for secret in secrets])


def _untimely(moment: str, now: datetime) -> str | None:
    if not _TIME.match(moment):
        return "time-invalid"
    return "time-out-of-tolerance" if abs(now.timestamp() - int(moment)) > TOLERANCE_S else None


def _judged(given: str, expected: Iterable[bytes]) -> str | None:
    if not given:
        return "signature-missing"
    return _any_of([given[:_HEADER_CHARS]], expected)


def _any_of(given: Sequence[str], expected: Iterable[bytes]) -> str | None:
    """Each with each, in the same time whatever they are."""
    is_good = False
    sent = [one.encode("utf-8", "replace") for one in given]
    for right in expected:
        for one in sent:
            is_good |= hmac.compare_digest(one, right)
    return None if is_good else "signature-mismatch"


def _is_key(secret: str) -> bool:
    try:
        key_of(secret)
    except ValueError:
        return False
    return True


def _digest(secret: str, data: bytes) -> bytes:
    return hmac.new(secret.encode(), data, hashlib.sha256).digest()


def _hex(secret: str, data: bytes) -> bytes:
    return _digest(secret, data).hex().encode()
