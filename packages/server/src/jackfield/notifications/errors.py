"""Errors of notifications."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError
from jackfield.webhooks.errors import WebhookUrlError

__all__ = [
    "MemberOnlyError",
    "NotificationMissingError",
    "RecipientUnknownError",
    "RecipientsTooManyError",
    "UnsubscribeTokenError",
    "WebhookMissingError",
    "WebhookUrlError",
]


class RecipientUnknownError(InvalidError):
    """A notification to somebody who is no member of the tenant."""

    code = "recipient-unknown"
    default_hint = "Name members by id, a role (owner, admin, member), or `all`."


class RecipientsTooManyError(InvalidError):
    """More members than one notification goes to."""

    code = "recipients-too-many"
    default_hint = "Name a role, or some of them."


class NotificationMissingError(MissingError):
    """The member has no such notification."""

    code = "notification-not-found"


class MemberOnlyError(ConflictError):
    """A token that stands for a program has no notifications."""

    code = "member-needed"
    default_hint = "Use the token of a member."


class WebhookMissingError(MissingError):
    """The member has no webhook."""

    code = "webhook-not-found"


class UnsubscribeTokenError(MissingError):
    """An unsubscribe link that is none of ours, or of somebody who is gone."""

    code = "unsubscribe-unknown"
    default_hint = "Change what you receive in the settings of notifications."
