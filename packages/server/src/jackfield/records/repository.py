"""Queries on the tables of records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.records.models import Counter, HandlerCost, HourCost, InvocationRow, LogRow, PermissionUse

__all__ = [
    "counter",
    "failures",
    "handler_costs",
    "hour_costs",
    "inventory",
    "invocations_before",
    "logs_before",
    "plugin_costs",
    "purge",
]

_PLUGIN_SUMS = (
    "calls", "failures", "wall_us", "cpu_us", "host_calls", "queries", "egress_bytes", "payload_bytes", "result_bytes",
    "cold_starts", "secret_leaks",
)  # fmt: skip


async def counter(session: AsyncSession, installation_id: str) -> Counter | None:
    """Totals of an installation; None when it has never run."""
    return await session.scalar(select(Counter).where(Counter.installation_id == installation_id))


async def handler_costs(session: AsyncSession, installation_id: str) -> Sequence[HandlerCost]:
    """What each handler of an installation has cost."""
    return (await session.scalars(select(HandlerCost).where(HandlerCost.installation_id == installation_id))).all()


async def hour_costs(session: AsyncSession, installation_id: str, since: datetime) -> Sequence[HourCost]:
    """What an installation cost in each hour, the oldest first; hours without a call are not there."""
    query = (
        select(HourCost).where(HourCost.installation_id == installation_id, HourCost.at >= since).order_by(HourCost.at)
    )
    return (await session.scalars(query)).all()


async def plugin_costs(
    session: AsyncSession, since: datetime, sort: str, after: tuple[int, str] | None, limit: int
) -> Sequence[Any]:
    """What each plugin cost since a moment, all tenants together, the dearest first.

    Args:
        sort: The sum to sort by: a name of `CostColumns`.
        after: That sum, and the plugin, of the last row seen.
    """
    sums = {name: func.sum(getattr(HourCost, name)) for name in _PLUGIN_SUMS}
    query = (
        select(
            HourCost.plugin,
            func.count(HourCost.installation_id.distinct()).label("installations"),
            func.max(HourCost.maximum_us).label("maximum_us"),
            func.max(HourCost.peak_kb).label("peak_kb"),
            *(column.label(name) for name, column in sums.items()),
        )
        .where(HourCost.at >= since)
        .group_by(HourCost.plugin)
        .order_by(sums[sort].desc(), HourCost.plugin)
        .limit(limit)
    )
    if after is not None:
        value, plugin = after
        query = query.having(or_(sums[sort] < value, and_(sums[sort] == value, HourCost.plugin > plugin)))
    return (await session.execute(query)).all()


async def failures(session: AsyncSession, installation_id: str, limit: int) -> Sequence[InvocationRow]:
    """The latest failed invocations."""
    query = (
        select(InvocationRow)
        .where(InvocationRow.installation_id == installation_id, InvocationRow.is_failure.is_(True))
        .order_by(InvocationRow.started_at.desc(), InvocationRow.id.desc())
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def invocations_before(
    session: AsyncSession, installation_id: str, before: tuple[datetime, str] | None, limit: int
) -> Sequence[InvocationRow]:
    """Invocations, the latest first."""
    query = (
        select(InvocationRow)
        .where(InvocationRow.installation_id == installation_id)
        .order_by(InvocationRow.started_at.desc(), InvocationRow.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(InvocationRow.started_at, InvocationRow.id) < before)
    return (await session.scalars(query)).all()


async def logs_before(
    session: AsyncSession, installation_id: str, levels: Sequence[str] | None, before: int | None, limit: int
) -> Sequence[LogRow]:
    """Log lines, the latest first."""
    query = select(LogRow).where(LogRow.installation_id == installation_id).order_by(LogRow.id.desc()).limit(limit)
    if levels is not None:
        query = query.where(LogRow.level.in_(levels))
    if before is not None:
        query = query.where(LogRow.id < before)
    return (await session.scalars(query)).all()


async def inventory(session: AsyncSession, installation_id: str) -> dict[str, int]:
    """How much there is of an installation."""
    counts: dict[str, int] = {}
    for name, model in (("invocations", InvocationRow), ("logs", LogRow)):
        query = select(func.count()).select_from(model).where(model.installation_id == installation_id)
        counts[name] = await session.scalar(query) or 0
    return counts


async def purge(session: AsyncSession, installation_id: str) -> None:
    """Delete all records of an installation, totals too; the audit trail stays.

    Stop its isolates and call `Recorder.flush` before the transaction, or a record on its way arrives after it.
    """
    # In the order in which a batch is stored: the other way round, the two could wait for each other.
    for model in (InvocationRow, HandlerCost, HourCost, PermissionUse, LogRow, Counter):
        await session.execute(delete(model).where(model.installation_id == installation_id))
