"""The audit trail over HTTP. What belongs to one installation is under its slug, in `lifecycle`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from jackfield.http import Caller, Page, PageParams, problem_responses, require
from jackfield.records.schemas import AuditEntryOut
from jackfield.records.service import Records

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

    return routes
