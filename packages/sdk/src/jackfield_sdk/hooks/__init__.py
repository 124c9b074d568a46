"""Typed payloads of the standard hook points and events.

Amounts are decimal numbers in the tenant's currency as `float`; times are ISO 8601 text with an offset. A host may pass
more fields than these; a handler that wants them takes `dict`. `jackfield_sdk.hooks.catalogue` names the hook points
that they belong to; no isolate needs it.
"""

from __future__ import annotations

from jackfield_sdk.hooks.channels import (
    ChannelMessage,
    ChannelSent,
    TelegramCallback,
    TelegramChat,
    TelegramMessage,
    TelegramUser,
)
from jackfield_sdk.hooks.commerce import Order, Payment, Product, Refund, Sale, SaleItem, StockLevel
from jackfield_sdk.hooks.house import Ping, PluginChange
from jackfield_sdk.hooks.people import Customer, Employee, Login, User
from jackfield_sdk.hooks.scheduling import Booking, CalendarEvent, CalendarSync, EventType, Reschedule

__all__ = [
    "Booking",
    "CalendarEvent",
    "CalendarSync",
    "ChannelMessage",
    "ChannelSent",
    "Customer",
    "Employee",
    "EventType",
    "Login",
    "Order",
    "Payment",
    "Ping",
    "PluginChange",
    "Product",
    "Refund",
    "Reschedule",
    "Sale",
    "SaleItem",
    "StockLevel",
    "TelegramCallback",
    "TelegramChat",
    "TelegramMessage",
    "TelegramUser",
    "User",
]
