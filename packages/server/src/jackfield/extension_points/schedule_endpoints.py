"""`/api/plugins/{slug}/schedules`: when a plugin runs by itself, what became of it, how to stop that for a while."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from jackfield.capabilities.origin import cause_of
from jackfield.http import AdminCaller, Caller, MemberCaller, Page, PageParams, problem_responses
from jackfield.jobs import Deliveries, DeliveryOut, Schedules
from jackfield.jobs.models import ScheduleRow
from jackfield.jobs.schedules import EVENT_PREFIX
from jackfield.lifecycle import Lifecycle, Plugin
from jackfield.tracing import here

__all__ = ["schedules_router"]


class ScheduleOut(BaseModel):
    """A schedule of an installed plugin."""

    name: str = Field(examples=["purge"])
    cron: str = Field(examples=["30 3 * * *"])
    timezone: str = Field(examples=["Europe/Vienna"])
    jitter_s: int = Field(description="It runs up to so much later, always by the same time")
    catch_up: str = Field(description="What becomes of times that were missed: `once` or `skip`")
    is_active: bool = Field(description="Whether its plugin is at work")
    paused_at: datetime | None
    paused_by: str | None
    next_at: datetime | None = Field(description="When it runs next; null while it is paused or at rest")
    coming: list[datetime] = Field(description="Its next times by the expression")
    last_fired_at: datetime | None
    skipped: int = Field(description="Times that were left out: missed, or in the middle of another run")


class RunOut(BaseModel):
    """A run that was asked for."""

    delivery_id: str


def schedules_router(lifecycle: Lifecycle, schedules: Schedules, deliveries: Deliveries) -> APIRouter:
    """Reading is for members, changing for admins."""
    routes = APIRouter(prefix="/api/plugins/{slug}/schedules", tags=["plugins"], responses=problem_responses(403, 404))

    async def shown(row: ScheduleRow) -> ScheduleOut:
        coming = [] if row.paused_at else await schedules.coming(row)
        return ScheduleOut(
            name=row.name, cron=row.cron, timezone=row.timezone, jitter_s=row.jitter_s, catch_up=row.catch_up,
            is_active=row.is_active, paused_at=row.paused_at, paused_by=row.paused_by, next_at=row.next_at,
            coming=coming, last_fired_at=row.last_fired_at, skipped=row.skipped,
        )  # fmt: skip

    async def noted(caller: Caller, plugin: Plugin, action: str, name: str) -> None:
        target = f"{plugin.slug}/{name}"
        await lifecycle.note(caller.tenant, caller.subject, action, target, plugin=plugin.slug)

    @routes.get("", operation_id="listPluginSchedules")
    async def list_schedules(caller: MemberCaller, plugin: Plugin) -> Page[ScheduleOut]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Its schedules by name, with their next times."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        rows = await schedules.list(caller.tenant, installed.id)
        return Page[ScheduleOut](items=[await shown(row) for row in rows])

    @routes.get("/{name}/history", operation_id="listPluginScheduleRuns")
    async def history(caller: MemberCaller, plugin: Plugin, name: str, page: PageParams) -> Page[DeliveryOut]:  # pyright: ignore[reportUnusedFunction]
        """Its runs and what became of them, the latest first."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        found = await deliveries.list(caller.tenant, installed.id, page, event=EVENT_PREFIX + name)
        return Page[DeliveryOut](
            items=[DeliveryOut.model_validate(row) for row in found.items], next_cursor=found.next_cursor
        )

    @routes.post("/{name}/run", operation_id="runPluginSchedule", status_code=202, responses=problem_responses(409))
    async def run(caller: AdminCaller, plugin: Plugin, name: str) -> RunOut:  # pyright: ignore[reportUnusedFunction]
        """Run it now, beside its times."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        cause = cause_of(here())
        delivery_id = await schedules.run_now(caller.tenant, installed.id, name, cause=cause)
        await noted(caller, plugin, "schedule.run", name)
        return RunOut(delivery_id=delivery_id)

    @routes.post("/{name}/pause", operation_id="pausePluginSchedule")
    async def pause(caller: AdminCaller, plugin: Plugin, name: str) -> ScheduleOut:  # pyright: ignore[reportUnusedFunction]
        """Let it rest until it is resumed; an update of the plugin does not wake it."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        row = await schedules.pause(caller.tenant, installed.id, name, caller.subject)
        await noted(caller, plugin, "schedule.pause", name)
        return await shown(row)

    @routes.post("/{name}/resume", operation_id="resumePluginSchedule")
    async def resume(caller: AdminCaller, plugin: Plugin, name: str) -> ScheduleOut:  # pyright: ignore[reportUnusedFunction]
        """Go on with its next time."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        row = await schedules.resume(caller.tenant, installed.id, name)
        await noted(caller, plugin, "schedule.resume", name)
        return await shown(row)

    return routes
