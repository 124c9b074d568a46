"""Payloads about time: bookings, what can be booked, calendars."""

from __future__ import annotations

import msgspec

__all__ = ["Booking", "CalendarEvent", "CalendarSync", "EventType", "Reschedule"]


class Booking(msgspec.Struct, frozen=True, kw_only=True):
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


class Reschedule(msgspec.Struct, frozen=True, kw_only=True):
    """A booking moves: `booking.beforeReschedule`, `booking.rescheduled`.

    Attributes:
        booking: As it was; `starts_at` and `duration_minutes` here are as it is to be.
    """

    booking: Booking
    starts_at: str
    duration_minutes: int = 30
    reason: str = ""


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of appointment that can be booked: `eventType.created` and its kin. `id` is empty while it is new."""

    name: str
    id: str | None = None
    duration_minutes: int = 30
    description: str = ""
    price: float = 0.0
    currency: str = "USD"
    is_active: bool = True
    metadata: dict[str, str] = {}


class CalendarSync(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar is brought in line with another: `calendar.beforeSync`, `calendar.synced`.

    Attributes:
        direction: `both`, `in` (from there to the host) or `out`.
        first_day, last_day: What is looked at, both days included, as ISO 8601 dates.
        created, updated, deleted: Entries that were, once it is done.
    """

    calendar_id: str
    direction: str = "both"
    first_day: str | None = None
    last_day: str | None = None
    created: int = 0
    updated: int = 0
    deleted: int = 0


class CalendarEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a calendar: `calendar.eventCreated`, `calendar.eventUpdated`, `calendar.eventDeleted`."""

    id: str
    calendar_id: str
    title: str
    starts_at: str
    ends_at: str
    booking_id: str | None = None
    location: str = ""
    attendees: list[str] = []
