"""Schedules follow the life of their plugin: at work they fire, at rest they do not. What waited for a handler that
failed is tried with what the plugin is now."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import jobs
from jackfield.clock import Clock
from jackfield.jobs.models import ScheduleRow
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield_sdk.manifest import Manifest

__all__ = ["Scheduling"]


class Scheduling:
    """Brings schedules in line with installations, in the transaction that changes those."""

    def __init__(self, snapshots: Snapshots, clock: Clock) -> None:
        self._snapshots = snapshots
        self._clock = clock

    async def follow(self, session: AsyncSession, tenant_id: str, slugs: Iterable[str]) -> None:
        """After a change of these plugins' installations."""
        rows = (await session.scalars(select(InstallationRow).where(InstallationRow.slug.in_(list(slugs))))).all()
        if not rows:
            return
        ids = [row.id for row in rows]
        scheduled = select(ScheduleRow.installation_id).where(ScheduleRow.installation_id.in_(ids))
        known = set(await session.scalars(scheduled))
        for row in rows:
            if State(row.state) is not State.ACTIVE:
                if row.id in known:
                    await jobs.rest_schedules(session, row.id)
                continue
            await jobs.hasten_in(session, row.id, self._clock.now())
            manifest = (await self._snapshots.release(row.slug, row.version)).manifest
            if manifest.schedules or row.id in known:
                await jobs.sync_schedules(session, tenant_id, row.id, declared(manifest), self._clock.now())


def declared(manifest: Manifest) -> list[jobs.DeclaredSchedule]:
    """A release's schedules."""
    return [
        jobs.DeclaredSchedule(each.name, each.handler, each.cron, each.timezone, each.jitter_s, each.catch_up)
        for each in manifest.schedules
    ]
