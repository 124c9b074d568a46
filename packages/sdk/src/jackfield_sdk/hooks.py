"""Typed payloads of the standard hook points and events.

Amounts are decimal numbers in the tenant's currency as `float`; times are ISO 8601 text with an offset. A host may pass
more fields than these; a handler that wants them takes `dict`.
"""

from __future__ import annotations

import msgspec

__all__ = ["Booking", "Customer", "Employee", "Ping", "Product", "Sale", "SaleItem"]


class _Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of payloads: unknown fields are left alone, so that a host can add some."""


class Customer(_Payload, frozen=True, kw_only=True):
    """A person who buys or books."""

    id: str
    name: str
    email: str | None = None
    phone: str | None = None


class Product(_Payload, frozen=True, kw_only=True):
    """A thing that is sold."""

    id: str
    name: str
    price: float
    sku: str | None = None
    stock: int | None = None


class Employee(_Payload, frozen=True, kw_only=True):
    """A person who works for the tenant."""

    id: str
    name: str
    role: str = "member"


class SaleItem(_Payload, frozen=True, kw_only=True):
    """One line of a sale."""

    product_id: str
    name: str
    quantity: int
    unit_price: float


class Sale(_Payload, frozen=True, kw_only=True):
    """A sale at the till: `sale.beforeCreate`, `sale.created`."""

    id: str
    total: float
    currency: str = "USD"
    status: str = "completed"
    customer_id: str | None = None
    employee_id: str | None = None
    items: list[SaleItem] = []
    discount: float = 0.0
    created_at: str | None = None
    metadata: dict[str, str] = {}


class Booking(_Payload, frozen=True, kw_only=True):
    """An appointment: `booking.beforeCreate`, `booking.created`, `booking.cancelled`."""

    customer_id: str
    starts_at: str
    id: str | None = None
    service: str = ""
    duration_minutes: int = 30
    employee_id: str | None = None
    status: str = "booked"
    notes: str = ""
    metadata: dict[str, str] = {}


class Ping(_Payload, frozen=True, kw_only=True):
    """Payload of the demo's event `demo.ping`."""

    n: int
