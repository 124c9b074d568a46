"""Which of the widgets on a page show something else by now: the page asks for them again."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from corner_shop.web.guards import VisitDep

__all__ = ["router"]

router = APIRouter()


@router.get("/t/{tenant}/live")
async def live(visit: VisitDep) -> StreamingResponse:
    changes = visit.extension.changes(visit.tenant_id, visit.caller)
    return StreamingResponse(changes, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
