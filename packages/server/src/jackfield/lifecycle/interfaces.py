"""What lifecycle asks of its neighbours, narrowed to what it uses, so that its tests can put a quick one in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from jackfield.invocation import Invocation, Outcome
from jackfield.registry import Release

__all__ = ["Catalogue", "HealthNote", "HealthNotes", "LeftAlone", "Runner"]


class Runner(Protocol):
    """The one door to plugin code; `invocation.Invoker` in a node."""

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one handler. A failure is an outcome, never an exception."""
        ...

    async def retire(self, installation_id: str) -> None:
        """Stop the isolates of an installation, and have the next call start with new ones."""
        ...


class Catalogue(Protocol):
    """Published releases; `registry.Registry` in a node."""

    async def release(self, slug: str, version: str | None = None) -> Release:
        """One release; the newest that is not a pre-release when no version is named.

        Raises:
            MissingError: `plugin-not-found` or `release-not-found`.
        """
        ...

    async def releases(self, slug: str) -> list[Release]:
        """All releases of a plugin."""
        ...


@dataclass(frozen=True, slots=True)
class HealthNote:
    """What was last heard of an installation's health check.

    Attributes:
        status: `ok` or `failing`.
        since: When it came to be so.
        consecutive_failures: Checks in a row that it failed.
    """

    status: str
    message: str
    since: datetime
    checked_at: datetime
    consecutive_failures: int


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A handler that is left alone because it failed too often.

    Attributes:
        state: `half-open`: one call is being let through, or the next one will be.
        until: When the next call is let through.
        retry_after_s: Until then.
        failures: Within the window in which it was opened.
        code, message: Of the last failure.
    """

    handler: str
    state: Literal["open", "half-open"]
    opened_at: datetime
    until: datetime
    retry_after_s: float
    failures: int
    code: str
    message: str


class HealthNotes(Protocol):
    """Who knows how installations are; `health.Health` in a node."""

    async def notes(self, tenant_id: str, installation_ids: Iterable[str]) -> Mapping[str, HealthNote]:
        """By installation; those that were never checked are left out."""
        ...

    def left_alone(self, installation_id: str, revision: int) -> Sequence[LeftAlone]:
        """Handlers of an installation, as it is now, that are left alone."""
        ...
