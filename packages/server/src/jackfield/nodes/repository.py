"""Statements about nodes and their locks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.nodes.models import NodeRow

__all__ = ["CLASS", "HELD", "drop_before", "end", "end_others", "every", "held", "put", "see", "working"]

CLASS = 0x6A666E
"""Tells nodes' locks from others."""
HELD = f"""
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND classid::bigint = {CLASS} AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608  # a number of ours
"""Numbers of nodes that live."""


async def put(session: AsyncSession, row: NodeRow) -> NodeRow | None:
    """Write a node down; what was there of it before."""
    known = await session.get(NodeRow, row.id, with_for_update=True)
    before = None if known is None else NodeRow(id=known.id, ended_at=known.ended_at, ended_by=known.ended_by)
    await session.merge(row)
    return before


async def working(session: AsyncSession) -> dict[str, int]:
    """Node → number, of those that have not ended as far as is known."""
    rows = await session.execute(select(NodeRow.id, NodeRow.number).where(NodeRow.ended_at.is_(None)))
    return {row[0]: row[1] for row in rows}


async def every(session: AsyncSession) -> list[NodeRow]:
    """All that are written down, the youngest first."""
    return list(await session.scalars(select(NodeRow).order_by(NodeRow.started_at.desc(), NodeRow.id)))


async def held(session: AsyncSession) -> set[int]:
    """Numbers whose locks are held at this moment."""
    return set(await session.scalars(text(HELD)))


async def end(session: AsyncSession, node_id: str, number: int, by: str, now: datetime) -> bool:
    """Write down that a node is gone. False: it lives after all.

    Its lock is taken for this transaction, so that it cannot come back in the meantime.
    """
    if session.get_bind().dialect.name != "sqlite":
        is_free = await session.scalar(select(func.pg_try_advisory_xact_lock(CLASS, number)))
        if not is_free:
            return False
    await session.execute(
        update(NodeRow)
        .where(NodeRow.id == node_id, NodeRow.number == number, NodeRow.ended_at.is_(None))
        .values(ended_at=now, ended_by=by)
    )
    return True


async def end_others(session: AsyncSession, node_id: str, now: datetime) -> list[str]:
    """Where there is one node: whatever else is written down is gone."""
    rows = await session.scalars(
        update(NodeRow)
        .where(NodeRow.id != node_id, NodeRow.ended_at.is_(None))
        .values(ended_at=now, ended_by=node_id)
        .returning(NodeRow.id)
    )
    return list(rows)


async def see(session: AsyncSession, node_id: str, now: datetime) -> None:
    """It lives."""
    await session.execute(update(NodeRow).where(NodeRow.id == node_id).values(last_seen_at=now))


async def drop_before(session: AsyncSession, before: datetime) -> None:
    """Forget nodes that ended before this."""
    await session.execute(delete(NodeRow).where(NodeRow.ended_at < before))
