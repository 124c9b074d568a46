"""What a member wants to be told, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

__all__ = ["CHANNELS", "DEFAULTS", "Channel", "wanted"]

Channel = Literal["in_app", "email", "webhook"]

CHANNELS: tuple[Channel, ...] = get_args(Channel)
DEFAULTS: Mapping[Channel, bool] = {"in_app": True, "email": True, "webhook": True}
"""Where a member has said nothing. A webhook comes only to those who have given an address for it."""


def wanted(
    choices: Mapping[tuple[str, str], bool], plugin: str, available: Iterable[Channel] = CHANNELS
) -> frozenset[Channel]:
    """Channels by which a member wants to hear of a plugin.

    Args:
        choices: Plugin (empty: all) and channel → whether it is on.
        available: Channels that there are.
    """

    def is_on(channel: Channel) -> bool:
        # A plugin that was muted stays so, whatever is chosen for all later on; and the other way round.
        return choices.get((plugin, channel), choices.get(("", channel), DEFAULTS[channel]))

    return frozenset(channel for channel in available if is_on(channel))
