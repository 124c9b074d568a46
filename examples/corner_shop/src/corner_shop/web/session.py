"""Who is signed in: a signed cookie, one for each organisation, and the token that its forms carry."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass

__all__ = ["LIFETIME_S", "Session", "Sessions"]

LIFETIME_S = 12 * 3600


@dataclass(frozen=True)
class Session:
    """A signed-in employee.

    Attributes:
        csrf: Must come back with every form: a page of another origin cannot know it.
    """

    tenant_id: str
    employee_id: str
    csrf: str


class Sessions:
    """Seals and opens cookies.

    Args:
        key: At least 32 random bytes that never leave this machine.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, tenant_id: str, employee_id: str) -> str:
        """A cookie's value, good for `LIFETIME_S`."""
        body = json.dumps([tenant_id, employee_id, int(time.time()) + LIFETIME_S, secrets.token_hex(8)])
        encoded = base64.urlsafe_b64encode(body.encode()).decode()
        return f"{encoded}.{self._sign('session', encoded)}"

    def open(self, cookie: str, tenant_id: str) -> Session | None:
        """The session in a cookie, unless it is forged, stale, or for another organisation."""
        encoded, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", encoded).encode()):
            return None
        tenant, employee_id, expires_at, _nonce = json.loads(base64.urlsafe_b64decode(encoded))
        if tenant != tenant_id or expires_at < time.time():
            return None
        return Session(tenant_id=tenant, employee_id=employee_id, csrf=self._sign("csrf", encoded))

    def _sign(self, purpose: str, encoded: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{encoded}".encode(), hashlib.sha256).hexdigest()
