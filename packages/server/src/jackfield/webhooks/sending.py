"""One signed request to a receiver, by the platform's one way out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jackfield.egress import Egress, HostPolicy, OutboundRequest
from jackfield.egress.errors import (
    AddressRefusedError,
    EgressBusyError,
    HostNotGrantedError,
    RequestRefusedError,
    TooManyRequestsError,
    UrlRefusedError,
)
from jackfield.egress.urls import Target, parse_url
from jackfield.errors import JackfieldError
from jackfield.settings import EgressSettings
from jackfield.webhooks.errors import WebhookUrlError
from jackfield.webhooks.signing import signature

__all__ = ["Sender", "Sent"]

TIMEOUT_S = 15.0
_RESPONSE_BYTES = 64 * 1024
_ANSWER_BYTES = 1024
_GONE = 410
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Sent:
    """How an attempt ended.

    Attributes:
        code: None when it was taken.
        status: Of the answer; None when there was none.
        answer: How it begins, as text.
        is_final: Another attempt would end the same way.
        is_gone: The receiver wants no more, ever.
        is_unsent: Nothing has left the platform: it has its hands full.
    """

    code: str | None = None
    message: str = ""
    status: int | None = None
    answer: str = ""
    is_final: bool = False
    is_gone: bool = False
    is_unsent: bool = False
    retry_after_s: float | None = None
    duration_ms: float = 0.0


class Sender:
    """Signs as Standard Webhooks has it, follows no redirect, and reaches what egress reaches."""

    def __init__(self, egress: Egress, settings: EgressSettings) -> None:
        self._egress = egress
        self._plain_http = settings.plain_http

    def check(self, tenant_id: str, url: str, *, account: str = "webhooks") -> None:
        """Refuse an address that nothing is sent to, before anything is.

        Raises:
            WebhookUrlError: It is one.
        """
        try:
            target = parse_url(url)
            if target.scheme != "https" and not self._plain_http:
                raise WebhookUrlError("a webhook goes to an `https://` address")
            self._egress.check(OutboundRequest("POST", url), _policy(tenant_id, account, target))
        except (UrlRefusedError, RequestRefusedError, HostNotGrantedError, AddressRefusedError) as error:
            raise WebhookUrlError(f"nothing is sent there: {error}"[:300]) from error

    async def send(
        self,
        tenant_id: str,
        id: str,
        url: str,
        secrets: Sequence[str],
        data: bytes,
        now: datetime,
        *,
        account: str = "webhooks",
    ) -> Sent:
        """Post one message.

        Args:
            id: The same in every attempt: by it a receiver tells copies.
            secrets: It is signed with each of them.
            account: Whose connections are used: an endpoint's id, or a word that no installation is called.
        """
        moment = str(int(now.timestamp()))
        headers = (
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", moment),
            ("webhook-signature", " ".join(signature(secret, id, moment, data) for secret in secrets)),
        )
        started = time.perf_counter()

        def took() -> float:
            return (time.perf_counter() - started) * 1000

        try:
            response = await self._egress.send(
                OutboundRequest(
                    "POST", url, headers, data, timeout_s=TIMEOUT_S, max_response_bytes=_RESPONSE_BYTES,
                    max_redirects=0,
                ),
                _policy(tenant_id, account, parse_url(url)),
            )  # fmt: skip
        except (UrlRefusedError, RequestRefusedError, HostNotGrantedError) as error:
            return Sent(error.code, str(error)[:300], is_final=True, duration_ms=took())
        except (EgressBusyError, TooManyRequestsError) as error:
            return Sent(error.code, str(error)[:300], is_unsent=True)
        except JackfieldError as error:
            return Sent(error.code, str(error)[:300], duration_ms=took())
        status, answer = response.status, _text(response.body)
        if 200 <= status < 300:
            return Sent(status=status, answer=answer, duration_ms=took())
        said = f"it answered {status}" + ("; redirects are not followed" if 300 <= status < 400 else "")
        if status == _GONE:
            return Sent("webhook-gone", said, status, answer, is_final=True, is_gone=True, duration_ms=took())
        later = response.header("retry-after") if status in _LATER or status >= 500 else None
        return Sent(
            "webhook-refused", said, status, answer, duration_ms=took(),
            retry_after_s=float(later[:9]) if later and later.isascii() and later.isdecimal() else None,
        )  # fmt: skip


def _policy(tenant_id: str, account: str, target: Target) -> HostPolicy:
    usual = (target.scheme, target.port) == ("https", 443)
    host = f"[{target.host}]" if ":" in target.host else target.host
    return HostPolicy(tenant_id, account, (host if usual else f"{host}:{target.port}",))


def _text(body: bytes) -> str:
    """The beginning of an answer, as any database takes it."""
    return body[:_ANSWER_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
