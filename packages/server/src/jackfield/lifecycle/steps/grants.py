"""Giving and withdrawing grants: one change, in force for the next capability call, of calls that have begun too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.lifecycle.errors import NotNowError
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Change, Run, Step
from jackfield.lifecycle.repository import by_id
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.steps.base import Tools

__all__ = ["GrantSteps"]


class GrantSteps:
    """`data` holds `grants` and `grant_filters`, the `state` in which they were judged, and `pending` if it changed."""

    def __init__(self, tools: Tools, data: Mapping[str, Any]) -> None:
        self._tools = tools
        self._data = data

    def steps(self) -> list[Step]:
        return [Change("save", self._save)]

    async def _save(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        if row.state != self._data["state"]:
            raise NotNowError(row.state, "set-grants", MEANINGS[State(row.state)])
        before = _told(row)
        row.grants = sorted(self._data["grants"])
        row.grant_filters = self._data.get("grant_filters", {})
        if "pending" in self._data:
            row.pending_update = self._data["pending"]
        row.revision += 1
        row.updated_at = self._tools.clock.now()
        self._tools.audit(session, run, "plugin.grants", row.slug, before, _told(row))


def _told(row: InstallationRow) -> dict[str, Any]:
    told: dict[str, Any] = {"grants": list(row.grants)}
    return told | {"grant_filters": dict(row.grant_filters)} if row.grant_filters else told
