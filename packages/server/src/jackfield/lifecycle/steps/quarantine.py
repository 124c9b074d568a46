"""Taking a plugin from work that does nothing but die: one change, decided by `health`, lifted by an activation.

Its own handlers are not run, for they are what dies. What waits to be delivered to it stays, and goes on waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.lifecycle.errors import NotNowError
from jackfield.lifecycle.operations import Change, Run, Step
from jackfield.lifecycle.repository import by_id, change_state
from jackfield.lifecycle.states import MEANINGS, Event, State
from jackfield.lifecycle.steps.base import Tools, summary
from jackfield.lifecycle.steps.telling import tell

__all__ = ["QuarantineSteps"]


class QuarantineSteps:
    """`data` holds `reason` (code and message) and the `revision` that it was judged by."""

    def __init__(self, tools: Tools, data: Mapping[str, Any]) -> None:
        self._tools = tools
        self._data = data

    def steps(self) -> list[Step]:
        return [Change("quarantine", self._quarantine)]

    async def _quarantine(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        if row.revision != self._data["revision"]:
            # Somebody has changed what died; what it is now has not died yet.
            raise NotNowError(row.state, Event.QUARANTINED.value, MEANINGS[State(row.state)])
        before = {"state": row.state}
        code, message = self._data["reason"]
        change_state(row, Event.QUARANTINED, now=self._tools.clock.now(), reason=(code, message))
        after = {**summary(row), "reason": {"code": code, "message": message}}
        self._tools.audit(session, run, "plugin.quarantine", row.slug, before, after)
        tell(session, run, "quarantined", row)
