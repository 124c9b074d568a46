"""What goes out: an e-mail with plain text and HTML, and a webhook's body. Pure.

All of it was written by a plugin. In HTML it is escaped, in headers it has no line ends, and a link is a link.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from jackfield.notifications.notes import absolute, single_line

__all__ = ["AddressInvalidError", "Envelope", "Told", "email_of", "webhook_of"]

_ADDRESS = re.compile(r"(?P<user>[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64})@(?P<domain>[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)\Z")
_COLOURS = {"info": "#1f6feb", "success": "#1a7f37", "warning": "#9a6700", "error": "#cf222e"}


class AddressInvalidError(ValueError):
    """An address that no mail can go to."""


@dataclass(frozen=True, slots=True)
class Told:
    """One notification."""

    id: str
    title: str
    body: str
    level: str
    link: str | None
    more: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Envelope:
    """Around what is told.

    Attributes:
        id: Of the message: the same in each attempt, so that a second copy can be told from a new message.
        plugin: Name of the sender.
        base_url: What links within the host's UI begin with.
        unsubscribe_url: Ends the plugin's e-mails.
    """

    id: str
    plugin: str
    tenant: str
    name: str
    address: str
    sender: str
    sender_name: str
    base_url: str
    unsubscribe_url: str


def email_of(envelope: Envelope, told: Sequence[Told], now: datetime) -> EmailMessage:
    """One message with all that is told.

    Raises:
        AddressInvalidError: It cannot be sent to this address, or from that one.
    """
    plugin, tenant = single_line(envelope.plugin), single_line(envelope.tenant)
    message = EmailMessage(policy=SMTP)
    sender = _address(envelope.sender_name, envelope.sender)
    message["From"] = sender
    message["To"] = _address(envelope.name, envelope.address)
    count = sum(1 + one.more for one in told)
    message["Subject"] = single_line(told[0].title)[:200] if count == 1 else f"{count} notifications from {plugin}"
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{envelope.id}@{sender.domain}>"
    message["List-Unsubscribe"] = f"<{envelope.unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    # RFC 3834: no out-of-office reply comes back.
    message["Auto-Submitted"] = "auto-generated"
    foot = f"{plugin} sent this to you as a member of {tenant}."
    message.set_content(_text(told, foot, envelope))
    message.add_alternative(_html(told, foot, envelope), subtype="html")
    return message


def webhook_of(envelope: Envelope, told: Sequence[Told], now: datetime) -> dict[str, Any]:
    """The body of a webhook, as Standard Webhooks has it: type, timestamp, data."""
    return {
        "type": "notification.created" if len(told) == 1 else "notification.digest",
        "timestamp": now.isoformat(),
        "data": {
            "plugin": envelope.plugin,
            "tenant": envelope.tenant,
            "notifications": [
                {
                    "id": one.id, "title": one.title, "body": one.body, "level": one.level,
                    "link": None if one.link is None else absolute(one.link, envelope.base_url), "more": one.more,
                    "created_at": one.created_at.isoformat(),
                }
                for one in told
            ],
        },
    }  # fmt: skip


def _address(name: str, address: str) -> Address:
    match = _ADDRESS.match(address)
    if match is None or len(address) > 320:
        raise AddressInvalidError("no mail can be sent to this address")
    return Address(single_line(name)[:100], match["user"], match["domain"])


def _text(told: Sequence[Told], foot: str, envelope: Envelope) -> str:
    parts: list[str] = []
    for one in told:
        lines = [single_line(one.title)]
        if one.body:
            lines += ["", one.body.rstrip()]
        if one.more:
            lines += ["", f"({one.more} together)"]
        if one.link is not None:
            lines += ["", absolute(one.link, envelope.base_url)]
        parts.append("\n".join(lines))
    end = f"{foot}\nTo get no more e-mails from it: {envelope.unsubscribe_url}\n"
    return "\n\n---\n\n".join(parts) + f"\n\n-- \n{end}"


def _html(told: Sequence[Told], foot: str, envelope: Envelope) -> str:
    parts: list[str] = []
    for one in told:
        body = html.escape(one.body.rstrip()).replace("\n", "<br>")
        link = ""
        if one.link is not None:
            link = f'<p><a href="{html.escape(absolute(one.link, envelope.base_url))}">Open</a></p>'
        colour = _COLOURS.get(one.level, _COLOURS["info"])
        parts.append(
            f'<div style="border-left:4px solid {colour};padding:0 12px;margin:0 0 16px">'
            f'<p style="font-weight:bold">{html.escape(single_line(one.title))}</p><p>{body}</p>{link}</div>'
        )
    unsubscribe = html.escape(envelope.unsubscribe_url)
    return (
        '<!doctype html><html><body style="font-family:sans-serif;font-size:15px">'
        f"{''.join(parts)}"
        f'<p style="color:#666;font-size:13px">{html.escape(foot)} <a href="{unsubscribe}">No more e-mails from it</a>'
        "</p></body></html>"
    )
