"""Errors of channels. None repeats a secret of a gateway."""

from __future__ import annotations

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError
from jackfield.http import TooManyRequestsError, UnauthenticatedError

__all__ = [
    "AssignmentMissingError",
    "ChannelAmbiguousError",
    "ChannelBrokenError",
    "ChannelFunctionUnknownError",
    "ChannelInvalidError",
    "ChannelKeyInvalidError",
    "ChannelMissingError",
    "ChannelNameTakenError",
    "ChannelNotAssignedError",
    "ChannelNotConnectedError",
    "ChannelTooManyMessagesError",
    "GatewayCannotError",
    "GatewayRefusedError",
    "GatewayUnavailableError",
    "SendUnderWayError",
]


class ChannelMissingError(MissingError):
    """The tenant has no such channel."""

    code = "channel-not-found"


class ChannelNameTakenError(ConflictError):
    """Another channel of the tenant is called so."""

    code = "channel-name-taken"
    default_hint = "Give it another name."


class ChannelInvalidError(InvalidError):
    """Settings that a gateway of this kind cannot use."""

    code = "channel-settings-invalid"
    default_hint = "`docs/how-to/channels.md` shows what each kind takes."


class ChannelNotConnectedError(UnavailableError):
    """The channel is switched off, or broken."""

    code = "channel-not-connected"
    default_hint = "An admin of the tenant connects it: `POST /api/channels/{id}/connect`."


class ChannelBrokenError(UnavailableError):
    """The other side does not accept the channel's credentials."""

    code = "channel-broken"
    default_hint = "An admin of the tenant enters the gateway's secret again."


class ChannelKeyInvalidError(UnauthenticatedError):
    """Whoever sends shows no key or token of this channel; or there is no such channel."""

    code = "channel-key-invalid"


class ChannelTooManyMessagesError(TooManyRequestsError):
    """The channel, or one sender on it, has had as many messages as it takes in a minute."""

    code = "channel-messages-exceeded"
    default_hint = "Wait as long as `Retry-After` says."


class AssignmentMissingError(MissingError):
    """The plugin is not assigned to the channel."""

    code = "channel-assignment-not-found"


class ChannelFunctionUnknownError(MissingError):
    """No plugin offers this function on the channel."""

    code = "channel-function-unknown"
    default_hint = "`GET /api/channels/{id}/functions` lists those that there are."


class ChannelNotAssignedError(ForbiddenError):
    """The plugin uses a channel that it is not assigned to."""

    code = "channel-not-assigned"
    default_hint = "An admin of the tenant assigns it: `PUT /api/channels/{id}/plugins/{slug}`."


class ChannelAmbiguousError(InvalidError):
    """The plugin is assigned to several channels of this kind, and does not say which."""

    code = "channel-ambiguous"
    default_hint = '`ctx.gateways["telegram"].on(channel_id)`; `ctx.gateways.list()` says which there are.'


class GatewayCannotError(InvalidError):
    """What channels of this kind do not have."""

    code = "gateway-cannot"


class GatewayRefusedError(InvalidError):
    """The other side does not take the message, and never will."""

    code = "gateway-refused"


class GatewayUnavailableError(UnavailableError):
    """The other side does not answer, or not sensibly."""

    code = "gateway-unavailable"
    default_hint = "Try again later."


class SendUnderWayError(ConflictError):
    """A message with this key is being sent at this moment."""

    code = "send-under-way"
    default_hint = "Try again in a minute."
