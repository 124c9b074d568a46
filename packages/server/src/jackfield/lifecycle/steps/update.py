"""Updating to another release: it is told first (`on_update`) and may refuse, while the old one works on.

Nothing is taken from work meanwhile. The switch is one change: calls that have begun end on the old release, those that
come afterwards begin on the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import capabilities
from jackfield.lifecycle.errors import DependenciesInactiveError, NotNowError, UpdateFailedError
from jackfield.lifecycle.hooks import run_hook
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id, inactive_among
from jackfield.lifecycle.snapshots import snapshot
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.steps.base import Tools, summary
from jackfield.lifecycle.steps.secret_tokens import put_tokens, tokens

__all__ = ["UpdateSteps"]


class UpdateSteps:
    """`data` holds `from_version`, `version`, `config`, `grants`, `state`, `needs`, `dropped_secrets` and `hooks`.

    As in `ConfigureSteps` three revisions pass, so that no isolate of one release is ever taken for another's.

    Args:
        secrets: Values to store or None to remove; only the first step needs them, see `InstallSteps`.
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any], secrets: Mapping[str, str | None]) -> None:
        self._tools = tools
        self._data = data
        self._secrets = secrets

    def steps(self) -> list[Step]:
        if "on_update" not in self._data["hooks"]:
            return [Change("update", self._update)]
        return [
            Change("begin", self._begin, self._take_back),
            Effect("on_update", self._on_update),
            Change("switch", self._switch),
        ]

    async def _update(self, session: AsyncSession, run: Run) -> None:
        await self._begin(session, run)
        await self._switch(session, run)

    async def _begin(self, session: AsyncSession, run: Run) -> None:
        row = await self._row(session, run)
        if State(row.state) is State.ACTIVE and (asleep := await inactive_among(session, self._data["needs"])):
            raise DependenciesInactiveError(row.slug, asleep)
        result = run.results.setdefault("begin", {})
        result["before"] = summary(row)
        result["tried_revision"] = row.revision + 1
        row.revision += 2
        if self._secrets:
            result["tokens"] = await tokens(session, row.id, self._secrets)
            await capabilities.set_secrets(session, run.tenant_id, row.id, row.slug, dict(self._secrets))

    async def _take_back(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        row.revision += 1
        await put_tokens(session, run.tenant_id, row.id, run.results["begin"].get("tokens", {}))

    async def _on_update(self, run: Run) -> None:
        row = await self._tools.row(run, run.order.installation_id)
        release = await self._tools.snapshots.release(row.slug, self._data["version"])
        tried = snapshot(
            row, release, await self._tools.snapshots.secrets(row, release), config=self._data["config"],
            grants=self._data["grants"], revision=run.results["begin"]["tried_revision"],
        )  # fmt: skip
        await run_hook(self._tools.runner, tried, "on_update", run.order.actor, UpdateFailedError)

    async def _switch(self, session: AsyncSession, run: Run) -> None:
        row = await self._row(session, run)
        if dropped := self._data["dropped_secrets"]:
            await put_tokens(session, run.tenant_id, row.id, dict.fromkeys(dropped))
        row.version = self._data["version"]
        row.config = dict(self._data["config"])
        row.grants = sorted(self._data["grants"])
        row.revision += 1
        row.updated_at = self._tools.clock.now()
        if row.reason_code == "needs-configuration":
            row.reason_code = row.reason_message = None
        self._tools.audit(session, run, "plugin.update", row.slug, run.results["begin"]["before"], summary(row))

    async def _row(self, session: AsyncSession, run: Run) -> InstallationRow:
        """The row, as long as it is what the plan was made for."""
        row = await by_id(session, run.order.installation_id)
        if row.state != self._data["state"] or row.version != self._data["from_version"]:
            raise NotNowError(row.state, "update", MEANINGS[State(row.state)])
        return row
