"""The day at a glance, and what plugins add to it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from corner_shop.extension import DashboardContext, ReportContext
from corner_shop.shop import people, reports
from corner_shop.web.guards import VisitDep
from corner_shop.web.rendering import render
from corner_shop.web.slots import slot

__all__ = ["router"]

router = APIRouter()


@router.get("/t/{tenant}")
async def home(visit: VisitDep) -> Response:
    return RedirectResponse(f"{visit.root}/dashboard", status_code=303)


@router.get("/t/{tenant}/dashboard")
async def dashboard(visit: VisitDep, request: Request) -> Response:
    organisation = visit.organisation
    async with visit.extension.read() as session:
        figures = await reports.figures(session, organisation)
        diary = await reports.diary(session, organisation, limit=5)
        names = await people.names(session, visit.tenant_id)
    today = figures.today
    context = DashboardContext(
        date=today.date.isoformat(),
        currency=organisation.currency,
        takings=today.takings,
        sales=today.sales,
        employee_id=visit.employee.id,
    )
    report = ReportContext(
        first_day=figures.days[0].date.isoformat(),
        last_day=today.date.isoformat(),
        currency=organisation.currency,
        takings=figures.takings,
        sales=figures.sales,
    )
    return render(
        request,
        "dashboard.html",
        visit=visit,
        figures=figures,
        diary=diary,
        names=names,
        widgets=await slot(visit, "Dashboard.Widgets", context),
        report_widgets=await slot(visit, "Reports.Dashboard", report),
    )
