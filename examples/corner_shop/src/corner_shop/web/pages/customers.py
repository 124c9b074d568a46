"""Customers: the list, a profile, and the form."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from corner_shop.extension import VetoedError
from corner_shop.shop import people
from corner_shop.shop.errors import ShopError
from corner_shop.shop.models import Booking, Customer, Sale
from corner_shop.shop.payloads import customer_payload
from corner_shop.web.forms import Form
from corner_shop.web.guards import Posted, Visit, VisitDep
from corner_shop.web.rendering import redirect, render
from corner_shop.web.slots import slot
from jackfield_sdk import hooks

__all__ = ["router"]

router = APIRouter()


@dataclass(frozen=True)
class _Entered:
    """What stands in the form, valid or not."""

    name: str = ""
    email: str = ""
    phone: str = ""
    notes: str = ""


@router.get("/t/{tenant}/customers")
async def listing(visit: VisitDep, request: Request, q: str = "") -> Response:
    async with visit.extension.read() as session:
        found = await people.customers(session, visit.tenant_id, q.strip()[:100])
    return render(request, "customers.html", visit=visit, customers=found, search=q)


@router.get("/t/{tenant}/customers/new")
async def new(visit: VisitDep, request: Request) -> Response:
    return await _form(visit, request, None, _Entered())


@router.post("/t/{tenant}/customers/new")
async def create(visit: VisitDep, request: Request, form: Posted) -> Response:
    return await _save(visit, request, None, form)


@router.get("/t/{tenant}/customers/{customer_id}")
async def profile(visit: VisitDep, request: Request, customer_id: str) -> Response:
    tenant_id = visit.tenant_id
    async with visit.extension.read() as session:
        customer = await people.find_customer(session, tenant_id, customer_id)
        sales = await session.scalars(
            select(Sale)
            .where(Sale.tenant_id == tenant_id, Sale.customer_id == customer.id)
            .order_by(Sale.created_at.desc())
            .limit(8)
        )
        bookings = await session.scalars(
            select(Booking)
            .where(Booking.tenant_id == tenant_id, Booking.customer_id == customer.id)
            .order_by(Booking.starts_at.desc())
            .limit(8)
        )
        history = {"sales": list(sales), "bookings": list(bookings)}
    widgets = await slot(visit, "Customer.Profile", customer_payload(customer))
    return render(request, "customer.html", visit=visit, customer=customer, widgets=widgets, **history)


@router.get("/t/{tenant}/customers/{customer_id}/edit")
async def edit(visit: VisitDep, request: Request, customer_id: str) -> Response:
    async with visit.extension.read() as session:
        customer = await people.find_customer(session, visit.tenant_id, customer_id)
    entered = _Entered(customer.name, customer.email or "", customer.phone or "", customer.notes)
    return await _form(visit, request, customer, entered)


@router.post("/t/{tenant}/customers/{customer_id}/edit")
async def update(visit: VisitDep, request: Request, customer_id: str, form: Posted) -> Response:
    async with visit.extension.read() as session:
        customer = await people.find_customer(session, visit.tenant_id, customer_id)
    return await _save(visit, request, customer, form)


async def _save(visit: Visit, request: Request, customer: Customer | None, form: Form) -> Response:
    entered = _Entered(
        form.text("name", 2000), form.text("email", 2000), form.text("phone", 2000), form.text("notes", 2000)
    )
    wanted = hooks.Customer(id="", name=entered.name, email=entered.email or None, phone=entered.phone or None)
    try:
        if not entered.name:
            raise ShopError("A name is needed.")
        key = await people.save_customer(
            visit.extension, visit.tenant_id, customer.id if customer else None, wanted, entered.notes
        )
    except VetoedError as veto:
        return await _form(visit, request, customer, entered, problem=str(veto), plugin=veto.plugin)
    except ShopError as error:
        return await _form(visit, request, customer, entered, problem=str(error))
    return redirect(f"{visit.root}/customers/{key}?done=saved")


async def _form(
    visit: Visit, request: Request, customer: Customer | None, entered: _Entered, *, problem: str = "", plugin: str = ""
) -> Response:
    context = customer_payload(customer) if customer else hooks.Customer(id="", name=entered.name)
    return render(
        request,
        "customer_form.html",
        visit=visit,
        status=409 if problem else 200,
        customer=customer,
        entered=entered,
        problem=problem,
        plugin=plugin,
        widgets=await slot(visit, "Customer.Form", context),
    )
