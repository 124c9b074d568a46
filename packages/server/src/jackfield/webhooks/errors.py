"""Errors of webhooks."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError, UnavailableError
from jackfield.http import TooManyRequestsError, UnauthenticatedError

__all__ = [
    "AddressUnknownError",
    "EndpointInactiveError",
    "EndpointLimitError",
    "EndpointMissingError",
    "EventPatternError",
    "ReceiverInactiveError",
    "WebhookRefusedError",
    "WebhookUnknownError",
    "WebhookUrlError",
    "WebhooksTooManyError",
]


class WebhookUrlError(InvalidError):
    """A URL that nothing is sent to."""

    code = "webhook-url-invalid"
    default_hint = "An `https://` address on the public internet."


class EventPatternError(InvalidError):
    """What cannot name events."""

    code = "webhook-events-invalid"
    default_hint = "Names as `sale.created`, beginnings as `sale.*`, or `*` for all."


class EndpointMissingError(MissingError):
    """The tenant has no such endpoint."""

    code = "webhook-endpoint-not-found"


class EndpointLimitError(ConflictError):
    """The tenant has as many endpoints as its plan allows."""

    code = "webhook-endpoints-exceeded"
    default_hint = "Remove one, or have one of them take more events."


class EndpointInactiveError(ConflictError):
    """The endpoint is switched off."""

    code = "webhook-endpoint-inactive"
    default_hint = 'Switch it on first: `PATCH` with `{"is_active": true}`.'


class WebhookUnknownError(MissingError):
    """The plugin declares no webhook of this name, or was never at work."""

    code = "webhook-unknown"


class AddressUnknownError(MissingError):
    """Nobody has this address, or not any more."""

    code = "webhook-address-unknown"


class WebhookRefusedError(UnauthenticatedError):
    """It is not signed as it should be. More is not said: whoever sent it may be guessing."""

    code = "webhook-refused"


class ReceiverInactiveError(UnavailableError):
    """The plugin is installed and not at work; the sender is to come again."""

    code = "webhook-inactive"
    default_hint = "Send it again later."


class WebhooksTooManyError(TooManyRequestsError):
    """More webhooks a minute than an address takes."""

    code = "webhook-rate-exceeded"
