"""Transactions of plugins, without a lock or a session held while plugin code runs.

Each step is done at once, on top of the steps before it, in a transaction of the database that is rolled back: so reads
see what was written. At the commit all of it is done once more, in one transaction: what was written gets the very same
values, and what was read must be what the plugin saw, or nothing is written (`docs/decisions/0011-data.md`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from jackfield.capabilities.errors import TransactionStateError
from jackfield.data_adapters import (
    Aggregation,
    Author,
    DataAdapter,
    DataSession,
    FeatureMissingError,
    Node,
    Page,
    Query,
    Row,
    TransactionConflictError,
    Written,
)

__all__ = ["STEPS", "WRITTEN_ROWS", "Reads", "Transaction"]

STEPS = 50
WRITTEN_ROWS = 200
"""All of them are written again with each step."""
_ATTEMPTS = 3

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


class Reads(Protocol):
    """What can be asked within a transaction and without one."""

    async def get(self, entity: str, id: str, *, scope: Sequence[Node] = ()) -> Row | None: ...

    async def list(self, entity: str, query: Query, *, scope: Sequence[Node] = ()) -> Page: ...

    async def count(self, entity: str, where: Sequence[Node], *, scope: Sequence[Node] = ()) -> int: ...

    async def aggregate(self, entity: str, aggregation: Aggregation, *, scope: Sequence[Node] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class _Read:
    run: Callable[[Reads], Awaitable[Any]]
    seen: bytes


@dataclass(frozen=True, slots=True)
class _Write:
    entity: str
    written: Sequence[Written]


class _RolledBackError(Exception):
    """Ends a rehearsal; never leaves this module."""


class Transaction:
    """One of one call. It holds nothing but what has been done so far.

    Raises:
        FeatureMissingError: The adapter has no transactions.
    """

    def __init__(self, adapter: DataAdapter, tenant_id: str) -> None:
        if "transactions" not in adapter.features:
            raise FeatureMissingError(adapter.name, "transactions")
        self._adapter = adapter
        self._tenant_id = tenant_id
        self._steps: list[_Read | _Write] = []
        self._rows = 0

    @property
    def entities(self) -> set[str]:
        """Those that were written to."""
        return {step.entity for step in self._steps if isinstance(step, _Write)}

    async def read(self, run: Callable[[Reads], Awaitable[T]]) -> T:
        """Ask for something, and remember the answer."""
        self._check_room()
        if self._rows:
            value = await self._rehearse(run)
        else:
            value = await run(Outside(self._adapter, self._tenant_id))
        self._steps.append(_Read(run, _digest(value)))
        return value

    async def write(self, entity: str, run: Callable[[DataSession], Awaitable[Sequence[Written]]]) -> Sequence[Written]:
        """Write something, for the present call only. What fails leaves the transaction as it was before.

        Raises:
            TransactionConflictError: What was written before cannot be written any more.
        """
        self._check_room()
        written = await self._rehearse(run)
        if self._rows + len(written) > WRITTEN_ROWS:
            raise TransactionStateError(f"a transaction writes at most {WRITTEN_ROWS} entities")
        self._rows += len(written)
        self._steps.append(_Write(entity, written))
        return written

    async def commit(self, by: Author) -> None:
        """Do all of it.

        Raises:
            TransactionConflictError: Something that it has seen was changed meanwhile; nothing is written.
        """
        for left in reversed(range(_ATTEMPTS)):
            try:
                if self._rows:
                    await self._replay(by)
                return
            except TransactionConflictError as error:
                if not error.may_pass or not left:
                    raise

    async def _replay(self, by: Author) -> None:
        async with self._adapter.transaction(self._tenant_id, by=by) as session:
            for step in self._steps:
                if isinstance(step, _Write):
                    await session.redo(step.entity, step.written)
                elif _digest(await step.run(session)) != step.seen:
                    raise TransactionConflictError

    async def _rehearse(self, run: Callable[[DataSession], Awaitable[T]]) -> T:
        found: list[T] = []
        try:
            async with self._adapter.transaction(self._tenant_id) as session:
                for step in self._steps:
                    if isinstance(step, _Write):
                        await session.redo(step.entity, step.written)
                found.append(await run(session))
                raise _RolledBackError
        except _RolledBackError:
            return found[0]

    def _check_room(self) -> None:
        if len(self._steps) >= STEPS:
            raise TransactionStateError(f"a transaction has at most {STEPS} steps")


class Outside:
    """`Reads` without a transaction."""

    __slots__ = ("_adapter", "_tenant_id")

    def __init__(self, adapter: DataAdapter, tenant_id: str) -> None:
        self._adapter = adapter
        self._tenant_id = tenant_id

    async def get(self, entity: str, id: str, *, scope: Sequence[Node] = ()) -> Row | None:
        """One entity."""
        return await self._adapter.get(self._tenant_id, entity, id, scope=scope)

    async def list(self, entity: str, query: Query, *, scope: Sequence[Node] = ()) -> Page:
        """A page."""
        return await self._adapter.list(self._tenant_id, entity, query, scope=scope)

    async def count(self, entity: str, where: Sequence[Node], *, scope: Sequence[Node] = ()) -> int:
        """How many."""
        return await self._adapter.count(self._tenant_id, entity, where, scope=scope)

    async def aggregate(self, entity: str, aggregation: Aggregation, *, scope: Sequence[Node] = ()) -> list[Row]:
        """Figures."""
        return await self._adapter.aggregate(self._tenant_id, entity, aggregation, scope=scope)


def _digest(value: Any) -> bytes:
    plain = [value.rows, value.cursor] if isinstance(value, Page) else value
    return hashlib.blake2b(_encode(plain), digest_size=16).digest()
