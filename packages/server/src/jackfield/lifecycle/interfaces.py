"""What lifecycle asks of its neighbours, narrowed to what it uses, so that its tests can put a quick one in place."""

from __future__ import annotations

from typing import Protocol

from jackfield.invocation import Invocation, Outcome
from jackfield.registry import Release

__all__ = ["Catalogue", "Runner"]


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
