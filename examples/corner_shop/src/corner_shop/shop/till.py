"""Selling and refunding.

A sale passes through `sale.beforeCreate` first, with no transaction open. Then its rows and the event `sale.created`
are written in one transaction: either both exist or neither does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from corner_shop.extension import Extension
from corner_shop.shop.columns import now
from corner_shop.shop.errors import NotFoundError, ShopError
from corner_shop.shop.models import Customer, Product, Sale, SaleItem
from corner_shop.shop.organisations import Organisation
from corner_shop.shop.payloads import plain, sale_payload
from jackfield_sdk import hooks

__all__ = ["Line", "draft", "find_sale", "price_up", "refund", "sell", "subtotal_of"]


@dataclass(frozen=True)
class Line:
    """So many of a product."""

    product: Product
    quantity: int

    @property
    def amount(self) -> float:
        return round(self.product.price * self.quantity, 2)


def subtotal_of(lines: Sequence[Line]) -> float:
    """What the lines cost before any plugin has had a say."""
    return round(sum(line.amount for line in lines), 2)


async def price_up(session: AsyncSession, tenant_id: str, quantities: Mapping[str, int]) -> list[Line]:
    """The products behind a cart, in the cart's order; what is not sold here is left out."""
    statement = select(Product).where(Product.tenant_id == tenant_id, Product.id.in_(quantities))
    found = {product.id: product for product in await session.scalars(statement)}
    return [Line(found[key], quantity) for key, quantity in quantities.items() if key in found and quantity > 0]


def draft(
    organisation: Organisation, sale_id: str, lines: Sequence[Line], customer_id: str | None, employee_id: str
) -> hooks.Sale:
    """A sale that has not been made: what filters and the slot before checkout are given."""
    return hooks.Sale(
        id=sale_id,
        total=subtotal_of(lines),
        currency=organisation.currency,
        status="draft",
        customer_id=customer_id,
        employee_id=employee_id,
        items=[
            hooks.SaleItem(
                product_id=line.product.id,
                name=line.product.name,
                quantity=line.quantity,
                unit_price=line.product.price,
            )
            for line in lines
        ],
        created_at=now().isoformat(),
    )


async def sell(
    extension: Extension,
    organisation: Organisation,
    *,
    sale_id: str,
    quantities: Mapping[str, int],
    customer_id: str | None,
    employee_id: str,
) -> str:
    """Complete a sale and return its id. The id is the cart's own: sent twice, it is one sale.

    Raises:
        VetoedError: A plugin said no.
        ShopError: The cart cannot be sold.
    """
    async with extension.read() as session:
        if await _exists(session, organisation.id, sale_id):
            return sale_id
        lines = await price_up(session, organisation.id, quantities)
        if customer_id is not None and not await _is_customer(session, organisation.id, customer_id):
            raise NotFoundError("That customer does not exist.")
    if not lines:
        raise ShopError("The cart is empty.")
    for line in lines:
        if line.product.stock is not None and line.product.stock < line.quantity:
            raise ShopError(f"Only {line.product.stock} of {line.product.name} left.")

    asked = draft(organisation, sale_id, lines, customer_id, employee_id)
    answer = await extension.tenant(organisation.id).filter("sale.beforeCreate", plain(asked))
    total, details = _settle(asked, answer)

    try:
        async with extension.write() as session:
            await _record(session, extension, organisation, asked, lines, total, details)
    except IntegrityError:
        # The same cart, sent a second time while the first was on its way.
        async with extension.read() as session:
            if await _exists(session, organisation.id, sale_id):
                return sale_id
        raise
    return sale_id


async def _record(
    session: AsyncSession,
    extension: Extension,
    organisation: Organisation,
    asked: hooks.Sale,
    lines: Sequence[Line],
    total: float,
    details: dict[str, str],
) -> None:
    sale = Sale(
        id=asked.id, tenant_id=organisation.id, customer_id=asked.customer_id, employee_id=asked.employee_id,
        subtotal=asked.total, total=total, currency=organisation.currency, status="completed", details=details,
        created_at=now(),
    )  # fmt: skip
    session.add(sale)
    await session.flush()
    items = [
        SaleItem(
            tenant_id=organisation.id, sale_id=sale.id, product_id=line.product.id, name=line.product.name,
            quantity=line.quantity, unit_price=line.product.price,
        )
        for line in lines
    ]  # fmt: skip
    session.add_all(items)
    for line in lines:
        await _move_stock(session, organisation.id, line.product.id, line.product.name, -line.quantity)
    await session.flush()
    await extension.tenant(organisation.id).emit("sale.created", plain(sale_payload(sale, items)), session=session)


async def refund(extension: Extension, organisation: Organisation, sale_id: str) -> None:
    """Give the money back and put the goods on the shelf again.

    Raises:
        VetoedError: A plugin said no.
        ShopError: It has been refunded already.
    """
    async with extension.read() as session:
        sale, items = await find_sale(session, organisation.id, sale_id)
    _still_complete(sale)
    await extension.tenant(organisation.id).filter("sale.beforeRefund", plain(sale_payload(sale, items)))
    async with extension.write() as session:
        sale, items = await find_sale(session, organisation.id, sale_id)
        _still_complete(sale)
        sale.status = "refunded"
        for item in items:
            await _move_stock(session, organisation.id, item.product_id, item.name, item.quantity)
        await session.flush()
        await extension.tenant(organisation.id).emit("sale.refunded", plain(sale_payload(sale, items)), session=session)


async def find_sale(session: AsyncSession, tenant_id: str, sale_id: str) -> tuple[Sale, list[SaleItem]]:
    """A sale and its lines.

    Raises:
        NotFoundError: Not in this organisation.
    """
    sale = await session.scalar(select(Sale).where(Sale.tenant_id == tenant_id, Sale.id == sale_id))
    if sale is None:
        raise NotFoundError("There is no such sale.")
    statement = select(SaleItem).where(SaleItem.tenant_id == tenant_id, SaleItem.sale_id == sale_id)
    return sale, list(await session.scalars(statement.order_by(SaleItem.name)))


def _still_complete(sale: Sale) -> None:
    if sale.status != "completed":
        raise ShopError("This sale has been refunded already.")


def _settle(asked: hooks.Sale, answer: Any) -> tuple[float, dict[str, str]]:
    """What plugins may decide: the total, the discount and notes on the sale. Their word is checked like any input."""
    try:
        sale = msgspec.convert(answer, hooks.Sale)
    except msgspec.ValidationError as error:
        raise ShopError("A plugin left the sale in a state that cannot be booked.") from error
    total = sale.total
    if math.isclose(total, asked.total) and sale.discount:
        total = asked.total - sale.discount
    if not (math.isfinite(total) and 0 <= total <= 10_000_000):
        raise ShopError("A plugin left the sale with an impossible total.")
    details = {key[:60]: value[:200] for key, value in list(sale.metadata.items())[:20]}
    return round(total, 2), details


async def _exists(session: AsyncSession, tenant_id: str, sale_id: str) -> bool:
    return await session.scalar(select(Sale.id).where(Sale.tenant_id == tenant_id, Sale.id == sale_id)) is not None


async def _is_customer(session: AsyncSession, tenant_id: str, customer_id: str) -> bool:
    statement = select(Customer.id).where(Customer.tenant_id == tenant_id, Customer.id == customer_id)
    return await session.scalar(statement) is not None


async def _move_stock(session: AsyncSession, tenant_id: str, product_id: str, name: str, by: int) -> None:
    """Count in the database, not here: between our reading and our writing another till may have sold the last one."""
    stock = await session.scalar(
        update(Product)
        .where(Product.tenant_id == tenant_id, Product.id == product_id, Product.stock.is_not(None))
        .values(stock=Product.stock + by)
        .returning(Product.stock)
    )
    if stock is not None and stock < 0:
        raise ShopError(f"Somebody has just sold the last of {name}.")
