"""Updating to another release: it is told first (`on_update`) and may refuse, while the old one works on.

Nothing is taken from work meanwhile. The switch is one change: calls that have begun end on the old release, those that
come afterwards begin on the new one. Where the data has to be moved, `moving` says how; what it was before is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import capabilities
from jackfield.capabilities import staging
from jackfield.capabilities.context import Staging
from jackfield.ids import new_id
from jackfield.invocation import ActiveInstallation
from jackfield.lifecycle import history
from jackfield.lifecycle.errors import DependenciesInactiveError, NotNowError, UpdateFailedError
from jackfield.lifecycle.hooks import run_hook
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id, inactive_among
from jackfield.lifecycle.snapshots import snapshot
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.steps.base import Tools, summary
from jackfield.lifecycle.steps.moving import Move
from jackfield.lifecycle.steps.secret_tokens import put_tokens, tokens
from jackfield.lifecycle.steps.telling import tell

__all__ = ["UpdateSteps"]


class UpdateSteps:
    """`data` holds `from_version`, `version`, `config`, `grants`, `grant_filters`, `state`, `needs`, `dropped_secrets`
    and `hooks`; and, when the data has to be moved, `copy_id` and `migrations`, as pairs of name and handler.

    As in `ConfigureSteps` three revisions pass, so that no isolate of one release is ever taken for another's.

    Args:
        secrets: Values to store or None to remove; only the first step needs them, see `InstallSteps`.
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any], secrets: Mapping[str, str | None]) -> None:
        self._tools = tools
        self._data = data
        self._secrets = secrets
        self._copy_id: str | None = data.get("copy_id")
        self._migrations: list[tuple[str, str]] = [(name, up) for name, up in data.get("migrations", [])]
        self._move = Move(tools, self._copy_id or "", self._migrations, self._tried, label="migrate")

    def steps(self) -> list[Step]:
        if self._copy_id is None:
            return [Change("update", self._update)]
        hook = [Effect("on_update", self._on_update)] if "on_update" in self._data["hooks"] else []
        return [
            Change("begin", self._begin, self._take_back),
            *self._move.steps(),
            *hook,
            Effect("check", self._check, is_repeatable=True),
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
        # Before they change: what is kept of the old release has the secrets that it had.
        result["past"] = new_id("past")
        await staging.copy_secrets(session, run.tenant_id, row.id, result["past"])
        if self._secrets:
            result["tokens"] = await tokens(session, row.id, self._secrets)
            await capabilities.set_secrets(session, run.tenant_id, row.id, row.slug, dict(self._secrets))
        if self._copy_id is not None:
            await self._move.close(session, run)

    async def _take_back(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        row.revision += 1
        await put_tokens(session, run.tenant_id, row.id, run.results["begin"].get("tokens", {}))
        await self._move.open(session, run)
        await staging.discard(session, run.tenant_id, run.results["begin"]["past"])

    async def _on_update(self, run: Run) -> None:
        await run_hook(self._tools.runner, await self._tried(run), "on_update", run.order.actor, UpdateFailedError)

    async def _check(self, run: Run) -> None:
        slug = run.order.slug
        old = await self._tools.snapshots.release(slug, self._data["from_version"])
        new = await self._tools.snapshots.release(slug, self._data["version"])
        await self._move.prepare(run, new.manifest, old.manifest)

    async def _switch(self, session: AsyncSession, run: Run) -> None:
        row = await self._row(session, run)
        now = self._tools.clock.now()
        past, amount, note = run.results["begin"]["past"], None, "nothing of the data had to be moved"
        if self._copy_id is not None:
            amount = await staging.measure(session, run.tenant_id, row.id)
            await staging.put_in_place(session, run.tenant_id, row.id, self._copy_id, keep_as=past, is_counted=True)
            new = await self._tools.snapshots.release(row.slug, self._data["version"])
            await self._move.open(session, run, new.manifest)
            note = _told(len(self._migrations), amount["rows"])
        actor, names = run.order.actor, [name for name, _ in self._migrations]
        await history.add(
            session, row, self._data["version"], ended_by="update", now=now, note=note, amount=amount, copy_id=past,
            actor=actor.subject if actor else None, migrations=names,
        )  # fmt: skip
        if dropped := self._data["dropped_secrets"]:
            await put_tokens(session, run.tenant_id, row.id, dict.fromkeys(dropped))
        row.version = self._data["version"]
        row.config = dict(self._data["config"])
        row.grants = sorted(self._data["grants"])
        asked_by = None if row.pending_update is None else row.pending_update.get("asked_by")
        row.grant_filters, row.pending_update = self._data.get("grant_filters", {}), None
        row.revision += 1
        row.updated_at = now
        if row.reason_code == "needs-configuration":
            row.reason_code = row.reason_message = None
        await history.prune(session, row.id, self._tools.kept, now)
        before = run.results["begin"]["before"]
        self._tools.audit(session, run, "plugin.update", row.slug, before, summary(row), asked_by)
        tell(session, run, "updated", row, previous_version=self._data["from_version"])

    async def _tried(self, run: Run) -> ActiveInstallation:
        """The new release on the copy, with the configuration and grants that it is to have."""
        row = await self._tools.row(run, run.order.installation_id)
        release = await self._tools.snapshots.release(row.slug, self._data["version"])
        old = await self._tools.snapshots.release(row.slug, self._data["from_version"])
        return snapshot(
            row, release, await self._tools.snapshots.secrets(row, release), config=self._data["config"],
            grants=self._data["grants"], grant_filters=self._data.get("grant_filters", {}),
            revision=run.results["begin"]["tried_revision"], staging=Staging(self._copy_id or "", old.manifest),
        )  # fmt: skip

    async def _row(self, session: AsyncSession, run: Run) -> InstallationRow:
        """The row, as long as it is what the plan was made for."""
        row = await by_id(session, run.order.installation_id)
        if row.state != self._data["state"] or row.version != self._data["from_version"]:
            raise NotNowError(row.state, "update", MEANINGS[State(row.state)])
        return row


def _told(migrations: int, rows: int) -> str:
    ran = "1 migration" if migrations == 1 else f"{migrations} migrations"
    return f"{ran} over {rows} rows; the data is kept as it was"
