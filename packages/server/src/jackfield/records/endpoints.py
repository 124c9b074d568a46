"""The audit trail, and what plugins cost, over HTTP. What belongs to one installation is in `lifecycle`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from jackfield.http import Caller, OperatorCaller, Page, PageParams, problem_responses, require
from jackfield.records.schemas import AuditEntryOut, AuditKeysOut, AuditVerdictOut, PluginCostOut
from jackfield.records.service import CostSort, Records
from jackfield.records.trail.reading import AuditFilter, ExportFormat

__all__ = ["router"]

AuditReader = Annotated[Caller, Depends(require("owner", "admin", "operator"))]


def _wanted(
    actor: Annotated[str | None, Query(max_length=200, description="Only what they did")] = None,
    action: Annotated[
        str | None, Query(max_length=64, description="Only this; with a dot at its end, all that begins like it")
    ] = None,
    target: Annotated[str | None, Query(max_length=255, description="Only entries about this")] = None,
    plugin: Annotated[str | None, Query(max_length=128, description="Only what concerns this plugin")] = None,
    since: Annotated[datetime | None, Query(description="From this moment on")] = None,
    until: Annotated[datetime | None, Query(description="Up to before this moment")] = None,
    q: Annotated[str | None, Query(min_length=1, max_length=200, description="Only where this text stands")] = None,
) -> AuditFilter:
    return AuditFilter(actor, action, target, plugin, _aware(since), _aware(until), q)


def _aware(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


Wanted = Annotated[AuditFilter, Depends(_wanted)]
"""The query parameters that say which entries are meant."""


def router(records: Records) -> APIRouter:
    """Endpoints over the records."""
    routes = APIRouter(prefix="/api", tags=["records"])

    trail = records.trail

    @routes.get("/audit", operation_id="listAudit", responses=problem_responses(403))
    async def list_audit(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: AuditReader, page: PageParams, wanted: Wanted
    ) -> Page[AuditEntryOut]:
        """Changes in the caller's tenant, the latest first. For operators: changes to the platform itself."""
        found = await trail.list(caller.tenant_id, page, wanted)
        return Page[AuditEntryOut](
            items=[AuditEntryOut.model_validate(entry) for entry in found.items], next_cursor=found.next_cursor
        )

    @routes.get("/audit/verify", operation_id="verifyAudit", responses=problem_responses(403))
    async def verify_audit(  # pyright: ignore[reportUnusedFunction]
        caller: AuditReader,
        head: Annotated[
            list[Annotated[str, Query(max_length=1_000)]] | None,
            Query(max_length=20, description="Ends that were kept elsewhere: nothing may be missing before them"),
        ] = None,
    ) -> AuditVerdictOut:
        """Look through the whole trail of the caller's tenant, or of the platform, and say whether it was tampered
        with. Takes as long as there are entries: about a second for 25,000."""
        return AuditVerdictOut.of(await trail.verify(caller.tenant_id, head or ()), trail.keys.public_keys)

    @routes.get("/audit/keys", operation_id="getAuditKeys", responses=problem_responses(403))
    async def get_audit_keys(_caller: AuditReader) -> AuditKeysOut:  # pyright: ignore[reportUnusedFunction]
        """The public keys of the trail's signatures."""
        return AuditKeysOut(public_keys=trail.keys.public_keys)

    @routes.get(
        "/audit/export",
        operation_id="exportAudit",
        responses=problem_responses(403),
        response_class=StreamingResponse,
    )
    async def export_audit(  # pyright: ignore[reportUnusedFunction]
        caller: AuditReader,
        wanted: Wanted,
        form: Annotated[
            ExportFormat, Query(alias="format", description="`ndjson` can be verified without the platform")
        ] = "ndjson",
    ) -> StreamingResponse:
        """The trail as a file, the oldest entry first, with its hashes. `jackfield audit verify FILE` looks through
        it. That it was exported is an entry as well."""
        lines = await trail.export(caller.tenant_id, form, wanted, caller.subject)
        return StreamingResponse(
            lines,
            media_type="text/csv; charset=utf-8; header=present" if form == "csv" else "application/x-ndjson",
            headers={
                "Content-Disposition": f'attachment; filename="audit.{form}"', "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )  # fmt: skip

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
