"""Whether events and schedules get on, for `jackfield doctor`. The database has the tables of this version."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.db.doctor import DatabaseFinding
from jackfield.jobs.models import Delivery, OutboxEvent, ScheduleRow

__all__ = ["examine"]

_STUCK = timedelta(minutes=5)
"""What nobody has taken up for so long waits for a node that is not there, or that cannot keep up."""


async def examine(database: Database, clock: Clock | None = None) -> list[DatabaseFinding]:
    """Events without deliveries, those that wait or lost their node, schedules that are late, what was given up."""
    now = (clock or SystemClock()).now()
    new = select(func.count(), func.min(OutboxEvent.created_at)).where(OutboxEvent.fanned_out_at.is_(None))
    # By when it could be begun: a delivery that was replayed, or waited for its turn, is older than that.
    ready = select(func.count(), func.min(func.coalesce(Delivery.next_attempt_at, Delivery.created_at)))
    ready = ready.where(Delivery.place == "ready")
    lost = select(func.count(), func.min(Delivery.lease_until)).where(Delivery.place == "running")
    late = select(func.count(), func.min(ScheduleRow.next_at)).where(ScheduleRow.next_at < now - _STUCK)
    dead = select(func.count(), func.max(Delivery.finished_at)).where(Delivery.state == "dead")
    async with database.read(None) as session:
        found = {
            name: (await session.execute(query)).one()
            for name, query in (("new", new), ("ready", ready), ("lost", lost), ("late", late), ("dead", dead))
        }

    def finding(key: str, name: str, what: str) -> DatabaseFinding:
        count, oldest = found[key]
        moment = oldest if isinstance(oldest, datetime) else None
        is_stuck = moment is not None and now - moment > _STUCK
        since = f", since {moment.isoformat(timespec='seconds')}" if is_stuck and moment is not None else ""
        return DatabaseFinding(name, not is_stuck, f"{count} {what}{since}")

    dead_count, last = found["dead"]
    when = f", the last at {last.isoformat(timespec='seconds')}" if isinstance(last, datetime) else ""
    return [
        finding("new", "events", "wait for their deliveries to be made"),
        finding("ready", "deliveries", "could be begun"),
        finding("lost", "leases of deliveries", "are held"),
        finding("late", "schedules", "are late"),
        # A plugin's matter rather than the platform's: it is told, and is no fault.
        DatabaseFinding("given up", True, f"{dead_count} deliveries{when}"),
    ]
