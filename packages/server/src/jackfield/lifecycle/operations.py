"""What an operation is made of: an order, steps of two kinds, and the run that carries both through.

Two kinds of step, because there are two kinds of certainty. A `Change` works inside the database and is applied in the
same transaction that journals it: after a crash it has happened or it has not, and the journal knows. An `Effect` works
outside (a plugin's hook, a file). It is journalled as begun before and as finished after, so that a crash in between
leaves one question open, and the step brings the answer along: it may be repeated, or it counts as failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

__all__ = ["Actor", "Change", "Effect", "Order", "Run", "Step", "StepFailure"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for an operation.

    Attributes:
        id: The member (or the token, when it stands for a program), as plugins see it.
        subject: The name in the audit trail.
    """

    id: str
    role: str
    subject: str


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.

    Attributes:
        slug: The plugin that was asked for; `locks` has it and every other plugin that the operation touches or
            relies on.
        data: See `OperationRow.data`.
    """

    kind: str
    tenant_id: str
    slug: str
    instance: str
    installation_id: str
    data: Mapping[str, Any]
    locks: frozenset[str]
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class StepFailure:
    """Why a step failed, as journalled."""

    code: str
    message: str


@dataclass(slots=True)
class Run:
    """An operation on its way.

    Attributes:
        states: Step → `started`, `done`, `failed` or `undone`.
        results: Step → what it left for others.
        failures: Steps whose failure was put up with.
        error: What stopped it, if anything; `stopped_by` is the same as journalled, and is known after a crash too.
    """

    id: str
    order: Order
    states: dict[str, str] = field(default_factory=dict[str, str])
    results: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    failures: dict[str, StepFailure] = field(default_factory=dict[str, StepFailure])
    error: Exception | None = None
    stopped_by: StepFailure | None = None
    is_undoing: bool = False

    @property
    def tenant_id(self) -> str:
        return self.order.tenant_id

    @property
    def by(self) -> str | None:
        """Who asked for it, as in the audit trail; None for the platform itself."""
        return self.order.actor.subject if self.order.actor else None

    def why(self) -> tuple[str, str] | None:
        """Code and message of what stopped it, as the reason of a state."""
        return (self.stopped_by.code, self.stopped_by.message) if self.stopped_by else None


@dataclass(frozen=True, slots=True)
class Change:
    """A step inside the database.

    Attributes:
        undo: Takes it back; None when there is nothing to take back.
        give_up: Called instead when `undo` itself raises; the operation then ends as `stuck`. Without it the operation
            stays open and is undone at the next start.
    """

    name: str
    do: Callable[[AsyncSession, Run], Awaitable[None]]
    undo: Callable[[AsyncSession, Run], Awaitable[None]] | None = None
    give_up: Callable[[AsyncSession, Run, Exception], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """A step outside the database.

    Attributes:
        undo: Takes it back once it was done. A failure is logged and stops nothing, for there is nobody left to tell.
        is_repeatable: It may run again when a crash left it unfinished. Otherwise it then counts as failed.
        is_tolerated: Its failure is recorded and the operation goes on.
        is_undone_unfinished: `undo` is called also when it failed or was interrupted, for what it had done by then.
    """

    name: str
    do: Callable[[Run], Awaitable[dict[str, Any] | None]]
    undo: Callable[[Run], Awaitable[None]] | None = None
    is_repeatable: bool = False
    is_tolerated: bool = False
    is_undone_unfinished: bool = False


Step = Change | Effect
