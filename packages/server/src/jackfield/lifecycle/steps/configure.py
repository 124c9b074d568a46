"""Changing the configuration. The plugin hears of it first (`on_configure`) and may refuse; only then does it count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import capabilities
from jackfield.lifecycle.errors import ConfigureFailedError, NotNowError
from jackfield.lifecycle.hooks import run_hook
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.steps.base import Tools
from jackfield.lifecycle.steps.secret_tokens import put_tokens, tokens
from jackfield.lifecycle.steps.telling import tell

__all__ = ["ConfigureSteps"]


class ConfigureSteps:
    """`data` holds `config` (new, without secrets), `secret_names` (that change) and `hooks`.

    Three revisions pass: the one that the new configuration is tried with, the old configuration's while that happens,
    and the one that counts in the end. No isolate that was loaded for the trial is ever taken for another.

    Args:
        secrets: Values to store or None to remove; only the first step needs them, see `InstallSteps`.
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any], secrets: Mapping[str, str | None]) -> None:
        self._tools = tools
        self._data = data
        self._secrets = secrets

    def steps(self) -> list[Step]:
        if "on_configure" not in self._data["hooks"]:
            return [Change("configure", self._configure)]
        return [
            Change("store-secrets", self._store, self._restore),
            Effect("on_configure", self._on_configure),
            Change("save", self._save),
        ]

    async def _configure(self, session: AsyncSession, run: Run) -> None:
        await self._store(session, run)
        await self._save(session, run)

    async def _store(self, session: AsyncSession, run: Run) -> None:
        """Secrets must be in place for the handler to use them; what was there before is kept, encrypted as it was."""
        row = await by_id(session, run.order.installation_id)
        if not (State(row.state) is State.ACTIVE or State(row.state).is_at_rest):
            raise NotNowError(row.state, "configure", MEANINGS[State(row.state)])
        result = run.results.setdefault("store-secrets", {})
        result["tried_revision"] = row.revision + 1
        row.revision += 2
        if self._secrets:
            result["tokens"] = await tokens(session, row.id, self._secrets)
            await capabilities.set_secrets(session, run.tenant_id, row.id, row.slug, dict(self._secrets), by=run.by)

    async def _restore(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        row.revision += 1
        await put_tokens(session, run.tenant_id, row.id, run.results["store-secrets"].get("tokens", {}))

    async def _on_configure(self, run: Run) -> None:
        row = await self._tools.row(run, run.order.installation_id)
        tried = await self._tools.snapshots.of(
            row, config=self._data["config"], revision=run.results["store-secrets"]["tried_revision"]
        )
        await run_hook(self._tools.runner, tried, "on_configure", run.order.actor, ConfigureFailedError)

    async def _save(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        before = dict(row.config)
        row.config = dict(self._data["config"])
        row.revision += 1
        row.updated_at = self._tools.clock.now()
        if row.reason_code == "needs-configuration" and not self._data["missing"]:
            row.reason_code = row.reason_message = None
        self._tools.audit(
            session, run, "plugin.configure", row.slug, {"config": before},
            {"config": dict(row.config), "secret_names": sorted(self._data["secret_names"])},
        )  # fmt: skip
        tell(session, run, "configured", row)
