"""Products and services."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from corner_shop.extension import Extension
from corner_shop.shop.columns import new_id
from corner_shop.shop.errors import NotFoundError, ShopError
from corner_shop.shop.models import Product
from corner_shop.shop.payloads import plain, product_payload
from jackfield_sdk import hooks

__all__ = ["ProductFields", "find_product", "products", "save_product"]


@dataclass(frozen=True)
class ProductFields:
    """What the form asks for. Plugins see and may change the standard part."""

    name: str
    price: float
    sku: str | None
    stock: int | None
    category: str
    description: str


async def products(session: AsyncSession, tenant_id: str) -> list[Product]:
    """Everything on sale, by category."""
    statement = select(Product).where(Product.tenant_id == tenant_id)
    return list(await session.scalars(statement.order_by(Product.category, Product.name)))


async def find_product(session: AsyncSession, tenant_id: str, product_id: str) -> Product:
    """One product.

    Raises:
        NotFoundError: Not in this organisation.
    """
    product = await session.scalar(select(Product).where(Product.tenant_id == tenant_id, Product.id == product_id))
    if product is None:
        raise NotFoundError("There is no such product.")
    return product


async def save_product(
    extension: Extension, tenant_id: str, product_id: str | None, fields: ProductFields
) -> str:  # fmt: skip
    """Create a product, or change one, and return the id.

    Raises:
        VetoedError: A plugin said no.
        ShopError: A plugin's answer makes no sense.
    """
    tenant = extension.tenant(tenant_id)
    verb = "Create" if product_id is None else "Update"
    key = product_id or new_id("product")
    if product_id is not None:
        async with extension.read() as session:
            await find_product(session, tenant_id, product_id)
    asked = hooks.Product(id=key, name=fields.name, price=fields.price, sku=fields.sku, stock=fields.stock)
    answer = _understood(await tenant.filter(f"product.before{verb}", plain(asked)))
    async with extension.write() as session:
        if product_id is None:
            product = Product(id=key, tenant_id=tenant_id)
            session.add(product)
        else:
            product = await find_product(session, tenant_id, product_id)
        product.name, product.price, product.sku, product.stock = answer.name, answer.price, answer.sku, answer.stock
        product.category, product.description = fields.category, fields.description
        await session.flush()
        event = "product.created" if product_id is None else "product.updated"
        await tenant.emit(event, plain(product_payload(product)), session=session)
    return product.id


def _understood(answer: Any) -> hooks.Product:
    try:
        product = msgspec.convert(answer, hooks.Product)
    except msgspec.ValidationError as error:
        raise ShopError("A plugin left the product in a state that cannot be kept.") from error
    if not product.name.strip() or len(product.name) > 120 or len(product.sku or "") > 40:
        raise ShopError("A name is needed, and nothing may be longer than its column.")
    if not (math.isfinite(product.price) and 0 <= product.price <= 1_000_000):
        raise ShopError("A price is a number from nothing to a million.")
    if product.stock is not None and not 0 <= product.stock <= 1_000_000:
        raise ShopError("A stock is a number from nothing to a million.")
    return product
