"""Google Calendar: its events as functions, and appointments that appear in it."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import calendar_api as google

import jackfield_sdk as jf

EventId = Annotated[str, jf.Meta(min_length=1, max_length=1024)]
CalendarId = Annotated[str, jf.Meta(min_length=1, max_length=250)]
Time = Annotated[
    str, jf.Meta(min_length=16, max_length=35, description="As 2026-03-02T09:30:00+01:00; without an offset, UTC")
]
Title = Annotated[str, jf.Meta(min_length=1, max_length=300)]
LongText = Annotated[str, jf.Meta(max_length=8000)]
Address = Annotated[str, jf.Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]

plugin = jf.Plugin(
    "google-calendar",
    version="1.0.0",
    name="Google Calendar",
    summary="Events of a Google calendar, and appointments that appear in it.",
    category="calendar",
    tags=["calendar", "google", "appointments"],
    licence="MIT",
    author="Jackfield",
    permissions=["http:www.googleapis.com", "connections:google"],
    permission_reasons={
        "http:www.googleapis.com": "Google Calendar's API is there.",
        "connections:google": "Reads and changes events of the account that you connect.",
    },
    uses={"booking": ">=1.0,<2"},
)

plugin.connection(
    "google",
    "oauth2",
    hosts=["www.googleapis.com"],
    title="Google account",
    reason="Its calendar is the one that is read and written.",
    # Without these two Google gives no refresh token, and the connection would end after an hour.
    authorization_url="https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent",
    token_url="https://oauth2.googleapis.com/token",  # noqa: S106  # an address
    revocation_url="https://oauth2.googleapis.com/revoke",
    scopes=[
        "https://www.googleapis.com/auth/calendar.events",
        "https://www.googleapis.com/auth/calendar.freebusy",
    ],
)


@plugin.config
class Config:
    calendar_id: Annotated[
        CalendarId, jf.Meta(title="Calendar", description="Its id; `primary` is the account's own calendar")
    ] = "primary"
    push_bookings: Annotated[bool, jf.Meta(title="Show appointments in the calendar")] = True
    event_title: Annotated[Title, jf.Meta(title="What an appointment is called in the calendar")] = "Appointment"


class Event(jf.Struct, frozen=True, kw_only=True):
    """An event. Times have an offset; of events that last whole days they are days, the last one excluded."""

    id: str
    title: str
    starts_at: str
    ends_at: str
    all_day: bool = False
    description: str = ""
    location: str = ""
    attendees: list[str]
    status: str = "confirmed"
    link: str = ""


class EventPage(jf.Struct, frozen=True, kw_only=True):
    """Some events; `cursor` leads to the next ones."""

    events: list[Event]
    cursor: str | None = None


class Busy(jf.Struct, frozen=True, kw_only=True):
    """A time in which a calendar has something."""

    calendar_id: str
    starts_at: str
    ends_at: str


class Appointment(jf.Struct, frozen=True, kw_only=True):
    """What the booking plugin tells of an appointment."""

    id: str
    starts_at: str
    ends_at: str
    reason: str = ""


# -- functions -------------------------------------------------------------------------------------------------------


@plugin.function("ListEvents", read_only=True, public=True, examples=[{"starts_at": "2026-03-02T00:00:00Z"}])
def list_events(
    ctx: jf.Context,
    starts_at: Time | None = None,
    ends_at: Time | None = None,
    query: Annotated[str, jf.Meta(max_length=200)] = "",
    limit: Annotated[int, jf.Meta(ge=1, le=250)] = 50,
    cursor: Annotated[str, jf.Meta(max_length=2000)] | None = None,
    calendar_id: CalendarId | None = None,
) -> EventPage:
    """Events from a time on, from now when none is given, by their beginning; recurring ones each by itself."""
    answer = google.call(ctx, "GET", google.event_path(calendar_id or ctx.config.calendar_id), params={
        "timeMin": _time(starts_at) if starts_at else ctx.now.isoformat(), "timeMax": _time(ends_at),
        "q": query or None, "maxResults": limit, "pageToken": cursor, "singleEvents": True, "orderBy": "startTime",
    })  # fmt: skip
    found = answer or {}
    return EventPage(events=[_event(item) for item in found.get("items", [])], cursor=found.get("nextPageToken"))


@plugin.function("GetEvent", read_only=True, public=True)
def get_event(ctx: jf.Context, event_id: EventId, calendar_id: CalendarId | None = None) -> Event:
    """One event."""
    path = google.event_path(calendar_id or ctx.config.calendar_id, event_id)
    return _event(google.call(ctx, "GET", path) or {})


@plugin.function(
    "CreateEvent",
    public=True,
    examples=[{"title": "Check-up", "starts_at": "2026-03-02T09:30:00Z", "ends_at": "2026-03-02T10:00:00Z"}],
)
def create_event(
    ctx: jf.Context,
    title: Title,
    starts_at: Time,
    ends_at: Time,
    description: LongText = "",
    location: Annotated[str, jf.Meta(max_length=1000)] = "",
    attendees: Annotated[list[Address], jf.Meta(max_length=100)] | None = None,
    calendar_id: CalendarId | None = None,
) -> Event:
    """Add an event."""
    _check_order(starts_at, ends_at)
    body = _body(
        title=title, starts_at=starts_at, ends_at=ends_at, description=description or None, location=location or None,
        attendees=attendees,
    )  # fmt: skip
    return _event(google.call(ctx, "POST", google.event_path(calendar_id or ctx.config.calendar_id), body=body) or {})


@plugin.function("UpdateEvent", public=True)
def update_event(
    ctx: jf.Context,
    event_id: EventId,
    title: Title | None = None,
    starts_at: Time | None = None,
    ends_at: Time | None = None,
    description: LongText | None = None,
    location: Annotated[str, jf.Meta(max_length=1000)] | None = None,
    attendees: Annotated[list[Address], jf.Meta(max_length=100)] | None = None,
    calendar_id: CalendarId | None = None,
) -> Event:
    """Change an event; what is left out stays."""
    if starts_at and ends_at:
        _check_order(starts_at, ends_at)
    body = _body(
        title=title, starts_at=starts_at, ends_at=ends_at, description=description, location=location,
        attendees=attendees,
    )  # fmt: skip
    if not body:
        raise jf.UserError("there is nothing to change", code="nothing-to-change", hint="Give at least one field.")
    path = google.event_path(calendar_id or ctx.config.calendar_id, event_id)
    return _event(google.call(ctx, "PATCH", path, body=body) or {})


@plugin.function("DeleteEvent", public=True, destructive=True, idempotent=True)
def delete_event(ctx: jf.Context, event_id: EventId, calendar_id: CalendarId | None = None) -> None:
    """Delete an event; one that is not there is deleted already."""
    google.call(ctx, "DELETE", google.event_path(calendar_id or ctx.config.calendar_id, event_id), missing_ok=True)


@plugin.function("GetFreeBusy", read_only=True, public=True)
def get_free_busy(
    ctx: jf.Context,
    starts_at: Time,
    ends_at: Time,
    calendar_ids: Annotated[list[CalendarId], jf.Meta(min_length=1, max_length=50)] | None = None,
) -> list[Busy]:
    """When calendars have something, by its beginning."""
    _check_order(starts_at, ends_at)
    calendars = calendar_ids or [ctx.config.calendar_id]
    answer = google.call(ctx, "POST", "/freeBusy", body={
        "timeMin": _time(starts_at), "timeMax": _time(ends_at), "items": [{"id": id} for id in calendars],
    })  # fmt: skip
    found: list[Busy] = []
    for id, calendar in (answer or {}).get("calendars", {}).items():
        if calendar.get("errors"):
            raise google.GoogleError(
                f"the calendar {id} cannot be read", code="calendar-unreadable", hint="Share it with the account."
            )
        found += [Busy(calendar_id=id, starts_at=b["start"], ends_at=b["end"]) for b in calendar.get("busy", [])]
    return sorted(found, key=lambda busy: (busy.starts_at, busy.calendar_id))


# -- appointments ----------------------------------------------------------------------------------------------------


@plugin.on("booking.appointment-created")
def appointment_created(ctx: jf.Context, appointment: Appointment) -> None:
    """Show an appointment."""
    _show(ctx, "appointment", appointment.id, appointment.starts_at, appointment.ends_at, appointment.reason)


@plugin.on("booking.appointment-rescheduled")
def appointment_rescheduled(ctx: jf.Context, appointment: Appointment) -> None:
    """Move it."""
    _show(ctx, "appointment", appointment.id, appointment.starts_at, appointment.ends_at, appointment.reason)


@plugin.on("booking.appointment-cancelled")
def appointment_cancelled(ctx: jf.Context, appointment: Appointment) -> None:
    """Take it away."""
    _hide(ctx, "appointment", appointment.id)


@plugin.on("booking.appointment-broken")
def appointment_broken(ctx: jf.Context, appointment: Appointment) -> None:
    """Take it away."""
    _hide(ctx, "appointment", appointment.id)


@plugin.on("booking.created")
def booking_created(ctx: jf.Context, booking: jf.hooks.Booking) -> None:
    """Show a booking that was made in the host's own calendar."""
    start = dt.datetime.fromisoformat(booking.starts_at)
    end = start + dt.timedelta(minutes=booking.duration_minutes)
    _show(ctx, "booking", booking.id or "", start.isoformat(), end.isoformat(), booking.service)


@plugin.on("booking.cancelled")
def booking_cancelled(ctx: jf.Context, booking: jf.hooks.Booking) -> None:
    """Take it away."""
    _hide(ctx, "booking", booking.id or "")


@plugin.health
def healthy(ctx: jf.Context) -> jf.Health:
    """Well when the account is connected."""
    state = ctx.connections["google"].state
    return jf.Health(state == "ready", f"the Google account is {state}")


def _show(ctx: jf.Context, kind: str, id: str, starts_at: str, ends_at: str, what: str) -> None:
    """Put an appointment into the calendar, however often the event arrives."""
    if not _is_pushed(ctx):
        return
    title = f"{ctx.config.event_title}: {what}" if what else ctx.config.event_title
    try:
        google.put(
            ctx, ctx.config.calendar_id, google.event_id_of(ctx.tenant.id, kind, id),
            _body(title=title[:300], starts_at=starts_at, ends_at=ends_at),
        )  # fmt: skip
    except google.BusyError as error:
        raise jf.RetryLaterError(str(error), after_s=60) from error


def _hide(ctx: jf.Context, kind: str, id: str) -> None:
    if not _is_pushed(ctx):
        return
    path = google.event_path(ctx.config.calendar_id, google.event_id_of(ctx.tenant.id, kind, id))
    try:
        google.call(ctx, "DELETE", path, missing_ok=True)
    except google.BusyError as error:
        raise jf.RetryLaterError(str(error), after_s=60) from error


def _is_pushed(ctx: jf.Context) -> bool:
    if not ctx.config.push_bookings:
        return False
    if ctx.connections["google"].state == "missing":
        ctx.log.info("no Google account is connected yet; the appointment is not shown")
        return False
    return True


def _body(**given: Any) -> dict[str, Any]:
    """An event as Google takes it; what is None is left out."""
    body: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        match name:
            case "title":
                body["summary"] = value
            case "starts_at":
                body["start"] = {"dateTime": _time(value)}
            case "ends_at":
                body["end"] = {"dateTime": _time(value)}
            case "attendees":
                body["attendees"] = [{"email": address} for address in value]
            case _:
                body[name] = value
    return body


def _event(item: dict[str, Any]) -> Event:
    start, end = item.get("start", {}), item.get("end", {})
    return Event(
        id=item.get("id", ""), title=item.get("summary", ""),
        starts_at=start.get("dateTime") or start.get("date", ""), ends_at=end.get("dateTime") or end.get("date", ""),
        all_day="date" in start, description=item.get("description", ""), location=item.get("location", ""),
        attendees=[attendee["email"] for attendee in item.get("attendees", []) if "email" in attendee],
        status=item.get("status", "confirmed"), link=item.get("htmlLink", ""),
    )  # fmt: skip


def _time(text: str | None) -> str | None:
    """RFC 3339, with an offset."""
    if text is None:
        return None
    return _moment(text).isoformat()


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise jf.UserError(
            f"`{text}` is not a time", code="time-invalid", hint="Write it as `2026-03-02T09:30:00+01:00`."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _check_order(starts_at: str, ends_at: str) -> None:
    if _moment(ends_at) <= _moment(starts_at):
        raise jf.UserError("it ends before it begins", code="times-reversed", hint="Exchange the two times.")
