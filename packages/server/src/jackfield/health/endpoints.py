"""`/api/plugins/{slug}/health`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from jackfield.health.schemas import HealthOut
from jackfield.health.service import Health
from jackfield.http import MemberCaller, problem_responses
from jackfield.lifecycle import Plugin, actor_of

__all__ = ["router"]


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
