"""The audit trail, and what plugins cost, over HTTP. What belongs to one installation is in `lifecycle`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from jackfield.http import Caller, OperatorCaller, Page, PageParams, problem_responses, require
from jackfield.records.schemas import AuditEntryOut, PluginCostOut
from jackfield.records.service import CostSort, Records

__all__ = ["router"]

AuditReader = Annotated[Caller, Depends(require("owner", "admin", "operator"))]


def router(records: Records) -> APIRouter:
    """Endpoints over the records."""
    routes = APIRouter(prefix="/api", tags=["records"])

    @routes.get("/audit", operation_id="listAudit", responses=problem_responses(403))
    async def list_audit(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: AuditReader,
        page: PageParams,
        target: Annotated[str | None, Query(max_length=255, description="Only entries about this")] = None,
    ) -> Page[AuditEntryOut]:
        """Changes in the caller's tenant, the latest first. For operators: changes to the platform itself."""
        found = await records.audit(caller.tenant_id, page, target)
        return Page[AuditEntryOut](
            items=[AuditEntryOut.model_validate(entry) for entry in found.items], next_cursor=found.next_cursor
        )

    @routes.get("/operators/cost", operation_id="listPluginCosts", responses=problem_responses(403))
    async def list_costs(  # pyright: ignore[reportUnusedFunction]
        _caller: OperatorCaller,
        page: PageParams,
        since: Annotated[datetime | None, Query(description="A day ago, when absent; whole hours are counted")] = None,
        sort: Annotated[CostSort, Query(description="What the dearest have most of")] = "cpu",
    ) -> Page[PluginCostOut]:
        """What each plugin cost, all tenants together, the dearest first. For operators."""
        found = await records.costs(since, sort, page)
        return Page[PluginCostOut](
            items=[PluginCostOut.of(plugin) for plugin in found.items], next_cursor=found.next_cursor
        )

    return routes
