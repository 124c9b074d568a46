"""Uninstalling: stop it, let it say goodbye, save the data if asked, remove it.

Whatever goes wrong with the plugin's own handlers, the way leads forward. Two things can stop it: an export that
cannot be written, for then removing would lose data, and a removal that the database refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import connections, jobs
from jackfield.lifecycle import history
from jackfield.lifecycle.errors import RemovalFailedError
from jackfield.lifecycle.models import ExportRow
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id, change_state
from jackfield.lifecycle.states import Event, State
from jackfield.lifecycle.steps.base import Tools, summary
from jackfield.lifecycle.steps.secret_tokens import drop_tokens
from jackfield.lifecycle.steps.telling import tell

__all__ = ["UninstallSteps"]


class UninstallSteps:
    """`data` holds `mode` (keep, export, delete), `export_id`, `state` it was in, and `hooks`."""

    def __init__(self, tools: Tools, data: Mapping[str, Any]) -> None:
        self._tools = tools
        self._data = data
        self._exports = tools.exports
        self._was = State(data["state"])

    def steps(self) -> list[Step]:
        hooks: list[str] = self._data["hooks"]
        found: list[Step] = [Change("begin", self._begin, self._take_back)]
        if self._was is State.ACTIVE and "on_deactivate" in hooks:
            found.append(Effect("on_deactivate", self._on_deactivate, is_repeatable=True, is_tolerated=True))
        if self._data["mode"] == "export":
            found.append(
                Effect("export", self._export, self._drop_export, is_repeatable=True, is_undone_unfinished=True)
            )
        # What was never installed to its end has nothing to say goodbye to.
        if self._was is not State.INSTALL_FAILED and "on_uninstall" in hooks:
            found.append(Effect("on_uninstall", self._on_uninstall, is_repeatable=True, is_tolerated=True))
        # Before the data goes, so that no isolate writes behind the removal.
        found.append(Effect("retire", self._retire, is_repeatable=True, is_tolerated=True))
        found.append(Change("remove", self._remove))
        return found

    async def _begin(self, session: AsyncSession, run: Run) -> None:
        row = await by_id(session, run.order.installation_id)
        run.results["begin"]["before"] = summary(row)
        stop = (Event.DEACTIVATION_BEGUN,) if State(row.state) is State.ACTIVE else ()
        change_state(row, *stop, Event.UNINSTALL_BEGUN, now=self._tools.clock.now())
        await jobs.skip_open(session, row.id)

    async def _take_back(self, session: AsyncSession, run: Run) -> None:
        """It stays installed, at rest; marked as broken once its data was about to go, or if it was so before."""
        row = await by_id(session, run.order.installation_id)
        is_broken = "retire" in run.states or self._was in (State.INSTALL_FAILED, State.UNINSTALL_FAILED)
        event = Event.UNINSTALL_FAILED if is_broken else Event.UNINSTALL_ABANDONED
        change_state(row, event, now=self._tools.clock.now(), reason=run.why())

    async def _on_deactivate(self, run: Run) -> None:
        await self._tools.hook(run, run.order.installation_id, "on_deactivate")

    async def _export(self, run: Run) -> dict[str, Any]:
        row = await self._tools.row(run, run.order.installation_id)
        return await self._exports.write(row, self._data["export_id"])

    async def _drop_export(self, run: Run) -> None:
        self._exports.drop(run.tenant_id, self._data["export_id"])

    async def _on_uninstall(self, run: Run) -> None:
        await self._tools.hook(run, run.order.installation_id, "on_uninstall")

    async def _retire(self, run: Run) -> None:
        await self._tools.silence(run.order.installation_id)

    async def _remove(self, session: AsyncSession, run: Run) -> None:
        now = self._tools.clock.now()
        row = await by_id(session, run.order.installation_id)
        if self._data["mode"] == "keep":
            change_state(row, Event.REMOVED_KEEPING, now=now)
            # Consent and credentials end with the installation; they are asked for again.
            row.grants, row.grant_filters, row.pending_update = [], {}, None
            row.revision += 1
            await connections.detach(session, row.id, now)
            await drop_tokens(session, row.id)
            await history.forget(session, row.id)
        else:
            change_state(row, Event.REMOVED, now=now)
            if self._data["mode"] == "export":
                written = run.results["export"]
                session.add(
                    ExportRow(
                        id=self._data["export_id"], tenant_id=run.tenant_id, slug=row.slug, instance=row.instance,
                        installation_id=row.id, path=written["path"], size_bytes=written["size_bytes"],
                        lines=written["lines"], created_at=now,
                    )
                )  # fmt: skip
            try:
                await self._tools.purge(session, row.id)
                await session.delete(row)
                await session.flush()
            except SQLAlchemyError as error:
                raise RemovalFailedError(f"the data of {row.slug} could not be removed", slug=row.slug) from error
        after = {"state": row.state, "data": self._data["mode"]}
        self._tools.audit(session, run, "plugin.uninstall", row.slug, run.results["begin"]["before"], after)
        tell(session, run, "uninstalled", row)
