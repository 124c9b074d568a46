"""The journal: operations as steps that are done, or undone, whatever happens in between.

The first step of every operation is applied in the transaction that opens it, so an operation is there exactly when its
first step has happened. No transaction is open while an effect runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock
from jackfield.db import Database, tell
from jackfield.errors import JackfieldError
from jackfield.ids import new_id
from jackfield.lifecycle.errors import InterruptedStepError, OperationInProgressError, OperationTakenOverError
from jackfield.lifecycle.models import InstallationRow, LockRow, OperationRow, StepRow
from jackfield.lifecycle.operations import Actor, Change, Effect, Order, Run, Step, StepFailure
from jackfield.live import happened
from jackfield.telemetry import bound

__all__ = ["INSTALLATIONS", "LEASE", "SEEN", "Journal"]

_log = structlog.get_logger(__name__)

INSTALLATIONS = "installations"
"""Topic of notices; their subject is a tenant, and an installation behind it."""
SEEN: ContextVar[int | None] = ContextVar("jackfield_seen", default=None)
"""What `Journal.mark` said when this task began to plan."""
LEASE = timedelta(minutes=10)
"""Longer than any step: the longest hook may take five minutes. Renewed with each step."""

Follow = Callable[[AsyncSession, str, Iterable[str]], Awaitable[None]]


class Journal:
    """Runs operations.

    Args:
        node_id: Names this process in the rows it is working on.
        committed: Called with the tenant's id after each committed change, so that caches can drop what they hold.
        follow: Called in the transaction of each change with the tenant and the plugins that it may touch.
        is_gone: Whether a node is known to have ended, so that its leases need not be waited for.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        node_id: str,
        committed: Callable[[str], None],
        follow: Follow,
        is_gone: Callable[[str], bool] = lambda _node: False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._node_id = node_id
        self._committed = committed
        self._follow = follow
        self._is_gone = is_gone
        self._running: set[str] = set()

    async def run(self, order: Order, steps: Sequence[Step]) -> Run:
        """Do all steps; the first is a `Change`, applied in the transaction that opens the operation.

        Raises:
            OperationInProgressError: Another operation holds one of the locks.
            OperationTakenOverError: This node seemed dead, and another one goes on with it.
            Exception: Whatever stopped it, after it was undone. When undoing was not possible either, the operation
                stays open (or `stuck`) in the journal.
        """
        run = Run(new_id("op"), order)
        self._running.add(run.id)
        try:
            with bound(
                tenant_id=order.tenant_id, plugin=order.slug, installation_id=order.installation_id, operation_id=run.id
            ):
                await self._open(run, steps)
                await self._drive(run, steps)
        finally:
            self._running.discard(run.id)
        return run

    async def resume(self, operation: OperationRow, steps: Sequence[Step]) -> Run:
        """Go on with an operation that a crash left open, or go on undoing it. `Run.error` has what stops it.

        Raises:
            OperationTakenOverError: Another node was quicker.
        """
        run = await self._load(operation)
        self._running.add(run.id)
        try:
            await self._drive(run, steps)
        except Exception as error:
            run.error = error
        finally:
            self._running.discard(run.id)
        return run

    async def open_operations(self, *, tenant_id: str | None = None, at_start: bool = False) -> list[OperationRow]:
        """Operations that nobody works on any more, oldest first.

        Args:
            tenant_id: Only this tenant's.
            at_start: This node has just started. On SQLite there is one node, so whatever is open belongs to its dead
                predecessor; elsewhere a lease tells the dead from the living.
        """
        query = select(OperationRow).where(OperationRow.state.in_(("running", "undoing"))).order_by(OperationRow.id)
        async with self._database.read(tenant_id) as session:
            rows = list(await session.scalars(query))
        now, takes_all = self._clock.now(), at_start and self._database.is_sqlite
        return [
            row
            for row in rows
            if row.id not in self._running
            and (takes_all or row.owner == self._node_id or row.lease_until < now or self._is_gone(row.owner))
        ]

    async def mark(self, tenant_id: str) -> int | None:
        """To be taken before anything is planned, and kept in `SEEN`.

        An operation then begins only if none that another node began has ended meanwhile. None on SQLite, where there
        is one node.
        """
        if self._database.is_sqlite:
            return None
        async with self._database.read(tenant_id) as session:
            return await self._ended_elsewhere(session, tenant_id)

    async def _ended_elsewhere(self, session: AsyncSession, tenant_id: str) -> int:
        query = select(func.count()).where(
            OperationRow.tenant_id == tenant_id,
            OperationRow.owner != self._node_id,
            OperationRow.finished_at.is_not(None),
        )
        return await session.scalar(query) or 0

    # -- the way there ------------------------------------------------------------------------------------------------

    async def _open(self, run: Run, steps: Sequence[Step]) -> None:
        first = steps[0]
        if not isinstance(first, Change):
            raise TypeError(f"{run.order.kind}: the first step is not a change")
        async with self._database.write(run.tenant_id) as session:
            session.add(self._operation(run))
            await session.flush()
            await self._take_locks(session, run)
            seen = SEEN.get()
            if seen is not None and seen != await self._ended_elsewhere(session, run.tenant_id):
                # What this operation was planned by may not be true any more.
                raise OperationInProgressError(run.order.slug, "unknown", None)
            await self._apply(session, run, first, 0, is_last=len(steps) == 1)
        self._applied(run, first)

    async def _take_locks(self, session: AsyncSession, run: Run) -> None:
        names = sorted(run.order.locks)
        held = await session.scalar(select(LockRow).where(LockRow.slug.in_(names)))
        if held is None:
            try:
                session.add_all(LockRow(tenant_id=run.tenant_id, slug=name, operation_id=run.id) for name in names)
                await session.flush()
            except IntegrityError as error:  # another node was quicker
                raise OperationInProgressError(run.order.slug, "unknown", None) from error
            return
        holder = await session.get(OperationRow, held.operation_id)
        raise OperationInProgressError(held.slug, holder.kind if holder else "unknown", held.operation_id)

    async def _drive(self, run: Run, steps: Sequence[Step]) -> None:
        if not run.is_undoing:
            failed = await self._forward(run, steps)
            if failed is None:
                return
            run.error = failed
        await self._backward(run, steps)
        if run.error is not None:
            raise run.error

    async def _forward(self, run: Run, steps: Sequence[Step]) -> Exception | None:
        """Do what is not done yet; what stopped it, or None."""
        for position, step in enumerate(steps):
            state = run.states.get(step.name)
            if state in ("done", "failed"):
                continue
            try:
                if isinstance(step, Change):
                    async with self._database.write(run.tenant_id) as session:
                        await self._apply(session, run, step, position, is_last=position == len(steps) - 1)
                    self._applied(run, step)
                elif state == "started" and not step.is_repeatable:
                    raise InterruptedStepError(step.name)
                else:
                    await self._perform(run, step, position, is_new=state is None)
            except Exception as error:
                if isinstance(error, OperationTakenOverError):
                    raise
                is_tolerated = isinstance(step, Effect) and step.is_tolerated
                await self._fail(run, step, error, is_tolerated=is_tolerated)
                if not is_tolerated:
                    return error
        await self._close_if_open(run)
        return None

    async def _apply(self, session: AsyncSession, run: Run, step: Change, position: int, *, is_last: bool) -> None:
        now = self._clock.now()
        run.results.setdefault(step.name, {})
        await self._hold(session, run, lease_until=now + LEASE)
        await step.do(session, run)
        await self._follow(session, run.tenant_id, run.order.locks)
        await _tell(session, run)
        await _announce(session, run, "running", step.name)
        session.add(self._row(run, step, position, state="done", result=run.results[step.name], finished_at=now))
        if is_last:
            await self._close(session, run, "done")

    def _applied(self, run: Run, step: Change) -> None:
        run.states[step.name] = "done"
        self._committed(run.tenant_id)

    async def _perform(self, run: Run, step: Effect, position: int, *, is_new: bool) -> None:
        async with self._database.write(run.tenant_id) as session:
            if is_new:
                session.add(self._row(run, step, position, state="started", result={}, finished_at=None))
            await self._hold(session, run, lease_until=self._clock.now() + LEASE)
        run.states[step.name] = "started"
        result = await step.do(run) or {}
        async with self._database.write(run.tenant_id) as session:
            await self._hold(session, run, lease_until=self._clock.now() + LEASE)
            await self._mark(session, run, step, state="done", result=result, finished_at=self._clock.now())
        run.states[step.name] = "done"
        run.results[step.name] = result

    async def _fail(self, run: Run, step: Step, error: Exception, *, is_tolerated: bool) -> None:
        """Journal a failure; unless it is put up with, the operation turns back in the same transaction."""
        failure = _failure(error)
        told: dict[str, Any] = {"error_code": failure.code, "error_message": failure.message}
        async with self._database.write(run.tenant_id) as session:
            await self._hold(session, run, lease_until=self._clock.now() + LEASE)
            if isinstance(step, Effect):
                await self._mark(session, run, step, state="failed", finished_at=self._clock.now(), **told)
            if not is_tolerated:
                await self._hold(session, run, state="undoing", **told)
        if not is_tolerated:
            run.is_undoing, run.stopped_by = True, failure
        if isinstance(step, Effect):
            run.states[step.name] = "failed"
            run.failures[step.name] = failure

    async def _close_if_open(self, run: Run) -> None:
        """The last step was an effect: nothing closed the operation yet."""
        async with self._database.write(run.tenant_id) as session:
            operation = await session.get(OperationRow, run.id)
            if operation is not None and operation.state == "running":
                await self._close(session, run, "done")

    # -- the way back --------------------------------------------------------------------------------------------------

    async def _backward(self, run: Run, steps: Sequence[Step]) -> None:
        for step in reversed(steps):
            state = run.states.get(step.name)
            is_unfinished = state in ("started", "failed") and isinstance(step, Effect) and step.is_undone_unfinished
            if state != "done" and not is_unfinished:
                continue
            if isinstance(step, Effect):
                await self._unperform(run, step)
            elif not await self._unapply(run, step):
                return
            run.states[step.name] = "undone"
        async with self._database.write(run.tenant_id) as session:
            await self._close(session, run, "failed")

    async def _unapply(self, run: Run, step: Change) -> bool:
        """Whether it could be undone."""
        try:
            async with self._database.write(run.tenant_id) as session:
                await self._hold(session, run, lease_until=self._clock.now() + LEASE)
                if step.undo is not None:
                    await step.undo(session, run)
                await self._follow(session, run.tenant_id, run.order.locks)
                await _tell(session, run)
                await self._mark(session, run, step, state="undone", undone_at=self._clock.now())
        except OperationTakenOverError:
            raise
        except Exception as error:
            if step.give_up is None:
                raise
            _log.error("lifecycle.undo_failed", operation=run.id, step=step.name, error=repr(error))
            async with self._database.write(run.tenant_id) as session:
                await self._hold(session, run, lease_until=self._clock.now() + LEASE)
                await step.give_up(session, run, error)
                await self._close(session, run, "stuck")
            return False
        finally:
            self._committed(run.tenant_id)
        return True

    async def _unperform(self, run: Run, step: Effect) -> None:
        if step.undo is not None:
            try:
                await step.undo(run)
            except Exception as error:
                _log.warning("lifecycle.compensation_failed", operation=run.id, step=step.name, error=repr(error))
        async with self._database.write(run.tenant_id) as session:
            await self._hold(session, run, lease_until=self._clock.now() + LEASE)
            await self._mark(session, run, step, state="undone", undone_at=self._clock.now())

    # -- rows ----------------------------------------------------------------------------------------------------------

    async def _load(self, operation: OperationRow) -> Run:
        actor = None
        if operation.actor_id is not None:
            actor = Actor(operation.actor_id, operation.actor_role or "", operation.actor_subject or "")
        data = dict(operation.data)
        order = Order(
            operation.kind, operation.tenant_id, operation.slug, operation.instance, operation.installation_id or "",
            data, frozenset(data["locks"]), actor,
        )  # fmt: skip
        run = Run(operation.id, order)
        async with self._database.write(operation.tenant_id) as session:
            taken = await session.execute(
                update(OperationRow)
                .where(
                    OperationRow.id == operation.id,
                    OperationRow.finished_at.is_(None),
                    OperationRow.owner == operation.owner,
                    OperationRow.lease_until == operation.lease_until,
                )
                .values(owner=self._node_id, lease_until=self._clock.now() + LEASE)
                .returning(OperationRow.state, OperationRow.error_code, OperationRow.error_message)
            )
            found = taken.one_or_none()
            if found is None:  # its owner goes on after all, or somebody else does
                raise OperationTakenOverError(operation.slug, operation.kind)
            run.is_undoing = found.state == "undoing"
            if found.error_code is not None:
                run.stopped_by = StepFailure(found.error_code, found.error_message or "")
            rows = await session.scalars(select(StepRow).where(StepRow.operation_id == operation.id))
            for row in rows:
                run.states[row.name] = row.state
                run.results[row.name] = row.result
                if row.state == "failed":
                    run.failures[row.name] = StepFailure(row.error_code or "error", row.error_message or "")
        return run

    def _operation(self, run: Run) -> OperationRow:
        order, now = run.order, self._clock.now()
        actor = order.actor
        return OperationRow(
            id=run.id,
            tenant_id=order.tenant_id,
            kind=order.kind,
            slug=order.slug,
            instance=order.instance,
            installation_id=order.installation_id,
            state="running",
            data={**order.data, "locks": sorted(order.locks)},
            actor_id=None if actor is None else actor.id,
            actor_role=None if actor is None else actor.role,
            actor_subject=None if actor is None else actor.subject,
            error_code=None,
            error_message=None,
            owner=self._node_id,
            lease_until=now + LEASE,
            started_at=now,
            finished_at=None,
        )

    def _row(self, run: Run, step: Step, position: int, **values: Any) -> StepRow:
        return StepRow(
            id=new_id("step"), tenant_id=run.tenant_id, operation_id=run.id, position=position, name=step.name,
            error_code=None, error_message=None, started_at=self._clock.now(), undone_at=None, **values,
        )  # fmt: skip

    async def _mark(self, session: AsyncSession, run: Run, step: Step, **values: Any) -> None:
        await session.execute(
            update(StepRow).where(StepRow.operation_id == run.id, StepRow.name == step.name).values(**values)
        )

    async def _hold(self, session: AsyncSession, run: Run, **values: Any) -> None:
        """Change the operation's row, which is ours until this transaction ends.

        Raises:
            OperationTakenOverError: It is another node's by now. What this one still holds to be true may not be.
        """
        ours = (OperationRow.id == run.id, OperationRow.owner == self._node_id, OperationRow.finished_at.is_(None))
        held = await session.scalar(update(OperationRow).where(*ours).values(**values).returning(OperationRow.id))
        if held is None:
            raise OperationTakenOverError(run.order.slug, run.order.kind)

    async def _close(self, session: AsyncSession, run: Run, state: str) -> None:
        """End the operation, and forget what was kept for a crash: a removed plugin's configuration is part of it."""
        await session.execute(update(StepRow).where(StepRow.operation_id == run.id).values(result={}))
        await self._hold(session, run, state=state, finished_at=self._clock.now(), data={})
        await _announce(session, run, state)
        await session.execute(delete(LockRow).where(LockRow.operation_id == run.id))


async def _tell(session: AsyncSession, run: Run) -> None:
    """Other nodes forget the tenant, and what runs there of the installation."""
    await tell(session, INSTALLATIONS, f"{run.tenant_id} {run.order.installation_id}")


async def _announce(session: AsyncSession, run: Run, operation: str, step: str | None = None) -> None:
    """Whoever listens to the tenant hears how far the operation is, and in which state it leaves the installation."""
    row = await session.get(InstallationRow, run.order.installation_id)
    told = {
        "instance": run.order.instance, "installation_id": run.order.installation_id,
        "state": None if row is None else row.state,
        "operation": {"id": run.id, "kind": run.order.kind, "state": operation, "step": step},
    }  # fmt: skip
    happened(session, "installation", told, tenant_id=run.tenant_id, plugin=run.order.slug)


def _failure(error: Exception) -> StepFailure:
    if isinstance(error, JackfieldError):
        return StepFailure(error.code, str(error)[:4000])
    return StepFailure("internal-error", f"{type(error).__name__}: {error}"[:4000])
