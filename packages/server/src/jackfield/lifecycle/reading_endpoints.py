"""`/api/plugins/{slug}/…`: what an installed plugin does, what it costs, what it owns, and whether it is well."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from jackfield.http import AdminCaller, MemberCaller, Page, PageParams, problem_responses
from jackfield.jobs import Deliveries, DeliveryMissingError, DeliveryOut
from jackfield.lifecycle.endpoints import Plugin
from jackfield.lifecycle.schemas import InventoryOut
from jackfield.lifecycle.service import Lifecycle
from jackfield.records import InvocationOut, LogLineOut, Records, StatsOut, Step

__all__ = ["deliveries_router", "reading_router"]


def reading_router(lifecycle: Lifecycle, records: Records) -> APIRouter:
    """Endpoints for every member of the tenant."""
    routes = APIRouter(prefix="/api/plugins/{slug}", tags=["plugins"], responses=problem_responses(403, 404))

    @routes.get("/stats", operation_id="getPluginStats")
    async def stats(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: MemberCaller,
        plugin: Plugin,
        since: Annotated[
            datetime | None, Query(description="Where `series` begins; a day ago, or 30 days ago by the day")
        ] = None,
        step: Annotated[Step, Query(description="What `series` counts by")] = "hour",
    ) -> StatsOut:
        """What it did and cost since it was installed: in total, by handler, and by the hour or day."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        return StatsOut.of(await records.stats(caller.tenant, installed.id, since=since, step=step))

    @routes.get("/errors", operation_id="listPluginErrors")
    async def errors(caller: MemberCaller, plugin: Plugin) -> Page[InvocationOut]:  # pyright: ignore[reportUnusedFunction]
        """Its latest failed calls, with traces, at most 50."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        rows = await records.errors(caller.tenant, installed.id)
        return Page[InvocationOut](items=[InvocationOut.model_validate(row) for row in rows])

    @routes.get("/invocations", operation_id="listPluginInvocations")
    async def invocations(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller, plugin: Plugin, page: PageParams
    ) -> Page[InvocationOut]:
        """Its calls, the latest first."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        found = (await records.invocations(caller.tenant, installed.id, page)).map(InvocationOut.model_validate)
        return Page[InvocationOut](items=found.items, next_cursor=found.next_cursor)

    @routes.get("/logs", operation_id="listPluginLogs")
    async def logs(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller,
        plugin: Plugin,
        page: PageParams,
        level: Annotated[str | None, Query(max_length=16, description="This level and those above it")] = None,
    ) -> Page[LogLineOut]:
        """What it logged, the latest first."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        found = (await records.logs(caller.tenant, installed.id, page, level)).map(LogLineOut.model_validate)
        return Page[LogLineOut](items=found.items, next_cursor=found.next_cursor)

    @routes.get("/inventory", operation_id="getPluginInventory")
    async def inventory(caller: MemberCaller, plugin: Plugin) -> InventoryOut:  # pyright: ignore[reportUnusedFunction]
        """What it owns, what it adds, and who needs it. Uninstalling it with `data=delete` removes all of it."""
        found = await lifecycle.inventory(caller.tenant, plugin.slug, instance=plugin.instance)
        return InventoryOut(owned=dict(found.owned), contributes=dict(found.contributes), dependants=found.dependants)

    return routes


def deliveries_router(lifecycle: Lifecycle, deliveries: Deliveries) -> APIRouter:
    """What became of each event at one installation."""
    routes = APIRouter(prefix="/api/plugins/{slug}/deliveries", tags=["plugins"], responses=problem_responses(403, 404))

    @routes.get("", operation_id="listPluginDeliveries")
    async def list_deliveries(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: MemberCaller,
        plugin: Plugin,
        page: PageParams,
        state: Annotated[str | None, Query(max_length=16, description="Only those in this state")] = None,
    ) -> Page[DeliveryOut]:
        """Events on their way to it, and what became of them, the latest first."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        found = (await deliveries.list(caller.tenant, installed.id, page, state)).map(DeliveryOut.model_validate)
        return Page[DeliveryOut](items=found.items, next_cursor=found.next_cursor)

    @routes.post("/{delivery_id}/replay", operation_id="replayPluginDelivery", responses=problem_responses(409))
    async def replay(caller: AdminCaller, plugin: Plugin, delivery_id: str) -> DeliveryOut:  # pyright: ignore[reportUnusedFunction]
        """Deliver once more, with the same id and a full number of attempts."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        delivery = await deliveries.get(caller.tenant, delivery_id)
        if delivery.installation_id != installed.id:
            raise DeliveryMissingError(
                f"{plugin.slug} has no delivery {delivery_id[:64]}.", delivery_id=delivery_id[:64]
            )
        replayed = await deliveries.replay(caller.tenant, delivery_id)
        await lifecycle.note(caller.tenant, caller.subject, "delivery.replay", delivery_id, plugin=plugin.slug)
        return DeliveryOut.model_validate(replayed)

    return routes
