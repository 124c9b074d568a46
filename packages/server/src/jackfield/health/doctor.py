"""Whether plugins are left alone, for `jackfield doctor`. The database has the tables of this version."""

from __future__ import annotations

from sqlalchemy import select

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.db.doctor import DatabaseFinding
from jackfield.health.models import BreakerRow
from jackfield.health.repository import is_left_alone

__all__ = ["examine"]

_TOLD = 5


async def examine(database: Database, clock: Clock | None = None) -> DatabaseFinding:
    """Breakers that are open. They are the plugins' matter rather than the platform's: told, and no fault."""
    now = (clock or SystemClock()).now()
    query = select(BreakerRow).where(is_left_alone()).order_by(BreakerRow.opened_at)
    async with database.read(None) as session:
        rows = (await session.scalars(query)).all()
    names = [
        f"{row.handler} of {row.installation_id} ({row.code}, {max(0.0, (row.until - now).total_seconds()):.0f} s more)"
        for row in rows[:_TOLD]
    ]
    more = f" and {len(rows) - _TOLD} others" if len(rows) > _TOLD else ""
    says = f"{len(rows)} handlers are left alone" + (f": {', '.join(names)}{more}" if names else "")
    return DatabaseFinding("breakers", True, says)
