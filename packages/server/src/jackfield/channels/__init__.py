"""Channels: lines on which people outside reach plugins, each behind one `Gateway`: Telegram, web chat, HTTP, voice.

Plugins are assigned to channels, in an order; they hear what is said there (`Audience`), write there (`Sending`), and
offer functions there (`Offering`). `docs/decisions/0019-channels.md` says why it is so.
"""

from __future__ import annotations

from jackfield.channels.audience import Audience
from jackfield.channels.endpoints import router
from jackfield.channels.errors import (
    AssignmentMissingError,
    ChannelAmbiguousError,
    ChannelBrokenError,
    ChannelFunctionUnknownError,
    ChannelInvalidError,
    ChannelKeyInvalidError,
    ChannelMissingError,
    ChannelNameTakenError,
    ChannelNotAssignedError,
    ChannelNotConnectedError,
    ChannelTooManyMessagesError,
    GatewayCannotError,
    GatewayRefusedError,
    GatewayUnavailableError,
    SendUnderWayError,
)
from jackfield.channels.inbound import inbound_router
from jackfield.channels.intake import Intake
from jackfield.channels.interfaces import KINDS, FunctionCalls, Gateway
from jackfield.channels.lines import Lines
from jackfield.channels.offering import Offering
from jackfield.channels.polling import Polling
from jackfield.channels.repository import talk_since
from jackfield.channels.sending import Sending
from jackfield.channels.service import Channels
from jackfield.channels.talking import Talking
from jackfield.channels.telegram import Telegram, UpdatesConflictError

__all__ = [
    "KINDS",
    "AssignmentMissingError",
    "Audience",
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
    "Channels",
    "FunctionCalls",
    "Gateway",
    "GatewayCannotError",
    "GatewayRefusedError",
    "GatewayUnavailableError",
    "Intake",
    "Lines",
    "Offering",
    "Polling",
    "SendUnderWayError",
    "Sending",
    "Talking",
    "Telegram",
    "UpdatesConflictError",
    "inbound_router",
    "router",
    "talk_since",
]
