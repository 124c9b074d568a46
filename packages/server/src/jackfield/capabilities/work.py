"""What the handler of a delivery writes, kept until it ends and committed together with its end.

No transaction is open while the handler runs. What writes is only noted; where its answer cannot be told without
asking the database, it is rehearsed: in a transaction that is rolled back, on top of the noted writes that it could
meet. So the handler reads what it wrote. At the end all of it is done in one transaction, and each answer must be the
one that the handler was given (`docs/decisions/0021-writes-with-delivery.md`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declarations
from jackfield.capabilities.dry_runs import READING
from jackfield.capabilities.errors import (
    DeliveryConflictError,
    DeliveryWritesTooManyError,
    ReleaseReplacedError,
    UpdateUnderwayError,
)
from jackfield.capabilities.footprints import Footprint, after, before, meet, merged
from jackfield.capabilities.operations import Operation
from jackfield.capabilities.waiting import patiently
from jackfield.db import Database
from jackfield.db.joint import Joint, Tape, joint, tape
from jackfield.errors import JackfieldError
from jackfield.jobs import Attempt, DeliveryTakenError

__all__ = ["REHEARSED", "STAGED", "WRITES", "WRITTEN_BYTES", "Work"]

STAGED = frozenset({"storage", "tables", "events", "widgets"})
"""Capabilities whose writes are kept in the platform's own database, and wait for the end of the delivery."""
WRITES = 1_000
WRITTEN_BYTES = 4 * 1024 * 1024
REHEARSED = 300
"""Writes that one rehearsal may have to repeat: all others who write to SQLite wait for it."""

_NOTHING: Footprint = frozenset()


@dataclass(frozen=True, slots=True)
class _Step:
    """A write that was answered.

    Attributes:
        name: The operation's.
        touches: What of its capability it may read or change.
        told: The answer that the handler has.
        is_foreseen: It was answered without being tried.
        covers: What is as it leaves it, whatever was there before.
    """

    capability: str
    name: str
    operation: Operation
    arguments: Any
    touches: Footprint
    told: bytes
    tape: Tape
    is_foreseen: bool
    covers: Footprint


class _RolledBackError(Exception):
    """Ends a rehearsal; never leaves this module."""


@dataclass(slots=True)
class Work:
    """The writes of one attempt."""

    database: Database
    declarations: Declarations
    attempt: Attempt
    _steps: list[_Step] = field(default_factory=list["_Step"])
    _bytes: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _has_ended: bool = False

    @property
    def has_writes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._steps)

    @property
    def has_conflict(self) -> bool:
        """Whether it is known already that it cannot be committed."""
        return self.attempt.has_conflict

    @property
    def needs(self) -> set[str]:
        """Permissions that are still to be held when it is committed."""
        return {needed for step in self._steps if (needed := step.operation.needs(step.arguments)) is not None}

    async def run(
        self, context: CapabilityContext, capability: str, name: str, operation: Operation, arguments: Any, size: int
    ) -> bytes:
        """Do one operation as if all before it were done; what it writes is kept for the end.

        Raises:
            DeliveryConflictError: Something that was written before cannot be written any more.
            DeliveryWritesTooManyError: There is no room for more.
        """
        # An asynchronous handler may ask for several things at once; they happen one after the other.
        async with self._turn:
            if self.attempt.has_conflict:
                raise DeliveryConflictError
            if self._has_ended:
                raise DeliveryTakenError("the delivery has ended")
            touches = before(self.declarations, context, capability, name, arguments)
            if name in READING.get(capability, ()):
                met = self._met(capability, touches)
                if not met:
                    return await operation.run(context, arguments)
                if (known := _followed(context, operation, touches, arguments, met)) is not None:
                    return known
                return await self._rehearse(context, met, operation, arguments, Tape())
            return await self._write(context, capability, name, operation, arguments, touches, size)

    async def _write(
        self, context: CapabilityContext, capability: str, name: str, operation: Operation, arguments: Any,
        touches: Footprint, size: int,
    ) -> bytes:  # fmt: skip
        if len(self._steps) >= WRITES or self._bytes + size > WRITTEN_BYTES:
            raise DeliveryWritesTooManyError(WRITES, WRITTEN_BYTES)
        kept = Tape()
        with _keeping(kept):
            told = None if operation.foresee is None else operation.foresee(context, arguments)
            met = [] if told is not None else self._met(capability, touches)
            if told is None:
                told = _followed(context, operation, touches, arguments, met)
        is_foreseen = told is not None
        if told is None:
            told = await self._rehearse(context, met, operation, arguments, kept)
        touches = after(capability, name, touches, told)
        covers = touches if is_foreseen and (capability, name) == ("storage", "set") else _NOTHING
        self._steps.append(_Step(capability, name, operation, arguments, touches, told, kept, is_foreseen, covers))
        self._bytes += size
        return told

    async def commit(self, context: CapabilityContext, duration_ms: float) -> None:
        """Do all of it for good, and write down that the delivery is done.

        Raises:
            DeliveryConflictError: Something came out differently; nothing is written.
            DeliveryTakenError: Another attempt has taken over; nothing is written.
            JackfieldError: Something that was not tried cannot be done; nothing is written.
        """
        async with self._turn:
            self._has_ended = self.attempt.is_tried = True
            await patiently(lambda: self._commit(context, duration_ms))
            self.attempt.is_settled = True

    async def _commit(self, context: CapabilityContext, duration_ms: float) -> None:
        async with self._together(context) as opened:
            for step in self._steps:
                await self._again(context, step)
            await self.attempt.settle(opened.session, duration_ms)

    async def _again(self, context: CapabilityContext, step: _Step) -> None:
        try:
            with _keeping(step.tape.rewind()):
                told = await step.operation.run(context, step.arguments)
        except UpdateUnderwayError:
            raise  # waited for, with no transaction open
        except JackfieldError as error:
            if step.is_foreseen and not isinstance(error, ReleaseReplacedError):
                raise
            self.attempt.has_conflict = True
            raise DeliveryConflictError from error
        if told != step.told:
            self.attempt.has_conflict = True
            raise DeliveryConflictError

    def _met(self, capability: str, touches: Footprint) -> list[_Step]:
        """Writes before that an operation could see the effect of, and those that they could see the effect of."""
        found: list[_Step] = []
        for step in reversed(self._steps):
            if step.capability == capability and meet(step.touches, touches):
                found.append(step)
                touches = merged(touches, step.touches)
                if step.covers and touches <= {*step.covers, *(f"?{name}" for name in step.covers)}:
                    break
        found.reverse()
        return found

    async def _rehearse(
        self, context: CapabilityContext, met: list[_Step], operation: Operation, arguments: Any, kept: Tape
    ) -> bytes:
        if len(met) > REHEARSED:
            raise DeliveryWritesTooManyError(REHEARSED, WRITTEN_BYTES)

        async def once() -> bytes:
            found = b""
            try:
                async with self._together(context):
                    for step in met:
                        await self._again(context, step)
                    with _keeping(kept.rewind()):
                        found = await operation.run(context, arguments)
                    raise _RolledBackError
            except _RolledBackError:
                pass
            return found

        return await patiently(once)

    @asynccontextmanager
    async def _together(self, context: CapabilityContext) -> AsyncGenerator[Joint]:
        async with self.database.write(context.tenant_id) as session:
            opened = Joint(self.database.engine, context.tenant_id, session)
            token = joint.set(opened)
            try:
                yield opened
            finally:
                joint.reset(token)


def _followed(
    context: CapabilityContext, operation: Operation, touches: Footprint, arguments: Any, met: list[_Step]
) -> bytes | None:
    """The answer, where the last write to the same thing tells it. The end proves it like all that was told."""
    if operation.follow is None or not met or len(touches) != 1:
        return None
    (touched,) = touches
    last = met[-1]
    if last.touches != frozenset((touched.removeprefix("?"),)):
        return None
    return operation.follow(context, arguments, last.name, last.arguments, last.told)


@contextmanager
def _keeping(kept: Tape) -> Generator[None]:
    token = tape.set(kept)
    try:
        yield
    finally:
        tape.reset(token)
