"""What every kind of operation works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.lifecycle.hooks import HookName, run_hook
from jackfield.lifecycle.errors import PluginHookError
from jackfield.lifecycle.interfaces import Runner
from jackfield.lifecycle.journal import Run
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.repository import by_id
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.records import audit

__all__ = ["Tools", "summary"]


@dataclass(frozen=True, slots=True)
class Tools:
    """Collaborators of the steps."""

    database: Database
    snapshots: Snapshots
    runner: Runner
    clock: Clock
    data_dir: Path

    async def row(self, run: Run, installation_id: str) -> InstallationRow:
        """The installation as it is now, for an effect; read and let go, so that no transaction stays open."""
        async with self.database.read(run.tenant_id) as session:
            return await by_id(session, installation_id)

    async def hook(
        self, run: Run, installation_id: str, name: HookName, error: type[PluginHookError] = PluginHookError
    ) -> None:
        """Run one of the plugin's own handlers on the installation as it is now."""
        installation = await self.snapshots.of(await self.row(run, installation_id))
        await run_hook(self.runner, installation, name, run.order.actor, error)

    def audit(
        self,
        session: AsyncSession,
        run: Run,
        action: str,
        target: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Add to the audit trail, in the transaction of the change itself."""
        actor = run.order.actor
        audit(session, run.tenant_id, actor.subject if actor else "platform", action, target, before, after)


def summary(row: InstallationRow) -> dict[str, Any]:
    """An installation in the audit trail."""
    return {
        "id": row.id, "version": row.version, "instance": row.instance, "state": row.state, "grants": list(row.grants),
        "config": dict(row.config),
    }  # fmt: skip
