"""An update that waits for consent: remembered with the installation, or given up. Nothing else of it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.lifecycle.errors import NotNowError
from jackfield.lifecycle.operations import Change, Run, Step
from jackfield.lifecycle.repository import by_id
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.steps.base import Tools

__all__ = ["PendingSteps"]


class PendingSteps:
    """`data` holds `pending`, None to give it up, and `from_version`, the release that it was judged with."""

    def __init__(self, tools: Tools, data: Mapping[str, Any]) -> None:
        self._tools = tools
        self._data = data

    def steps(self) -> list[Step]:
        return [Change("remember", self._remember)]

    async def _remember(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        if row.version != self._data["from_version"] or not State(row.state).is_listed:
            raise NotNowError(row.state, "update", MEANINGS[State(row.state)])
        before, row.pending_update = row.pending_update, self._data["pending"]
        action = "plugin.update-waits" if row.pending_update else "plugin.update-given-up"
        self._tools.audit(session, run, action, row.slug, before, row.pending_update)
