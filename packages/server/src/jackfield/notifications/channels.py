"""The ways out: a mail server, and a member's own address by webhook. One file for both: each is a few lines."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage

import aiosmtplib
import msgspec

from jackfield.settings import SmtpSettings
from jackfield.webhooks import Sender

__all__ = ["Mailer", "Sent", "Webhooks"]

_ACCOUNT = "notifications"
"""Whose connections they use: no installation is called so."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How an attempt ended.

    Attributes:
        code: None when it was taken.
        is_final: Another attempt would end the same way.
        is_gone: The receiver wants no more, ever.
    """

    code: str | None = None
    message: str = ""
    is_final: bool = False
    is_gone: bool = False
    retry_after_s: float | None = None


class Mailer:
    """Sends e-mails by one mail server."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        if settings.security != "none":
            self._context = ssl.create_default_context(cafile=settings.ca_file)

    async def send(self, message: EmailMessage, recipient: str) -> Sent:
        """Hand one message to the server. To whom is said apart from the headers: nothing in those is a recipient."""
        settings = self._settings
        try:
            await aiosmtplib.send(
                message,
                sender=settings.sender,
                recipients=[recipient],
                hostname=settings.host,
                port=settings.port,
                username=settings.username,
                password=settings.password,
                timeout=settings.timeout_s,
                use_tls=settings.security == "tls",
                start_tls=settings.security == "starttls",
                tls_context=self._context,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            return Sent("address-refused", _said(refused.message), is_final=refused.code >= 500)
        except aiosmtplib.SMTPAuthenticationError as error:
            # The operator's fault, not the message's: it waits.
            return Sent("smtp-credentials", _said(error.message))
        except aiosmtplib.SMTPResponseException as error:
            return Sent("smtp-refused", _said(error.message), is_final=error.code >= 500)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return Sent("smtp-unreachable", _said(str(error) or type(error).__name__))
        return Sent()


class Webhooks:
    """Sends webhooks, signed as Standard Webhooks has it."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def check(self, tenant_id: str, url: str) -> None:
        """Refuse an address that nothing is sent to, before anything is.

        Raises:
            WebhookUrlError: It is one.
        """
        self._sender.check(tenant_id, url, account=_ACCOUNT)

    async def send(self, tenant_id: str, id: str, url: str, secret: str, body: object, now: datetime) -> Sent:
        """Post one message."""
        data = msgspec.json.encode(body)
        sent = await self._sender.send(tenant_id, id, url, [secret], data, now, account=_ACCOUNT)
        return Sent(sent.code, sent.message, sent.is_final, sent.is_gone, sent.retry_after_s)


def _said(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:300])
