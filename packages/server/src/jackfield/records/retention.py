"""Drops what is old: for how long each kind of record is kept, by the platform's settings and by a tenant's own wish.

Once an hour, one node drops a kind, in small batches; which one is decided by a row of the database. Figures that are
told of an installation are counters of their own, so that they do not change by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast

import structlog
from sqlalchemy import Column, ColumnElement, Table, delete, func, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.db.doctor import DatabaseFinding
from jackfield.records.errors import RetentionInvalidError, RetentionKindError, RetentionTooLongError
from jackfield.records.models import (
    AuditEntry,
    HourCost,
    InvocationRow,
    LogRow,
    PermissionUse,
    RetentionRow,
    RetentionRun,
)
from jackfield.records.trail.chain import AuditKeys
from jackfield.records.trail.pruning import prune_trail
from jackfield.records.trail.writing import audit

__all__ = ["Kept", "Kind", "Prune", "Retention", "RetentionState", "Rows", "TrailRows", "examine", "record_kinds"]

_log = structlog.get_logger("jackfield.retention")

_BATCH: Final = 1_000
_LEASE: Final = timedelta(hours=1)
_SKEW: Final = timedelta(hours=24)
_LATE: Final = timedelta(days=2)
_RESTS_S: Final = 60.0


class Prune(Protocol):
    """Drops rows from before a moment; how many went."""

    async def __call__(
        self, database: Database, before: datetime, /, *, tenant_id: str | None = None, but_not: Collection[str] = ()
    ) -> int:
        """Of one tenant when it is given, or else of all but some."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table, by their time.

    Attributes:
        at: Older ones go.
        only: Which of them may go; all, when None.
    """

    model: Any
    at: Any
    only: ColumnElement[bool] | None = None

    async def __call__(
        self, database: Database, before: datetime, *, tenant_id: str | None = None, but_not: Collection[str] = ()
    ) -> int:
        table = cast(Table, self.model.__table__)
        key: list[Column[Any]] = list(table.primary_key.columns)
        old = select(*key).where(self.at < before).limit(_BATCH)
        if tenant_id is not None:
            old = old.where(table.c.tenant_id == tenant_id)
        if but_not:
            old = old.where(table.c.tenant_id.not_in(list(but_not)))
        if self.only is not None:
            old = old.where(self.only)
        gone = key[0].in_(old) if len(key) == 1 else tuple_(*key).in_(old)
        dropped = 0
        while True:
            # In slices, so that no other writer waits for long.
            async with database.write(tenant_id) as session:
                result: Any = await (await session.connection()).execute(delete(table).where(gone))
            dropped += result.rowcount
            if result.rowcount < _BATCH:
                return dropped


@dataclass(frozen=True, slots=True)
class TrailRows:
    """Entries of audit trails, each tenant's from its beginning on."""

    keys: AuditKeys
    clock: Clock

    async def __call__(
        self, database: Database, before: datetime, *, tenant_id: str | None = None, but_not: Collection[str] = ()
    ) -> int:
        await self.keys.refresh()
        due = select(AuditEntry.tenant_id).where(AuditEntry.at < before).distinct()
        async with database.read(tenant_id) as session:
            owners = sorted(await session.scalars(due))
        dropped = 0
        for owner in owners:
            if owner not in but_not:
                dropped += await prune_trail(database, self.keys, owner, before, self.clock.now())
        return dropped


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record.

    Attributes:
        days: For how long it is kept unless a tenant has its own wish; None: for ever.
        prunes: One after the other.
        is_evidence: Whether a tenant may only have it kept for longer.
    """

    name: str
    says: str
    days: int | None
    prunes: Sequence[Prune]
    is_evidence: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long a tenant's records of a kind are kept.

    Attributes:
        days: None: for ever.
        platform_days: Unless the tenant has its own wish.
        shortest, longest: What it may wish for; None: any length.
    """

    kind: str
    says: str
    days: int | None
    platform_days: int | None
    is_own: bool
    shortest: int
    longest: int | None


@dataclass(frozen=True, slots=True)
class RetentionState:
    """When a kind was last gone through, in all tenants.

    Attributes:
        removed: The last time; `total` since the beginning.
        error: What kept it from being done.
    """

    kind: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    removed: int = 0
    total: int = 0
    error: str | None = None


class Retention:
    """One per node.

    Args:
        limit_of: For how many days a tenant's plan lets its records be kept where that is more than the platform's own
            time; None: for any.
        every: How often each kind is gone through.
    """

    def __init__(
        self,
        database: Database,
        kinds: Sequence[Kind],
        clock: Clock | None = None,
        *,
        limit_of: Callable[[str], Awaitable[int | None]] | None = None,
        every: timedelta = timedelta(hours=1),
    ) -> None:
        self._database = database
        self._kinds: Mapping[str, Kind] = {kind.name: kind for kind in kinds}
        self._clock = clock or SystemClock()
        self._limit_of = limit_of
        self._every = every

    @property
    def kinds(self) -> Sequence[Kind]:
        """All that are kept."""
        return list(self._kinds.values())

    async def of(self, tenant_id: str) -> list[Kept]:
        """For how long each kind is kept for a tenant."""
        async with self._database.read(tenant_id) as session:
            rows = {row.kind: row.days for row in await session.scalars(select(RetentionRow))}
        limit = await self._limit(tenant_id)
        return [_kept(kind, rows.get(kind.name), limit) for kind in self._kinds.values()]

    async def set(self, tenant_id: str, kind_name: str, days: int | None, actor: str) -> Kept:
        """What a tenant wishes for; None: what the platform does for all.

        Raises:
            RetentionKindError: There is no such kind.
            RetentionInvalidError: It is shorter than the kind may be kept.
            RetentionTooLongError: Its plan does not allow it.
        """
        kind = self._kinds.get(kind_name)
        if kind is None:
            raise RetentionKindError("there is no such kind of record", kinds=sorted(self._kinds))
        limit = await self._limit(tenant_id)
        bounds = _kept(kind, None, limit)
        if days is not None and days < bounds.shortest:
            raise RetentionInvalidError(f"{kind.name} are kept for at least {bounds.shortest} days")
        if days is not None and bounds.longest is not None and days > bounds.longest:
            raise RetentionTooLongError(f"{kind.name} are kept for at most {bounds.longest} days", days=bounds.longest)
        async with self._database.write(tenant_id) as session:
            row = await session.get(RetentionRow, (tenant_id, kind.name), with_for_update=True)
            before = None if row is None else row.days
            if days is None and row is not None:
                await session.delete(row)
            elif days is not None:
                if row is None:
                    session.add(row := RetentionRow(tenant_id=tenant_id, kind=kind.name))
                row.days, row.set_by, row.set_at = days, actor, self._clock.now()
            audit(session, tenant_id, actor, "retention.set", kind.name, {"days": before}, {"days": days})
        return _kept(kind, days, limit)

    async def states(self) -> list[RetentionState]:
        """When each kind was last gone through."""
        async with self._database.read(None) as session:
            rows = {row.kind: row for row in await session.scalars(select(RetentionRun))}
        return [
            RetentionState(name, row.started_at, row.finished_at, row.removed, row.total, row.error)
            if (row := rows.get(name))
            else RetentionState(name)
            for name in self._kinds
        ]

    async def run(self) -> None:
        """Go through what is due until cancelled."""
        while True:
            await self.go_through()
            await asyncio.sleep(_RESTS_S)

    async def go_through(self) -> int:
        """Drop what is old of each kind that is due, and that no other node is at; how many rows went.

        A node whose clock is far from the database's drops nothing: it would take new rows for old ones.
        """
        dropped = 0
        due = await self._due()
        if not due or not await self._has_good_clock():
            return 0
        for kind in due:
            if await self._claim(kind.name):
                dropped += await self._drop(kind)
        return dropped

    async def _due(self) -> list[Kind]:
        """Kinds that it is time for, as far as that can be seen without holding anything."""
        now = self._clock.now()
        async with self._database.read(None) as session:
            rows = {row.kind: row for row in await session.scalars(select(RetentionRun))}
        return [kind for kind in self._kinds.values() if self._is_due(rows.get(kind.name), now)]

    def _is_due(self, row: RetentionRun | None, now: datetime) -> bool:
        if row is None:
            return True
        if row.lease_until is not None and row.lease_until > now:
            return False
        # A clock that was set back does not keep it from being done.
        return row.finished_at is None or not timedelta(0) <= now - row.finished_at < self._every

    async def _drop(self, kind: Kind) -> int:
        removed, error = 0, None
        try:
            own = await self._own_times(kind)
            now = self._clock.now()
            for prune in kind.prunes:
                if kind.days is not None:
                    before = now - timedelta(days=kind.days)
                    removed += await prune(self._database, before, but_not=own.keys())
                for tenant_id, days in own.items():
                    if days is not None:
                        removed += await prune(self._database, now - timedelta(days=days), tenant_id=tenant_id)
        except Exception as failure:
            # The next kind is no worse for it, and an operator sees it where all are listed.
            error = f"{type(failure).__name__}: {str(failure)[:200]}"
            _log.exception("retention-failed", kind=kind.name)
        if removed:
            _log.info("retention", kind=kind.name, removed=removed)
        async with self._database.write(None) as session:
            await session.execute(
                update(RetentionRun)
                .where(RetentionRun.kind == kind.name, RetentionRun.node_id == self._database.node_id)
                .values(
                    lease_until=None, finished_at=self._clock.now(), removed=removed, error=error,
                    total=RetentionRun.total + removed,
                )
            )  # fmt: skip
        return removed

    async def _own_times(self, kind: Kind) -> dict[str, int | None]:
        """Tenants with a wish of their own, as far as their plans allow it now."""
        async with self._database.read(None) as session:
            query = select(RetentionRow.tenant_id, RetentionRow.days).where(RetentionRow.kind == kind.name)
            rows = [(str(row[0]), int(row[1])) for row in await session.execute(query)]
        return {tenant_id: _kept(kind, days, await self._limit(tenant_id)).days for tenant_id, days in rows}

    async def _claim(self, kind: str) -> bool:
        """Take a kind for this node, if it is due."""
        now = self._clock.now()
        dialect: Any = sqlite if self._database.is_sqlite else postgresql
        async with self._database.write(None) as session:
            made = dialect.insert(RetentionRun).values(kind=kind, removed=0, total=0).on_conflict_do_nothing()
            await session.execute(made)
            row = (await session.scalars(select(RetentionRun).where(RetentionRun.kind == kind).with_for_update())).one()
            if not self._is_due(row, now):
                return False
            row.node_id, row.started_at, row.lease_until = self._database.node_id, now, now + _LEASE
        return True

    async def _has_good_clock(self) -> bool:
        if self._database.is_sqlite:
            return True
        async with self._database.read(None) as session:
            there = await session.scalar(select(func.now()).select_from(text("(SELECT 1) AS one")))
        skew = self._clock.now() - cast(datetime, there)
        if abs(skew) > _SKEW:
            _log.error("retention-clock-wrong", skew_s=skew.total_seconds())
        return abs(skew) <= _SKEW

    async def _limit(self, tenant_id: str) -> int | None:
        return None if self._limit_of is None else await self._limit_of(tenant_id)


async def examine(database: Database, clock: Clock | None = None) -> DatabaseFinding:
    """Whether what is old is being dropped, for `jackfield doctor`. The database has the tables of this version."""
    now = (clock or SystemClock()).now()
    async with database.read(None) as session:
        runs = (await session.scalars(select(RetentionRun).order_by(RetentionRun.kind))).all()
    wrong = [f"{run.kind}: {run.error}" for run in runs if run.error]
    wrong += [f"{run.kind} was not gone through since {run.finished_at}" for run in runs if _is_late(run, now)]
    total = sum(run.total for run in runs)
    says = "; ".join(wrong) or (f"{len(runs)} kinds, {total} rows dropped so far" if runs else "no node has begun yet")
    return DatabaseFinding("retention", not wrong, says)


def _is_late(run: RetentionRun, now: datetime) -> bool:
    return run.finished_at is not None and now - run.finished_at > _LATE


def record_kinds(invocations: int | None, logs: int | None, costs: int | None, uses: int | None) -> list[Kind]:
    """The kinds that this folder keeps; days of each."""
    return [
        Kind("invocations", "What ran, and how it ended", invocations, [Rows(InvocationRow, InvocationRow.started_at)]),
        Kind("logs", "Lines that plugins logged", logs, [Rows(LogRow, LogRow.logged_at)]),
        Kind("costs", "What each hour has cost", costs, [Rows(HourCost, HourCost.at)]),
        Kind(
            "uses", "On whose behalf grants were used", uses,
            [Rows(PermissionUse, PermissionUse.last_used_at, PermissionUse.user_id != "")],
        ),
    ]  # fmt: skip


def _kept(kind: Kind, own: int | None, limit: int | None) -> Kept:
    shortest = (kind.days or 1) if kind.is_evidence else 1
    longest = None if limit is None or kind.days is None else max(kind.days, limit)
    days = kind.days if own is None else max(shortest, own if longest is None else min(own, longest))
    if kind.days is None and kind.is_evidence:
        # For ever is the shortest that there is.
        days = None
    return Kept(kind.name, kind.says, days, kind.days, own is not None, shortest, longest)
