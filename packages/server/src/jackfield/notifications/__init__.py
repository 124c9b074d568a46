"""Notifications to members: in the app, by e-mail, by webhook, as each wants it.

`Notifications` takes them and keeps what members want; `Courier` sends out what leaves the platform, durably. What is
in one was written by a plugin, and is treated so.
"""

from __future__ import annotations

from jackfield.notifications.channels import Mailer, Webhooks
from jackfield.notifications.courier import Courier
from jackfield.notifications.endpoints import router
from jackfield.notifications.errors import (
    MemberOnlyError,
    NotificationMissingError,
    RecipientsTooManyError,
    RecipientUnknownError,
    UnsubscribeTokenError,
    WebhookMissingError,
    WebhookUrlError,
)
from jackfield.notifications.notes import Note, is_link
from jackfield.notifications.repository import count_of, purge
from jackfield.notifications.service import Notifications, Sealer

__all__ = [
    "Courier",
    "Mailer",
    "MemberOnlyError",
    "Note",
    "NotificationMissingError",
    "Notifications",
    "RecipientUnknownError",
    "RecipientsTooManyError",
    "Sealer",
    "UnsubscribeTokenError",
    "WebhookMissingError",
    "WebhookUrlError",
    "Webhooks",
    "count_of",
    "is_link",
    "purge",
    "router",
]
