"""The shop's rows as plugins see them: the SDK's standard payloads, so that a plugin for one till suits the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from corner_shop.shop.models import Booking, Customer, Product, Sale, SaleItem
from jackfield_sdk import hooks

__all__ = ["booking_payload", "customer_payload", "plain", "product_payload", "sale_payload"]


def plain(payload: msgspec.Struct) -> dict[str, Any]:
    """Only what JSON has."""
    return msgspec.to_builtins(payload)


def customer_payload(customer: Customer) -> hooks.Customer:
    """A customer, without the shop's private notes."""
    return hooks.Customer(id=customer.id, name=customer.name, email=customer.email, phone=customer.phone)


def product_payload(product: Product) -> hooks.Product:
    """A product as it is sold now."""
    return hooks.Product(
        id=product.id, name=product.name, price=product.price, sku=product.sku, stock=product.stock
    )  # fmt: skip


def sale_payload(sale: Sale, items: Sequence[SaleItem]) -> hooks.Sale:
    """A sale with its lines; `metadata` is what plugins left on it."""
    return hooks.Sale(
        id=sale.id,
        total=sale.total,
        currency=sale.currency,
        status=sale.status,
        customer_id=sale.customer_id,
        employee_id=sale.employee_id,
        items=[
            hooks.SaleItem(
                product_id=item.product_id, name=item.name, quantity=item.quantity, unit_price=item.unit_price
            )
            for item in items
        ],
        discount=max(0.0, round(sale.subtotal - sale.total, 2)),
        created_at=sale.created_at.isoformat(),
        metadata={str(key): str(value) for key, value in sale.details.items()},
    )


def booking_payload(booking: Booking) -> hooks.Booking:
    """An appointment; the start is given with its offset."""
    return hooks.Booking(
        id=booking.id,
        customer_id=booking.customer_id,
        starts_at=booking.starts_at.isoformat(),
        service=booking.service,
        duration_minutes=booking.duration_minutes,
        employee_id=booking.employee_id,
        status=booking.status,
        notes=booking.notes,
    )
