"""Going back to a release that was there before, with the configuration, grants, secrets and data of then.

There are two ways for the data. Transformed: the `down` of each migration runs on a copy, in the release that is left,
so that what was written since is kept. Restored: what was kept at the update is put back exactly, and what was written
since goes to an export. A transformation that fails leads to the second way, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities import staging
from jackfield.capabilities.context import Staging
from jackfield.invocation import ActiveInstallation
from jackfield.lifecycle import history
from jackfield.lifecycle.errors import DependenciesInactiveError, NotNowError
from jackfield.lifecycle.models import ExportRow, InstallationRow, PastRelease
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id, inactive_among
from jackfield.lifecycle.snapshots import snapshot
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.steps.base import Tools, summary
from jackfield.lifecycle.steps.moving import Move
from jackfield.lifecycle.steps.telling import tell

__all__ = ["RollbackSteps"]


class RollbackSteps:
    """`data` holds `from_version`, `version`, `past_id`, `spent` (ids of all ways back that end with this), `state`,
    `needs`, `config`, `grants`, `grant_filters`; when the data has to be moved also `copy_id`, `way` (`transform` or
    `restore`), `downs` (pairs of name and handler), `has_data` (it can be restored) and `export_id`.
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any]) -> None:
        self._tools = tools
        self._data = data
        self._exports = tools.exports
        self._copy_id: str | None = data.get("copy_id")
        self._downs: list[tuple[str, str]] = [(name, down) for name, down in data.get("downs", [])]
        self._can_restore: bool = data.get("has_data", False)
        self._move = Move(
            tools, self._copy_id or "", self._downs, self._tried, label="down", tolerates=self._can_restore
        )

    def steps(self) -> list[Step]:
        if self._copy_id is None:
            return [Change("rollback", self._rollback)]
        transforming: list[Step] = []
        if self._data["way"] == "transform":
            transforming = [
                *self._after_failures(self._move.steps()),
                Effect("check", self._check, is_repeatable=True, is_tolerated=self._can_restore),
            ]
        restoring: list[Step] = []
        if self._can_restore:
            restoring = [
                Effect("export", self._export, self._drop_export, is_repeatable=True, is_undone_unfinished=True),
                Effect("restore", self._restore, self._strip, is_repeatable=True, is_undone_unfinished=True),
            ]
        return [
            Change("begin", self._begin, self._take_back), *transforming, *restoring, Change("switch", self._switch)
        ]  # fmt: skip

    @staticmethod
    def is_restored(run: Run) -> bool:
        """Whether the data is put back as it was, rather than transformed."""
        data = run.order.data
        failed = any(name == "check" or name.startswith("down:") for name in run.failures)
        return data.get("has_data", False) and (data.get("way") == "restore" or failed)

    def restores(self, run: Run) -> bool:
        """As `is_restored`."""
        return self.is_restored(run)

    def _after_failures(self, steps: list[Effect]) -> list[Step]:
        """Nothing is transformed further once one of them has failed."""

        def held(step: Effect) -> Effect:
            async def do(run: Run) -> dict[str, Any] | None:
                return None if self.restores(run) else await step.do(run)

            return Effect(step.name, do, step.undo, step.is_repeatable, step.is_tolerated, step.is_undone_unfinished)

        return [held(step) for step in steps]

    async def _rollback(self, session: AsyncSession, run: Run) -> None:
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
        if self._copy_id is not None:
            await self._move.close(session, run)

    async def _take_back(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        row.revision += 1
        await self._move.open(session, run)

    async def _check(self, run: Run) -> None:
        if not self.restores(run):
            to, leaving = await self._manifests(run)
            await self._move.prepare(run, to, leaving)

    async def _export(self, run: Run) -> dict[str, Any] | None:
        if not self.restores(run):
            return None
        row = await self._tools.row(run, run.order.installation_id)
        return await self._exports.write(row, self._data["export_id"])

    async def _drop_export(self, run: Run) -> None:
        self._exports.drop(run.tenant_id, self._data["export_id"])

    async def _restore(self, run: Run) -> None:
        if not self.restores(run):
            return
        past = await self._past(run)
        to, _ = await self._manifests(run)
        # What was accepted once is not judged anew.
        await self._move.prepare(run, to, to, past.copy_id)

    async def _strip(self, run: Run) -> None:
        await self._move.strip(run, (await self._past(run)).copy_id)

    async def _switch(self, session: AsyncSession, run: Run) -> None:
        row = await self._row(session, run)
        now = self._tools.clock.now()
        past = await session.get(PastRelease, self._data["past_id"])
        if past is None or past.copy_id is None:
            raise NotNowError(row.state, "rollback", MEANINGS[State(row.state)])
        note = "the data stayed as it was"
        if self._copy_id is not None:
            to = await self._tools.snapshots.release(row.slug, self._data["version"])
            if self.restores(run):
                export_id = self._data["export_id"]
                note = f"the data of {past.version} was restored; what was written since is in the export {export_id}"
                self._keep_export(session, run, row)
                await staging.put_in_place(session, run.tenant_id, row.id, past.copy_id, keep_as=None)
            else:
                note = f"the data was transformed by {len(self._downs)} migrations"
                await staging.put_in_place(session, run.tenant_id, row.id, self._copy_id, keep_as=None, is_counted=True)
            await staging.discard(session, run.tenant_id, self._copy_id)
            await self._move.open(session, run, to.manifest)
        actor = run.order.actor.subject if run.order.actor else None
        await history.add(session, row, self._data["version"], ended_by="rollback", actor=actor, now=now, note=note)
        await staging.copy_secrets(session, run.tenant_id, past.copy_id, row.id)
        for spent in self._data["spent"]:
            if (other := await session.get(PastRelease, spent)) is not None:
                await history.spend(session, other)
        row.version = self._data["version"]
        row.config = dict(self._data["config"])
        row.grants = sorted(self._data["grants"])
        row.grant_filters, row.pending_update = self._data["grant_filters"], None
        row.revision += 1
        row.updated_at = now
        if row.reason_code == "needs-configuration":
            row.reason_code = row.reason_message = None
        self._tools.audit(session, run, "plugin.rollback", row.slug, run.results["begin"]["before"], summary(row))
        tell(session, run, "rolledBack", row, previous_version=self._data["from_version"])

    def _keep_export(self, session: AsyncSession, run: Run, row: InstallationRow) -> None:
        written = run.results["export"]
        session.add(
            ExportRow(
                id=self._data["export_id"], tenant_id=run.tenant_id, slug=row.slug, instance=row.instance,
                installation_id=row.id, path=written["path"], size_bytes=written["size_bytes"], lines=written["lines"],
                created_at=self._tools.clock.now(),
            )
        )  # fmt: skip

    async def _tried(self, run: Run) -> ActiveInstallation:
        """The release that is left, on the copy: it has the code that undoes what it did."""
        row = await self._tools.row(run, run.order.installation_id)
        to, _ = await self._manifests(run)
        release = await self._tools.snapshots.release(row.slug, row.version)
        return snapshot(
            row, release, await self._tools.snapshots.secrets(row, release),
            revision=run.results["begin"]["tried_revision"], staging=Staging(self._copy_id or "", to),
        )  # fmt: skip

    async def _manifests(self, run: Run) -> tuple[Any, Any]:
        """Of the release that is gone back to, and of the one that is left."""
        snapshots, slug = self._tools.snapshots, run.order.slug
        to = await snapshots.release(slug, self._data["version"])
        leaving = await snapshots.release(slug, self._data["from_version"])
        return to.manifest, leaving.manifest

    async def _past(self, run: Run) -> PastRelease:
        async with self._tools.database.read(run.tenant_id) as session:
            past = await session.get(PastRelease, self._data["past_id"])
        if past is None:
            raise NotNowError("", "rollback", "there is no way back any more")
        return past

    async def _row(self, session: AsyncSession, run: Run) -> InstallationRow:
        """The row, as long as it is what the plan was made for."""
        row = await by_id(session, run.order.installation_id)
        if row.state != self._data["state"] or row.version != self._data["from_version"]:
            raise NotNowError(row.state, "rollback", MEANINGS[State(row.state)])
        return row
