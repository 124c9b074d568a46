"""The till: products, a cart, and the sale."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from corner_shop.extension import VetoedError
from corner_shop.shop import catalogue, people, till
from corner_shop.shop.errors import ShopError
from corner_shop.web.cart import Cart
from corner_shop.web.guards import Posted, Visit, VisitDep
from corner_shop.web.rendering import redirect, render
from corner_shop.web.slots import slot

__all__ = ["router"]

router = APIRouter()

_COOKIE = "corner_shop_cart"


@router.get("/t/{tenant}/till")
async def show(visit: VisitDep, request: Request) -> Response:
    return await _page(visit, request, Cart.unpack(request.cookies.get(_COOKIE)))


@router.post("/t/{tenant}/till/cart")
async def change(visit: VisitDep, request: Request, form: Posted) -> Response:
    cart = Cart.unpack(request.cookies.get(_COOKIE))
    if product_id := form.text("more"):
        cart = cart.put(product_id, 1)
    elif product_id := form.text("less"):
        cart = cart.put(product_id, -1)
    elif form.text("empty"):
        cart = Cart()
    else:
        cart = cart.for_customer(form.optional("customer"))
    response = redirect(f"{visit.root}/till")
    _keep(response, visit, cart)
    return response


@router.post("/t/{tenant}/till/complete")
async def complete(visit: VisitDep, request: Request, form: Posted) -> Response:
    cart = Cart.unpack(request.cookies.get(_COOKIE))
    try:
        sale_id = await till.sell(
            visit.extension,
            visit.organisation,
            sale_id=cart.sale_id,
            quantities=cart.quantities,
            customer_id=cart.customer_id,
            employee_id=visit.employee.id,
        )
    except VetoedError as veto:
        return await _page(visit, request, cart, problem=str(veto), plugin=veto.plugin, status=409)
    except ShopError as error:
        return await _page(visit, request, cart, problem=str(error), status=409)
    response = redirect(f"{visit.root}/sales/{sale_id}?done=sold")
    response.delete_cookie(_COOKIE, path=visit.root, httponly=True, samesite="lax")
    return response


async def _page(
    visit: Visit, request: Request, cart: Cart, *, problem: str = "", plugin: str = "", status: int = 200
) -> Response:
    async with visit.extension.read() as session:
        products = await catalogue.products(session, visit.tenant_id)
        customers = await people.customers(session, visit.tenant_id)
        lines = await till.price_up(session, visit.tenant_id, cart.quantities)
    widgets = []
    if lines:
        sale = till.draft(visit.organisation, cart.sale_id, lines, cart.customer_id, visit.employee.id)
        widgets = await slot(visit, "POS.BeforeCheckout", sale)
    response = render(
        request,
        "till.html",
        visit=visit,
        status=status,
        products=products,
        customers=customers,
        cart=cart,
        lines=lines,
        subtotal=till.subtotal_of(lines),
        widgets=widgets,
        problem=problem,
        plugin=plugin,
    )
    _keep(response, visit, cart)
    return response


def _keep(response: Response, visit: Visit, cart: Cart) -> None:
    response.set_cookie(_COOKIE, cart.pack(), path=visit.root, httponly=True, samesite="lax", max_age=12 * 3600)
