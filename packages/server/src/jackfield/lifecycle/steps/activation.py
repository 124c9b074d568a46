"""Activating and deactivating."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import jobs
from jackfield.lifecycle.errors import ActivationFailedError, DependenciesInactiveError
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id, change_state, inactive_among
from jackfield.lifecycle.states import Event, State
from jackfield.lifecycle.steps.base import Tools, summary
from jackfield.lifecycle.steps.telling import tell

__all__ = ["ActivateSteps", "DeactivateSteps"]


class ActivateSteps:
    """inactive → activating → active; a failing `on_activate` takes it back to where it was, with the reason.

    `data` holds `hooks` and `needs` (slugs of plugins that must be active).
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any]) -> None:
        self._tools = tools
        self._data = data

    def steps(self) -> list[Step]:
        if "on_activate" not in self._data["hooks"]:
            return [Change("activate", self._activate)]
        return [
            Change("begin", self._begin, self._take_back),
            Effect("on_activate", self._on_activate, self._on_deactivate),
            Change("finish", self._finish),
        ]

    async def _begin(self, session: AsyncSession, run: Run) -> None:
        if asleep := await inactive_among(session, self._data["needs"]):
            raise DependenciesInactiveError(run.order.slug, asleep)
        row = await by_id(session, run.order.installation_id)
        reason = None
        if State(row.state) is State.QUARANTINED:
            # Kept until it is active, for so long events wait. A new revision begins with a clean slate.
            reason = (row.reason_code or "crash-loop", row.reason_message or "")
            run.results.setdefault("begin", {})["quarantine"] = reason
            row.revision += 1
        change_state(row, Event.ACTIVATION_BEGUN, now=self._tools.clock.now(), reason=reason)

    async def _take_back(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        event = Event.QUARANTINE_STANDS if run.results["begin"].get("quarantine") else Event.ACTIVATION_FAILED
        change_state(row, event, now=self._tools.clock.now(), reason=run.why())

    async def _on_activate(self, run: Run) -> None:
        await self._tools.hook(run, run.order.installation_id, "on_activate", ActivationFailedError)

    async def _on_deactivate(self, run: Run) -> None:
        await self._tools.hook(run, run.order.installation_id, "on_deactivate")

    async def _finish(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        change_state(row, Event.ACTIVATED, now=self._tools.clock.now())
        was = State.INACTIVE
        if run.results.get("begin", {}).get("quarantine"):
            was = State.QUARANTINED
            await jobs.release_held(session, row.id)
        self._tools.audit(session, run, "plugin.activate", row.slug, {"state": was.value}, summary(row))
        tell(session, run, "activated", row)

    async def _activate(self, session: AsyncSession, run: Run) -> None:
        await self._begin(session, run)
        await self._finish(session, run)


class DeactivateSteps:
    """active → deactivating → inactive. A failing `on_deactivate` stops nothing.

    From the first step on nothing reaches it. What was waiting to be delivered to it is ended.
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any]) -> None:
        self._tools = tools
        self._data = data

    def steps(self) -> list[Step]:
        if "on_deactivate" not in self._data["hooks"]:
            return [Change("deactivate", self._deactivate)]
        return [
            Change("begin", self._begin, self._end),
            Effect("on_deactivate", self._on_deactivate, is_repeatable=True, is_tolerated=True),
            Change("finish", self._finish),
        ]

    async def _begin(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        run.results.setdefault("begin", {})["was"] = row.state
        change_state(row, Event.DEACTIVATION_BEGUN, now=self._tools.clock.now())
        await jobs.skip_open(session, row.id)

    async def _end(self, session: AsyncSession, run: Run) -> None:
        """What has been told to stop is not started again behind its back: the way back leads to rest as well."""
        row = await by_id(session, run.order.installation_id)
        change_state(row, Event.DEACTIVATED, now=self._tools.clock.now(), reason=run.why())

    async def _on_deactivate(self, run: Run) -> None:
        await self._tools.hook(run, run.order.installation_id, "on_deactivate")

    async def _finish(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        change_state(row, Event.DEACTIVATED, now=self._tools.clock.now())
        self._tools.audit(
            session, run, "plugin.deactivate", row.slug, {"state": run.results["begin"]["was"]}, summary(row)
        )
        tell(session, run, "deactivated", row)

    async def _deactivate(self, session: AsyncSession, run: Run) -> None:
        await self._begin(session, run)
        await self._finish(session, run)
