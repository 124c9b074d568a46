"""`/api/plugins/{slug}/health`, and `/api/operators/breakers`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from jackfield.health.schemas import HealthOut, OpenBreakerOut
from jackfield.health.service import Health
from jackfield.http import MemberCaller, OperatorCaller, Page, PageParams, problem_responses
from jackfield.lifecycle import Plugin, actor_of

__all__ = ["operators_router", "router"]


def router(health: Health) -> APIRouter:
    """For every member of the tenant."""
    routes = APIRouter(prefix="/api/plugins/{slug}", tags=["plugins"], responses=problem_responses(403, 404))

    @routes.get("/health", operation_id="getPluginHealth")
    async def get_health(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: MemberCaller,
        plugin: Plugin,
        check: Annotated[bool, Query(description="Run its health check now; otherwise tell what is known")] = True,
    ) -> HealthOut:
        """Whether it is well: its own check, handlers that are left alone, crashes, and quarantine."""
        report = await health.report(
            caller.tenant, plugin.slug, instance=plugin.instance, actor=actor_of(caller), check=check
        )
        return HealthOut.of(report)

    return routes


def operators_router(health: Health) -> APIRouter:
    """For operators."""
    routes = APIRouter(prefix="/api/operators", tags=["operations"])

    @routes.get("/breakers", operation_id="listOpenBreakers", responses=problem_responses(403))
    async def list_breakers(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        _caller: OperatorCaller,
        page: PageParams,
        tenant: Annotated[str | None, Query(max_length=64, description="Only this tenant's")] = None,
    ) -> Page[OpenBreakerOut]:
        """Handlers of all tenants' plugins that are left alone because they failed too often. For operators."""
        found = await health.every_breaker(page, tenant_id=tenant)
        return Page[OpenBreakerOut](
            items=[OpenBreakerOut.model_validate(one) for one in found.items], next_cursor=found.next_cursor
        )

    return routes
