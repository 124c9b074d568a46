"""What can be heard, and by whom."""

from __future__ import annotations

from typing import Final, Literal, get_args

from jackfield.http import Caller

__all__ = ["DELIVERIES", "KINDS", "Kind", "heard_by"]

Kind = Literal["installation", "delivery", "stats", "widget", "notification", "schedule", "channel", "breaker"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
DELIVERIES: Final[frozenset[Kind]] = frozenset({"delivery", "stats"})
"""Told once a second at most, from tables that are there anyway; not told again to who comes back."""
_ADMINS: Final[frozenset[Kind]] = frozenset({"delivery", "stats", "channel"})
"""A member may look up what a plugin received; to follow all plugins all the time is for who answers for them. Channels
are the admins' own, as their endpoints are."""
_OPERATORS: Final[frozenset[Kind]] = frozenset({"installation", "delivery", "stats", "schedule", "channel", "breaker"})
"""What happened and how it ended. What a plugin shows to members, and what is for one of them, is none of theirs."""


def heard_by(caller: Caller) -> frozenset[Kind]:
    """What the role may hear. Notifications are the member's own, so a token without a member has none."""
    if caller.role == "operator":
        return _OPERATORS
    kinds = frozenset(KINDS)
    if caller.role == "member":
        kinds -= _ADMINS
    return kinds if caller.member_id is not None else kinds - {"notification"}
