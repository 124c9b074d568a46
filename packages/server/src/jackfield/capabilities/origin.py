"""How a call came about through other plugins: who called, after which events, and what they handed along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from jackfield.capabilities.context import CapabilityContext

__all__ = ["CALL_DEPTH", "EVENT_DEPTH", "Cause", "Origin", "cause_of", "traceparent_of"]

CALL_DEPTH = 5
"""Calls from plugin to plugin, one within the other."""
EVENT_DEPTH = 10
"""Events that plugins send because of one another. One that is further down is not delivered."""


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event was sent because of; kept with it, as JSON.

    Attributes:
        depth: Events of plugins up to it and with it.
        trail: The plugins that sent them, the last ten.
        shared: What the first caller handed along.
        traceparent: The span in which it was sent.
    """

    depth: int = 0
    trail: tuple[str, ...] = ()
    shared: dict[str, Any] | None = None
    traceparent: str = ""


def traceparent_of(cause: str | None) -> str:
    """The span in which an event was sent, by its cause as it is kept; empty when there was none."""
    if cause is None:
        return ""
    try:
        return msgspec.json.decode(cause, type=Cause).traceparent
    except msgspec.MsgspecError:
        return ""


def cause_of(traceparent: str) -> str | None:
    """That something was sent in a span, as it is kept; None when it was in none."""
    return msgspec.json.encode(Cause(traceparent=traceparent)).decode() if traceparent else None


@dataclass(frozen=True, slots=True)
class Origin:
    """Of one call. Most calls have none: host or member called, and handed nothing along.

    Attributes:
        chain: The calls within which it is made, the first one first.
        event_depth: Events of plugins that led here.
        trail: The plugins that sent them.
        shared: What the first caller handed along.
    """

    chain: tuple[CapabilityContext, ...] = ()
    event_depth: int = 0
    trail: tuple[str, ...] = ()
    shared: Mapping[str, Any] | None = None
