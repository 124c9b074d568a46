"""The diary, and the form for a new appointment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from fastapi import APIRouter, Request, Response

from corner_shop.extension import VetoedError
from corner_shop.shop import bookings, catalogue, people, reports
from corner_shop.shop.columns import now
from corner_shop.shop.errors import ShopError
from corner_shop.web.guards import Posted, Visit, VisitDep
from corner_shop.web.rendering import redirect, render
from jackfield_sdk import hooks

__all__ = ["router"]

router = APIRouter()


@dataclass(frozen=True)
class _Entered:
    """What stands in the form, valid or not."""

    customer: str = ""
    service: str = ""
    starts_at: str = ""
    duration: str = "30"
    employee: str = ""
    notes: str = ""


@router.get("/t/{tenant}/bookings")
async def listing(visit: VisitDep, request: Request) -> Response:
    tomorrow = now().astimezone(visit.organisation.zone) + timedelta(days=1)
    entered = _Entered(starts_at=f"{tomorrow:%Y-%m-%dT10:00}", employee=visit.employee.id)
    return await _page(visit, request, entered)


@router.post("/t/{tenant}/bookings")
async def create(visit: VisitDep, request: Request, form: Posted) -> Response:
    entered = _Entered(**{name: form.text(name, 2000) for name in _Entered.__dataclass_fields__})
    try:
        wanted = hooks.Booking(
            customer_id=entered.customer,
            starts_at=_local(entered.starts_at, visit),
            service=form.text("service", 120),
            duration_minutes=form.whole("duration"),
            employee_id=form.optional("employee"),
            notes=entered.notes,
        )
        await bookings.book(visit.extension, visit.organisation, wanted)
    except VetoedError as veto:
        return await _page(visit, request, entered, problem=str(veto), plugin=veto.plugin)
    except ShopError as error:
        return await _page(visit, request, entered, problem=str(error))
    return redirect(f"{visit.root}/bookings?done=booked")


@router.post("/t/{tenant}/bookings/{booking_id}/cancel")
async def cancel(visit: VisitDep, request: Request, booking_id: str, form: Posted) -> Response:
    try:
        await bookings.cancel(visit.extension, visit.organisation, booking_id)
    except VetoedError as veto:
        return await _page(visit, request, _Entered(), problem=str(veto), plugin=veto.plugin)
    except ShopError as error:
        return await _page(visit, request, _Entered(), problem=str(error))
    return redirect(f"{visit.root}/bookings?done=cancelled")


async def _page(
    visit: Visit, request: Request, entered: _Entered, *, problem: str = "", plugin: str = ""
) -> Response:  # fmt: skip
    organisation = visit.organisation
    async with visit.extension.read() as session:
        diary = await reports.diary(session, organisation)
        customers = await people.customers(session, visit.tenant_id)
        employees = await people.employees(session, visit.tenant_id)
        names = await people.names(session, visit.tenant_id)
        services = [item for item in await catalogue.products(session, visit.tenant_id) if item.duration_minutes]
    days = groupby(diary, key=lambda booking: booking.starts_at.astimezone(organisation.zone).date())
    return render(
        request,
        "bookings.html",
        visit=visit,
        status=409 if problem else 200,
        days=[list(day) for _, day in days],
        customers=customers,
        employees=employees,
        services=services,
        names=names,
        entered=entered,
        problem=problem,
        plugin=plugin,
    )


def _local(text: str, visit: Visit) -> str:
    """A browser's date and time has no zone: it is the organisation's own."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ShopError("Choose a day and a time.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=visit.organisation.zone)).isoformat()
