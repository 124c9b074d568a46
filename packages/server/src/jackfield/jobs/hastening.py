"""Deliveries that wait for a handler to work again come soon when it does, rather than when they were put off to."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.jobs import outbox, repository
from jackfield.jobs.holding import DELIVERIES, place

__all__ = ["LEFT_ALONE", "hasten", "hasten_in"]

LEFT_ALONE = "circuit-open"
"""Code of deliveries that wait until their handler is tried again."""
_AT_ONCE = 500
"""In one transaction: nobody else can dispatch meanwhile."""
_AFTER = timedelta(seconds=0.5)
"""Until then all nodes have heard that it works again. One that has not would put them off anew."""
_SPREAD = timedelta(seconds=5)
"""Within which so many become due: a handler that has just come back is not to fall over them."""

_D = DELIVERIES.c
_IS_WAITING = _D.place == place("waiting")
_WAITING = (
    select(_D.sequence)
    .where(
        _D.installation_id == bindparam("installation"),
        _IS_WAITING,
        _D.error_code == LEFT_ALONE,
        _D.next_attempt_at > bindparam("end", type_=_D.next_attempt_at.type),
    )
    .order_by(_D.sequence)
    .limit(_AT_ONCE)
)
_HASTEN = (
    update(DELIVERIES)
    .where(_D.sequence == bindparam("this"), _IS_WAITING)
    .values(next_attempt_at=bindparam("due", type_=_D.next_attempt_at.type))
)


async def hasten(database: Database, tenant_id: str, installation_id: str, handler: str, now: datetime) -> int:
    """A handler works again: deliveries that waited for it come within seconds, the oldest first; how many.

    In short transactions. Those that would come within the same seconds anyway keep their time.
    """
    hastened = 0
    while True:
        async with database.write(tenant_id) as session:
            count = await _some(session, installation_id, now, handler)
        hastened += count
        if count < _AT_ONCE:
            return hastened
        now += _SPREAD


async def hasten_in(session: AsyncSession, installation_id: str, now: datetime) -> int:
    """All its handlers begin anew, with the session's transaction. Beyond 500 deliveries, the later keep their time."""
    return await _some(session, installation_id, now)


async def _some(session: AsyncSession, installation_id: str, now: datetime, handler: str | None = None) -> int:
    start, end = now + _AFTER, now + _AFTER + _SPREAD
    connection = await session.connection()
    query = _WAITING.where(true() if handler is None else _D.handler == handler)
    waiting = (await connection.scalars(query, {"installation": installation_id, "end": end})).all()
    if waiting:
        await session.run_sync(repository.lock)
        step = _SPREAD / len(waiting)
        rows = [{"this": sequence, "due": start + step * number} for number, sequence in enumerate(waiting)]
        await connection.execute(_HASTEN, rows)
        outbox.wake_after_commit(session)
    return len(waiting)
