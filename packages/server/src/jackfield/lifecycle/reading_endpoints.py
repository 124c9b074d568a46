"""`/api/plugins/{slug}/…`: what an installed plugin does, what it costs, what it owns, and whether it is well."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from jackfield.http import MemberCaller, Page, PageParams, problem_responses
from jackfield.lifecycle.endpoints import InstanceParam, actor_of
from jackfield.lifecycle.schemas import HealthOut, InventoryOut
from jackfield.lifecycle.service import Lifecycle
from jackfield.records import InvocationOut, LogLineOut, Records, StatsOut

__all__ = ["reading_router"]


def reading_router(lifecycle: Lifecycle, records: Records) -> APIRouter:
    """Endpoints for every member of the tenant."""
    routes = APIRouter(prefix="/api/plugins/{slug}", tags=["plugins"], responses=problem_responses(403, 404))

    @routes.get("/stats", operation_id="getPluginStats")
    async def stats(caller: MemberCaller, slug: str, instance: InstanceParam = "default") -> StatsOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Totals since it was installed."""
        installed = await lifecycle.get(caller.tenant, slug, instance=instance)
        return StatsOut.model_validate(await records.stats(caller.tenant, installed.id))

    @routes.get("/errors", operation_id="listPluginErrors")
    async def errors(caller: MemberCaller, slug: str, instance: InstanceParam = "default") -> Page[InvocationOut]:  # pyright: ignore[reportUnusedFunction]
        """Its latest failed calls, with traces, at most 50."""
        installed = await lifecycle.get(caller.tenant, slug, instance=instance)
        rows = await records.errors(caller.tenant, installed.id)
        return Page[InvocationOut](items=[InvocationOut.model_validate(row) for row in rows])

    @routes.get("/invocations", operation_id="listPluginInvocations")
    async def invocations(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller, slug: str, page: PageParams, instance: InstanceParam = "default"
    ) -> Page[InvocationOut]:
        """Its calls, the latest first."""
        installed = await lifecycle.get(caller.tenant, slug, instance=instance)
        found = (await records.invocations(caller.tenant, installed.id, page)).map(InvocationOut.model_validate)
        return Page[InvocationOut](items=found.items, next_cursor=found.next_cursor)

    @routes.get("/logs", operation_id="listPluginLogs")
    async def logs(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller,
        slug: str,
        page: PageParams,
        level: Annotated[str | None, Query(max_length=16, description="This level and those above it")] = None,
        instance: InstanceParam = "default",
    ) -> Page[LogLineOut]:
        """What it logged, the latest first."""
        installed = await lifecycle.get(caller.tenant, slug, instance=instance)
        found = (await records.logs(caller.tenant, installed.id, page, level)).map(LogLineOut.model_validate)
        return Page[LogLineOut](items=found.items, next_cursor=found.next_cursor)

    @routes.get("/health", operation_id="getPluginHealth")
    async def health(caller: MemberCaller, slug: str, instance: InstanceParam = "default") -> HealthOut:  # pyright: ignore[reportUnusedFunction]
        """Run its health check now."""
        return HealthOut.model_validate(
            await lifecycle.health(caller.tenant, slug, instance=instance, actor=actor_of(caller)), from_attributes=True
        )

    @routes.get("/inventory", operation_id="getPluginInventory")
    async def inventory(caller: MemberCaller, slug: str, instance: InstanceParam = "default") -> InventoryOut:  # pyright: ignore[reportUnusedFunction]
        """What it owns, by kind. Uninstalling it with `data=delete` removes all of this."""
        return InventoryOut(owned=dict(await lifecycle.inventory(caller.tenant, slug, instance=instance)))

    return routes
