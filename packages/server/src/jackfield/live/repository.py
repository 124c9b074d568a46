"""Statements on happenings, and on the deliveries that are told of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.jobs.models import Delivery
from jackfield.live.models import LiveRow
from jackfield.live.shares import latest_of_each
from jackfield.live.writing import EVERYBODY

__all__ = ["after", "ended_since", "is_complete", "is_there", "newest", "prune", "settle"]

_PRUNE_BATCH = 2_000
_MOST = 10_000
"""Rows of a tenant: whatever its plugins do, they fill no disk."""


async def newest(session: AsyncSession, tenant_id: str | None) -> int:
    """The last position of a tenant, or of all; 0 when nothing ever happened."""
    return await session.scalar(select(func.max(LiveRow.position)).where(*_of(tenant_id))) or 0


async def is_there(session: AsyncSession, tenant_id: str, position: int) -> bool:
    """Whether a position is still known. Rows go the oldest first, so all that came after it are there too."""
    query = select(LiveRow.position).where(LiveRow.tenant_id == tenant_id, LiveRow.position == position)
    return await session.scalar(query) is not None


async def is_complete(session: AsyncSession, position: int, since: datetime) -> bool:
    """Whether nothing of any tenant is gone that came after a position. That may be so where it is the last of all, or
    not older than `since`, before which rows may have gone; a tenant of which more went has too many left to be told.
    """
    found = await session.scalar(select(LiveRow.created_at).where(LiveRow.position == position))
    return found is not None and (found >= since or await newest(session, None) == position)


async def settle(session: AsyncSession) -> None:
    """Wait for those who have a position and have not committed it (`writing`): what the session reads next has no
    gaps, whosever it is."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(EVERYBODY)))


async def after(session: AsyncSession, tenant_id: str | None, position: int, limit: int) -> Sequence[LiveRow]:
    """What happened to a tenant, or to all, after a position, in order."""
    query = select(LiveRow).where(*_of(tenant_id), LiveRow.position > position).order_by(LiveRow.position).limit(limit)
    return (await session.scalars(query)).all()


async def ended_since(
    session: AsyncSession, tenants: Collection[str] | None, since: datetime, limit: int
) -> Sequence[Any]:
    """Deliveries of some tenants, or of all, that ended since then, the latest first: tenant, id, installation, event,
    state, … Of each tenant there are some, also where `limit` is reached."""
    whose = () if tenants is None else (Delivery.tenant_id.in_(tenants),)
    query = select(
        Delivery.tenant_id, Delivery.id, Delivery.installation_id, Delivery.event, Delivery.state,
        Delivery.error_code, Delivery.duration_ms, Delivery.finished_at,
    ).where(Delivery.finished_at >= since, *whose)  # fmt: skip
    return await latest_of_each(session, query, tenants, Delivery.finished_at, limit)


async def prune(database: Database, before: datetime, most: int = _MOST) -> int:
    """Drop what is old, and of a tenant with more than `most` the oldest, in short transactions; the last row of a
    tenant stays, so that a quiet stream can go on. How many went."""
    last = select(func.max(LiveRow.position)).group_by(LiveRow.tenant_id)
    dropped = await _drop(database, None, LiveRow.created_at < before, LiveRow.position.not_in(last))
    async with database.read(None) as session:
        query = select(LiveRow.tenant_id).group_by(LiveRow.tenant_id).having(func.count() > most)
        crowded = (await session.scalars(query)).all()
    for tenant_id in crowded:
        async with database.read(tenant_id) as session:
            newer = select(LiveRow.position).where(LiveRow.tenant_id == tenant_id).order_by(LiveRow.position.desc())
            limit = await session.scalar(newer.offset(most).limit(1)) or 0
        dropped += await _drop(database, tenant_id, LiveRow.tenant_id == tenant_id, LiveRow.position <= limit)
    return dropped


def _of(tenant_id: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if tenant_id is None else (LiveRow.tenant_id == tenant_id,)


async def _drop(database: Database, tenant_id: str | None, *which: ColumnElement[bool]) -> int:
    dropped = 0
    old = select(LiveRow.position).where(*which).order_by(LiveRow.position).limit(_PRUNE_BATCH)
    while True:
        async with database.write(tenant_id) as session:
            statement = delete(LiveRow).where(LiveRow.position.in_(old)).returning(LiveRow.position)
            gone = len((await session.scalars(statement)).all())
        dropped += gone
        if gone < _PRUNE_BATCH:
            return dropped
