"""Carrying operations out: in turn, to their end whoever hangs up, and after a crash once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from jackfield.lifecycle.errors import OperationTakenOverError
from jackfield.lifecycle.journal import SEEN, Journal
from jackfield.lifecycle.models import InstallationRow, OperationRow
from jackfield.lifecycle.operations import Actor, Order, Run, Step
from jackfield.lifecycle.repository import strays_among
from jackfield.lifecycle.steps import Secrets, Tools, steps_of
from jackfield.lifecycle.turns import Turns
from jackfield.telemetry import bound

__all__ = ["Execution"]

_log = structlog.stdlib.get_logger(__name__)


class Execution:
    """Runs operations by their journal.

    One that has begun goes on when its caller goes away: it runs in a task of its own, and `close` waits for it.

    Attributes:
        steps_of: How an operation's steps are told from its data; tests put a fault in one of them here.
    """

    def __init__(self, journal: Journal, tools: Tools) -> None:
        self._journal = journal
        self._tools = tools
        self._turns = Turns()
        self._tasks: set[asyncio.Task[Run]] = set()
        self.steps_of: Callable[[str, Tools, Mapping[str, Any], Mapping[str, Secrets]], Sequence[Step]] = steps_of

    @asynccontextmanager
    async def turn(self, tenant_id: str, *slugs: str) -> AsyncGenerator[None]:
        """Our turn with these plugins, after whatever we left open of the tenant's has been ended."""
        async with self._turns.take(tenant_id, slugs):
            await self._end(await self._journal.open_operations(tenant_id=tenant_id))
            token = SEEN.set(await self._journal.mark(tenant_id))
            try:
                yield
            finally:
                SEEN.reset(token)

    async def change(
        self,
        kind: str,
        row: InstallationRow,
        data: Mapping[str, Any],
        actor: Actor | None,
        secrets: Secrets | None = None,
        locks: frozenset[str] | None = None,
    ) -> Run:
        """An operation on one installation. It holds the plugin unless `locks` says otherwise."""
        held = frozenset({row.slug}) if locks is None else locks
        order = Order(kind, row.tenant_id, row.slug, row.instance, row.id, data, held, actor)
        return await self.run(order, {row.id: secrets or {}})

    async def run(self, order: Order, secrets: Mapping[str, Secrets]) -> Run:
        """Carry an order out.

        Raises:
            OperationInProgressError: Another operation holds one of its plugins.
            Exception: What stopped it, after it was undone.
        """
        steps = self.steps_of(order.kind, self._tools, order.data, secrets)
        task = asyncio.create_task(self._journal.run(order, steps))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def recover(self) -> list[Run]:
        """End every operation that a dead node left open: finish it, or undo it.

        Also removes what calls wrote that were still under way when their plugin was removed.
        """
        ended = await self._end(await self._journal.open_operations(at_start=True))
        database = self._tools.database
        async with database.read(None) as session:
            strays = await strays_among(session)
        for tenant_id, installation_id in strays:
            async with database.write(tenant_id) as session:
                await self._tools.purge(session, installation_id)
        if strays:
            _log.info("lifecycle.strays_removed", count=len(strays))
        return ended

    async def take_over(self) -> list[Run]:
        """End operations of nodes that are gone, and of which nobody has taken care yet."""
        return await self._end(await self._journal.open_operations())

    async def close(self) -> None:
        """Wait for operations that are on their way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[Run]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # It is in the journal. Looked at here, so that asyncio does not report it when its caller is gone.
            task.exception()

    async def _end(self, operations: Iterable[OperationRow]) -> list[Run]:
        ended: list[Run] = []
        for operation in operations:
            with bound(
                tenant_id=operation.tenant_id, plugin=operation.slug, installation_id=operation.installation_id,
                operation_id=operation.id,
            ):  # fmt: skip
                try:
                    steps = self.steps_of(operation.kind, self._tools, operation.data, {})
                    run = await self._journal.resume(operation, steps)
                except OperationTakenOverError:
                    continue  # another node was quicker
                except Exception as error:
                    # One that cannot be ended must not keep a node from starting; it stays open and is seen.
                    _log.error("lifecycle.recovery_failed", operation=operation.id, kind=operation.kind, exc_info=error)
                    continue
                _log.info("lifecycle.recovered", operation=run.id, kind=operation.kind, was_undone=run.is_undoing)
                ended.append(run)
        return ended
