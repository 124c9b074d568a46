"""Products and services: the list, a page for each, and the form."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from corner_shop.extension import VetoedError
from corner_shop.shop import catalogue
from corner_shop.shop.errors import ShopError
from corner_shop.shop.models import Product
from corner_shop.shop.payloads import product_payload
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
    price: str = ""
    sku: str = ""
    stock: str = ""
    category: str = ""
    description: str = ""

    @classmethod
    def of(cls, product: Product) -> _Entered:
        return cls(
            name=product.name,
            price=f"{product.price:.2f}",
            sku=product.sku or "",
            stock="" if product.stock is None else str(product.stock),
            category=product.category,
            description=product.description,
        )


@router.get("/t/{tenant}/products")
async def listing(visit: VisitDep, request: Request) -> Response:
    async with visit.extension.read() as session:
        products = await catalogue.products(session, visit.tenant_id)
    return render(request, "products.html", visit=visit, products=products)


@router.get("/t/{tenant}/products/new")
async def new(visit: VisitDep, request: Request) -> Response:
    return await _form(visit, request, None, _Entered())


@router.post("/t/{tenant}/products/new")
async def create(visit: VisitDep, request: Request, form: Posted) -> Response:
    return await _save(visit, request, None, form)


@router.get("/t/{tenant}/products/{product_id}")
async def details(visit: VisitDep, request: Request, product_id: str) -> Response:
    async with visit.extension.read() as session:
        product = await catalogue.find_product(session, visit.tenant_id, product_id)
    widgets = await slot(visit, "Product.Details", product_payload(product))
    return render(request, "product.html", visit=visit, product=product, widgets=widgets)


@router.get("/t/{tenant}/products/{product_id}/edit")
async def edit(visit: VisitDep, request: Request, product_id: str) -> Response:
    async with visit.extension.read() as session:
        product = await catalogue.find_product(session, visit.tenant_id, product_id)
    return await _form(visit, request, product, _Entered.of(product))


@router.post("/t/{tenant}/products/{product_id}/edit")
async def update(visit: VisitDep, request: Request, product_id: str, form: Posted) -> Response:
    async with visit.extension.read() as session:
        product = await catalogue.find_product(session, visit.tenant_id, product_id)
    return await _save(visit, request, product, form)


async def _save(visit: Visit, request: Request, product: Product | None, form: Form) -> Response:
    entered = _Entered(**{name: form.text(name, 2000) for name in _Entered.__dataclass_fields__})
    try:
        fields = catalogue.ProductFields(
            name=form.text("name", 120),
            price=round(form.number("price"), 2),
            sku=form.optional("sku", 40),
            stock=form.whole("stock") if entered.stock else None,
            category=form.text("category", 60),
            description=form.text("description", 1000),
        )
        key = await catalogue.save_product(visit.extension, visit.tenant_id, product.id if product else None, fields)
    except VetoedError as veto:
        return await _form(visit, request, product, entered, problem=str(veto), plugin=veto.plugin)
    except ShopError as error:
        return await _form(visit, request, product, entered, problem=str(error))
    return redirect(f"{visit.root}/products/{key}?done=saved")


async def _form(
    visit: Visit, request: Request, product: Product | None, entered: _Entered, *, problem: str = "", plugin: str = ""
) -> Response:
    context = product_payload(product) if product else hooks.Product(id="", name=entered.name, price=0.0)
    return render(
        request,
        "product_form.html",
        visit=visit,
        status=409 if problem else 200,
        product=product,
        entered=entered,
        problem=problem,
        plugin=plugin,
        widgets=await slot(visit, "Product.Form", context),
    )
