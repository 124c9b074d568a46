"""What every kind of operation works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import capabilities, connections, jobs, notifications, quotas, records, webhooks
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.lifecycle import history
from jackfield.lifecycle.errors import PluginHookError
from jackfield.lifecycle.exports import Exports
from jackfield.lifecycle.history import Kept
from jackfield.lifecycle.hooks import HookName, run_hook
from jackfield.lifecycle.interfaces import Runner
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Run
from jackfield.lifecycle.repository import by_id
from jackfield.lifecycle.snapshots import Snapshots

__all__ = ["Tools", "summary"]


@dataclass(frozen=True, slots=True)
class Tools:
    """Collaborators of the steps."""

    database: Database
    snapshots: Snapshots
    runner: Runner
    clock: Clock
    exports: Exports
    flush_records: Callable[[], Awaitable[None]]
    kept: Kept = field(default_factory=Kept)

    async def row(self, run: Run, installation_id: str) -> InstallationRow:
        """The installation as it is now, for an effect; read and let go, so that no transaction stays open."""
        async with self.database.read(run.tenant_id) as session:
            return await by_id(session, installation_id)

    async def hook(
        self, run: Run, installation_id: str, name: HookName, error: type[PluginHookError] = PluginHookError
    ) -> None:
        """Run one of the plugin's own handlers on the installation as it is now."""
        installation = await self.snapshots.of(await self.row(run, installation_id))
        try:
            await run_hook(self.runner, installation, name, run.order.actor, error)
        except PluginHookError:
            await self.flush_records()
            raise

    async def silence(self, installation_id: str) -> None:
        """Stop its isolates and have its records in the tables, so that nothing of it arrives behind a removal."""
        await self.runner.retire(installation_id)
        await self.flush_records()

    async def purge(self, session: AsyncSession, installation_id: str) -> None:
        """Remove all that it owns and all that is known of its calls and deliveries. The audit trail stays."""
        # First: it still has to find the tokens that are to be revoked.
        await connections.purge(session, installation_id, self.clock.now())
        await capabilities.purge(session, installation_id)
        await records.purge(session, installation_id)
        # Before deliveries: what is coming in at this moment is then among those, or does not come in any more.
        await webhooks.purge(session, installation_id)
        await jobs.purge(session, installation_id)
        await quotas.purge(session, installation_id)
        await notifications.purge(session, installation_id)
        await history.forget(session, installation_id)

    def audit(
        self,
        session: AsyncSession,
        run: Run,
        action: str,
        target: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        asked_by: str | None = None,
    ) -> None:
        """Add to the audit trail, in the transaction of the change itself.

        Args:
            asked_by: Who had asked for it before, when that was somebody else.
        """
        actor = run.order.actor
        by = actor.subject if actor else "platform"
        records.audit(
            session, run.tenant_id, by, action, target, before, after, plugin=run.order.slug,
            on_behalf_of=None if asked_by == by else asked_by,
        )  # fmt: skip


def summary(row: InstallationRow) -> dict[str, Any]:
    """An installation in the audit trail."""
    return {
        "id": row.id, "version": row.version, "instance": row.instance, "state": row.state, "grants": list(row.grants),
        "grant_filters": dict(row.grant_filters), "config": dict(row.config),
    }  # fmt: skip
