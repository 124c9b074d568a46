"""Trying a configuration without saving it.

The plugin's check runs as an installation of its own that exists only for the trial: with its own id, the candidate's
secrets under that id, and nothing in its storage. So the check can use a new API key while the live installation goes
on with the old one, and whatever the check writes is gone with the trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import capabilities
from jackfield.invocation import Invocation
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id
from jackfield.lifecycle.snapshots import snapshot
from jackfield.lifecycle.steps.base import Tools
from jackfield.lifecycle.steps.secret_tokens import copy_tokens
from jackfield_sdk.wire import Caller

__all__ = ["TrialSteps"]


class TrialSteps:
    """`data` holds `trial_id` and `config`.

    Args:
        secrets: As in `ConfigureSteps`; those left out are copied from the installation, still encrypted.
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any], secrets: Mapping[str, str | None]) -> None:
        self._tools = tools
        self._data = data
        self._secrets = secrets

    def steps(self) -> list[Step]:
        return [
            Change("stage", self._stage, self._discard),
            Effect("check", self._check, is_tolerated=True),
            Change("discard", self._discard),
        ]

    async def _stage(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        await copy_tokens(session, run.tenant_id, row.id, self._data["trial_id"])
        if self._secrets:
            await capabilities.set_secrets(
                session, run.tenant_id, self._data["trial_id"], row.slug, dict(self._secrets), by=run.by
            )

    async def _check(self, run: Run) -> dict[str, Any]:
        row, trial_id = await self._tools.row(run, run.order.installation_id), self._data["trial_id"]
        release = await self._tools.snapshots.release(row.slug, row.version)
        async with self._tools.database.read(run.tenant_id) as session:
            names = await capabilities.secret_names(session, trial_id)
        tried = snapshot(row, release, names, id=trial_id, config=self._data["config"], revision=1)
        section = release.manifest.config
        if section is None or section.validate is None:
            return {"status": "ok"}
        actor = run.order.actor
        outcome = await self._tools.runner.run(
            Invocation(
                tried, "config-check", "config_check", section.validate, None, release.manifest.lifecycle.timeout_ms,
                Caller(actor.id, actor.role) if actor else None,
            )
        )  # fmt: skip
        await self._tools.silence(trial_id)
        failure = outcome.failure
        return {
            "status": outcome.status, "code": failure.code if failure else None,
            "message": failure.message if failure else None, "hint": failure.hint if failure else "",
        }  # fmt: skip

    async def _discard(self, session: AsyncSession, run: Run) -> None:
        await self._tools.purge(session, self._data["trial_id"])
