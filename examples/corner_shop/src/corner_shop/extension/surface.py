"""What this application opens to plugins."""

from __future__ import annotations

import msgspec
from sqlalchemy import Table

from corner_shop.shop.models import Base
from jackfield import Entity, Event, Slot, Surface, standard
from jackfield_sdk import hooks

__all__ = ["SLOTS", "DashboardContext", "ReportContext", "surface"]


class DashboardContext(msgspec.Struct, frozen=True, kw_only=True):
    """What widgets on the dashboard are given: the day, and what has been sold on it."""

    date: str
    currency: str
    takings: float
    sales: int
    employee_id: str


class ReportContext(msgspec.Struct, frozen=True, kw_only=True):
    """What widgets beside the reports are given: a period, both days included, and its figures."""

    first_day: str
    last_day: str
    currency: str
    takings: float
    sales: int


# Only what the shop does: it moves no appointments, and deletes nothing.
_FILTERS = standard.filters("sale", "booking.beforeCreate", "booking.beforeCancel", "customer", "product")

_EVENTS = (
    *standard.events("sale.created", "sale.refunded", "booking.created", "booking.cancelled"),
    *standard.events("customer.created", "customer.updated", "product.created", "product.updated"),
    Event("demo.ping", hooks.Ping, "Nothing but a number, for trying things out."),
)

_SLOTS = (
    Slot("POS.BeforeCheckout", hooks.Sale, "Beside the cart; the sale is a draft."),
    Slot("POS.AfterCheckout", hooks.Sale, "On the receipt."),
    Slot("Product.Form", hooks.Product, "In the form of a product; its id is empty while it is new."),
    Slot("Product.Details", hooks.Product, "On the page of a product."),
    Slot("Customer.Profile", hooks.Customer, "On the page of a customer."),
    Slot("Customer.Form", hooks.Customer, "In the form of a customer; the id is empty while they are new."),
    Slot("Reports.Dashboard", ReportContext, "Below the week's figures."),
    Slot("Dashboard.Widgets", DashboardContext, "On the first page after signing in."),
)

SLOTS = tuple(slot.name for slot in _SLOTS)


def surface() -> Surface:
    """The whole of it. Tables come from our own models; what is not listed here, no plugin sees."""
    return Surface(
        title="Corner Shop",
        filters=_FILTERS,
        events=_EVENTS,
        slots=_SLOTS,
        entities=(
            Entity(
                "customers", _table("customers"), readable=("id", "name", "email", "phone", "created_at"),
                writable=("name", "email", "phone"), description="People who buy or book, without the notes on them.",
            ),
            Entity(
                "products", _table("products"),
                readable=("id", "name", "sku", "category", "description", "price", "stock", "duration_minutes"),
                writable=("name", "category", "description", "price", "stock"), description="Goods and services.",
            ),
            Entity(
                "sales", _table("sales"),
                readable=("id", "customer_id", "employee_id", "subtotal", "total", "currency", "status", "created_at"),
                description="Completed and refunded sales. What is booked is booked: nobody may change it.",
            ),
            Entity(
                "bookings", _table("bookings"),
                readable=(
                    "id", "customer_id", "employee_id", "service", "starts_at", "duration_minutes", "status", "notes",
                ),
                writable=("customer_id", "employee_id", "service", "starts_at", "duration_minutes", "status", "notes"),
                description="Appointments.",
            ),
            Entity(
                "employees", _table("employees"), readable=("id", "name", "title", "role"),
                description="People who work here, without their addresses.",
            ),
        ),
    )  # fmt: skip


def _table(name: str) -> Table:
    return Base.metadata.tables[f"shop_{name}"]
