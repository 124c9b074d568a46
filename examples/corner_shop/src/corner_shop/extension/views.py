"""What the page of plugins shows: the platform's values in the words and shapes of this application."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Installed", "Offer", "Permission", "Proposal", "Record"]


@dataclass(frozen=True)
class Permission:
    """One thing a plugin may do.

    Attributes:
        text: In plain words.
        risk: `low`, `medium` or `high`.
        reason: Why its author asks for it; may be empty.
        is_optional: It works without.
        is_own: It concerns the plugin's own things, and comes with installing it.
        is_granted: The organisation gave it.
    """

    name: str
    text: str
    risk: str
    reason: str = ""
    is_optional: bool = False
    is_own: bool = False
    is_granted: bool = True


@dataclass(frozen=True)
class Record:
    """One run of a plugin's code."""

    at: datetime
    plugin: str
    kind: str
    name: str
    status: str
    duration_ms: float
    on_behalf_of: str
    message: str


@dataclass(frozen=True)
class Installed:
    """A plugin that the organisation has.

    Attributes:
        trouble: Why it does not run although nobody switched it off.
        consented_by: Name of whoever installed it, and with that gave the permissions.
    """

    slug: str
    name: str
    version: str
    summary: str
    state: str
    trouble: str
    consented_by: str
    installed_at: datetime
    permissions: list[Permission]
    calls: int
    failures: int
    mean_ms: float
    last_run: datetime | None


@dataclass(frozen=True)
class Offer:
    """A plugin in the marketplace.

    Attributes:
        is_installed: The organisation has it already.
    """

    slug: str
    name: str
    version: str
    summary: str
    publisher: str
    category: str
    is_installed: bool


@dataclass(frozen=True)
class Proposal:
    """An offer with all that somebody has to know before they agree to it.

    Attributes:
        adds: What it brings along, one line each: "Shows something on receipts".
    """

    offer: Offer
    description: str
    permissions: list[Permission]
    adds: list[str]
