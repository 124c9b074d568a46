"""Several pieces of work in one transaction, though each of them opens a transaction of its own.

While `joint` is set, `Database.write` and `Database.read` of the same tenant and database hand out the session that is
open already, and `PointReader` asks it. What such work draws (ids, versions, the time) is kept on a `Tape`, so that it
can be done once more with the same results.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

__all__ = ["Joint", "Tape", "drawn", "joint", "tape"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Joint:
    """A transaction that is open, and for whom."""

    engine: AsyncEngine
    tenant_id: str
    session: AsyncSession


@dataclass(slots=True)
class Tape:
    """What one operation has drawn, by kind. Played again from the start it gives the same, and new ones after that."""

    values: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    _places: dict[str, int] = field(default_factory=dict[str, int])

    def rewind(self) -> Tape:
        """The same tape, at its start."""
        self._places.clear()
        return self

    def draw(self, kind: str, make: Callable[[], T]) -> T:
        """The next of a kind."""
        values, place = self.values.setdefault(kind, []), self._places.get(kind, 0)
        if place == len(values):
            values.append(make())
        self._places[kind] = place + 1
        return values[place]


joint: ContextVar[Joint | None] = ContextVar("jackfield_joint", default=None)
"""What this task's work is part of; nothing, usually."""
tape: ContextVar[Tape | None] = ContextVar("jackfield_tape", default=None)
"""Where this task's work keeps what it draws; nowhere, usually."""


def drawn(kind: str, make: Callable[[], T]) -> T:
    """What `make` gives, or what it gave when this was done before."""
    kept = tape.get()
    return make() if kept is None else kept.draw(kind, make)
