"""Sales, and the receipt of each."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from corner_shop.extension import VetoedError
from corner_shop.shop import people, till
from corner_shop.shop.columns import now
from corner_shop.shop.errors import ShopError
from corner_shop.shop.models import Customer, Sale
from corner_shop.shop.payloads import sale_payload
from corner_shop.web.guards import ManagerDep, Posted, Visit, VisitDep
from corner_shop.web.rendering import redirect, render
from corner_shop.web.slots import slot

__all__ = ["router"]

router = APIRouter()

_FRESH_S = 5
_PATIENCE_S = 2.0


@router.get("/t/{tenant}/sales")
async def listing(visit: VisitDep, request: Request) -> Response:
    statement = (
        select(Sale, Customer.name)
        .outerjoin(Customer, (Customer.id == Sale.customer_id) & (Customer.tenant_id == Sale.tenant_id))
        .where(Sale.tenant_id == visit.tenant_id)
        .order_by(Sale.created_at.desc(), Sale.id)
        .limit(100)
    )
    async with visit.extension.read() as session:
        sales = [(sale, name) for sale, name in await session.execute(statement)]
    return render(request, "sales.html", visit=visit, sales=sales)


@router.get("/t/{tenant}/sales/{sale_id}")
async def receipt(visit: VisitDep, request: Request, sale_id: str) -> Response:
    return await _receipt(visit, request, sale_id)


@router.post("/t/{tenant}/sales/{sale_id}/refund")
async def refund(visit: ManagerDep, request: Request, sale_id: str, form: Posted) -> Response:
    try:
        await till.refund(visit.extension, visit.organisation, sale_id)
    except VetoedError as veto:
        return await _receipt(visit, request, sale_id, problem=str(veto), plugin=veto.plugin, status=409)
    except ShopError as error:
        return await _receipt(visit, request, sale_id, problem=str(error), status=409)
    return redirect(f"{visit.root}/sales/{sale_id}?done=refunded")


async def _receipt(
    visit: Visit, request: Request, sale_id: str, *, problem: str = "", plugin: str = "", status: int = 200
) -> Response:
    async with visit.extension.read() as session:
        sale, items = await till.find_sale(session, visit.tenant_id, sale_id)
        customer = (
            await people.find_customer(session, visit.tenant_id, sale.customer_id) if sale.customer_id else None
        )  # fmt: skip
        employee = await people.find_employee(session, visit.tenant_id, sale.employee_id or "")
    if (now() - sale.created_at).total_seconds() < _FRESH_S:
        # Plugins hear of a sale after it is booked. With a moment's patience the receipt shows what they made of it.
        await visit.extension.deliveries_done(within_s=_PATIENCE_S)
    return render(
        request,
        "receipt.html",
        visit=visit,
        status=status,
        sale=sale,
        items=items,
        customer=customer,
        employee=employee,
        widgets=await slot(visit, "POS.AfterCheckout", sale_payload(sale, items)),
        problem=problem,
        plugin=plugin,
    )
