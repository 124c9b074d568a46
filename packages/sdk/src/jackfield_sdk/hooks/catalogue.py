"""The standard hook points: what hosts of the same trade name alike, so that a plugin works with all of them.

A host declares those that it has (`jackfield.standard`); the platform sends those of `plugin` itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from jackfield_sdk.hooks.commerce import Order, Payment, Product, Refund, Sale, SaleItem, StockLevel
from jackfield_sdk.hooks.house import PluginChange
from jackfield_sdk.hooks.people import Customer, Login, User
from jackfield_sdk.hooks.scheduling import Booking, CalendarEvent, CalendarSync, EventType, Reschedule

__all__ = ["EXAMPLES", "STANDARD", "Hook"]


class Hook(msgspec.Struct, frozen=True):
    """One standard hook point.

    Attributes:
        kind: `filter`: before it happens, may be changed or vetoed. `event`: after it has happened.
        description: When it comes, as a sentence.
        source: Who sends it: the host, or the platform.
    """

    name: str
    kind: Literal["filter", "event"]
    payload: type[msgspec.Struct]
    description: str
    source: Literal["host", "platform"] = "host"

    @property
    def subject(self) -> str:
        """What it is about: the part before the dot."""
        return self.name.partition(".")[0]

    @property
    def example(self) -> msgspec.Struct:
        """A payload that fits it."""
        return EXAMPLES[self.payload]


_BOOKING = Booking(
    id="bk_1", customer_id="cu_1", starts_at="2026-03-02T10:00:00+01:00", service="Haircut", employee_id="em_1",
    metadata={"source": "web"},
)  # fmt: skip
_PRODUCT = Product(id="pr_1", name="Coffee beans", price=12.5, sku="CB-250", stock=3)
_ITEMS = [SaleItem(product_id="pr_1", name="Coffee beans", quantity=2, unit_price=12.5)]

EXAMPLES: Mapping[type[msgspec.Struct], msgspec.Struct] = {
    type(example): example
    for example in (
        _BOOKING,
        Reschedule(booking=_BOOKING, starts_at="2026-03-03T10:00:00+01:00", reason="The train was late."),
        EventType(id="et_1", name="First visit", duration_minutes=45, price=60.0, currency="EUR"),
        CalendarSync(calendar_id="cal_1", first_day="2026-03-01", last_day="2026-03-31", created=2),
        CalendarEvent(
            id="ev_1", calendar_id="cal_1", title="Haircut", starts_at="2026-03-02T10:00:00+01:00",
            ends_at="2026-03-02T10:30:00+01:00", booking_id="bk_1", attendees=["ann@example.com"],
        ),
        User(id="us_1", name="Ann Lee", email="ann@example.com", role="member", locale="de"),
        Login(user_id="us_1", at="2026-03-01T08:00:00+01:00", method="google"),
        Customer(id="cu_1", name="Ann Lee", email="ann@example.com", phone="+49 30 1234"),
        _PRODUCT,
        StockLevel(product=_PRODUCT, stock=3, threshold=5),
        Sale(
            id="sa_1", total=25.0, currency="EUR", customer_id="cu_1", items=_ITEMS,
            created_at="2026-03-01T09:30:00+01:00",
        ),
        Order(id="or_1", total=25.0, currency="EUR", customer_id="cu_1", items=_ITEMS, shipping_address="1 High St"),
        Payment(id="pa_1", amount=25.0, currency="EUR", provider="stripe", order_id="or_1", customer_id="cu_1"),
        Refund(id="re_1", payment_id="pa_1", amount=5.0, currency="EUR", reason="Damaged"),
        PluginChange(slug="loyalty-points", version="1.1.0", previous_version="1.0.0", by="us_1"),
    )
}  # fmt: skip
"""A payload of each type, for the reference page and for tests."""


def _hooks(
    subject: str, payload: type[msgspec.Struct], described: Mapping[str, str | tuple[type[msgspec.Struct], str]],
    source: Literal["host", "platform"] = "host",
) -> Iterator[Hook]:  # fmt: skip
    """Hook points about one thing: verb → description, with a payload of its own where it has one. What is called
    `before…` is a filter."""
    for verb, told in described.items():
        type_, description = (payload, told) if isinstance(told, str) else told
        kind: Any = "filter" if verb.startswith("before") else "event"
        yield Hook(f"{subject}.{verb}", kind, type_, description, source)


STANDARD: Mapping[str, Hook] = {
    hook.name: hook
    for group in (
        _hooks(
            "booking",
            Booking,
            {
                "beforeCreate": "Before an appointment is made: change its time, length or notes, or object.",
                "created": "An appointment was made.",
                "beforeCancel": "Before an appointment is cancelled.",
                "cancelled": "An appointment was cancelled.",
                "beforeReschedule": (Reschedule, "Before an appointment is moved to another time."),
                "rescheduled": (Reschedule, "An appointment was moved."),
                "completed": "An appointment has taken place.",
                "noShow": "The customer did not come.",
            },
        ),
        _hooks(
            "user",
            User,
            {
                "beforeCreate": "Before an account is opened.",
                "created": "An account was opened.",
                "beforeUpdate": "Before an account's new details are saved.",
                "updated": "An account's details changed.",
                "deleted": "An account was closed.",
                "login": (Login, "Somebody signed in."),
            },
        ),
        _hooks(
            "eventType",
            EventType,
            {
                "beforeCreate": "Before a kind of appointment is added.",
                "created": "A kind of appointment was added.",
                "beforeUpdate": "Before a kind of appointment changes.",
                "updated": "A kind of appointment changed.",
                "deleted": "A kind of appointment cannot be booked any more.",
            },
        ),
        _hooks(
            "payment",
            Payment,
            {
                "beforeCharge": "Before money is taken: change the amount or the metadata, or object.",
                "succeeded": "Money was taken.",
                "failed": "Money could not be taken; `failure` says why.",
                "beforeRefund": (Refund, "Before money is given back."),
                "refunded": (Refund, "Money was given back."),
            },
        ),
        _hooks(
            "calendar",
            CalendarSync,
            {
                "beforeSync": "Before a calendar is brought in line with another.",
                "synced": "A calendar was brought in line with another.",
                "eventCreated": (CalendarEvent, "An entry was added to a calendar."),
                "eventUpdated": (CalendarEvent, "An entry of a calendar changed."),
                "eventDeleted": (CalendarEvent, "An entry was removed from a calendar."),
            },
        ),
        _hooks(
            "order",
            Order,
            {
                "beforeCreate": "Before an order is taken.",
                "created": "An order was taken.",
                "beforeUpdate": "Before an order changes.",
                "updated": "An order changed.",
                "shipped": "An order is on its way.",
                "cancelled": "An order was cancelled.",
            },
        ),
        _hooks(
            "customer",
            Customer,
            {
                "beforeCreate": "Before a customer is added.",
                "created": "A customer was added.",
                "beforeUpdate": "Before a customer's new details are saved.",
                "updated": "A customer's details changed.",
                "deleted": "A customer was removed.",
            },
        ),
        _hooks(
            "product",
            Product,
            {
                "beforeCreate": "Before a product is added.",
                "created": "A product was added.",
                "beforeUpdate": "Before a product's new details are saved.",
                "updated": "A product changed.",
                "deleted": "A product is not sold any more.",
                "stockLow": (StockLevel, "Little is left of a product."),
            },
        ),
        _hooks(
            "sale",
            Sale,
            {
                "beforeCreate": "Before a sale is booked: change its total, discount or metadata, or object.",
                "created": "A sale was completed.",
                "beforeRefund": "Before a sale is refunded.",
                "refunded": "A sale was refunded.",
                "voided": "A sale was taken back before it was paid.",
            },
        ),
        _hooks(
            "plugin",
            PluginChange,
            {
                "installed": "Another plugin was installed.",
                "activated": "Another plugin is at work now.",
                "deactivated": "Another plugin was put to rest.",
                "updated": "Another plugin has a new release.",
                "rolledBack": "Another plugin went back to an earlier release.",
                "uninstalled": "Another plugin was removed.",
                "configured": "Another plugin's configuration changed; what it is now is not told.",
                "quarantined": "The platform took another plugin from work.",
            },
            "platform",
        ),
    )
    for hook in group
}
"""All of them, by name."""
