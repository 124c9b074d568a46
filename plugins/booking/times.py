"""Times of a practice: days and minutes on its own clock, moments in UTC for everything that is compared."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jackfield_sdk as jf

UNIT_MINUTES = 5
"""All times fall on these; nothing is shorter."""


def zone(ctx: jf.Context) -> dt.tzinfo:
    """The practice's time zone: its setting, or the organisation's own.

    Raises:
        UserError: `timezone-unknown`.
    """
    name = ctx.config.timezone or ctx.tenant.timezone or "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise jf.UserError(
            f"there is no time zone `{name}`", code="timezone-unknown", hint="Name one as `Europe/Vienna`."
        ) from error


def moment(text: str, clock: dt.tzinfo) -> dt.datetime:
    """A time as UTC. Without an offset it is on the practice's clock.

    Raises:
        UserError: `time-invalid`.
    """
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise jf.UserError(
            f"`{text[:40]}` is not a time", code="time-invalid", hint="Write it as `2026-03-02T09:30`."
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=clock)).astimezone(dt.UTC)


def day(text: str) -> dt.date:
    """A day.

    Raises:
        UserError: `day-invalid`.
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise jf.UserError(
            f"`{text[:40]}` is not a day", code="day-invalid", hint="Write it as `2026-03-02`."
        ) from error


def start_of(day: dt.date, clock: dt.tzinfo) -> dt.datetime:
    """When a day begins, in UTC."""
    return dt.datetime.combine(day, dt.time(), clock).astimezone(dt.UTC)


def at(day: dt.date, time: str, clock: dt.tzinfo) -> dt.datetime:
    """`09:30` or `09:30:00` of a day, in UTC."""
    return dt.datetime.combine(day, dt.time.fromisoformat(time), clock).astimezone(dt.UTC)


def local(moment: dt.datetime, clock: dt.tzinfo) -> str:
    """A moment on the practice's clock, with the offset: `2026-03-02T09:30:00+01:00`."""
    return moment.astimezone(clock).isoformat(timespec="seconds")


def unit_of(moment: dt.datetime) -> int:
    """The five minutes in which a moment lies, counted from 1970."""
    return int(moment.timestamp()) // (UNIT_MINUTES * 60)


def check_start(start: dt.datetime) -> None:
    """All appointments begin on five minutes.

    Raises:
        UserError: `time-uneven`.
    """
    if start.minute % UNIT_MINUTES or start.second or start.microsecond:
        raise jf.UserError(
            "an appointment begins on a multiple of five minutes", code="time-uneven", hint="As 09:30 or 09:35."
        )
