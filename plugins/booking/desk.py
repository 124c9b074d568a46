"""The appointment desk: make, move, cancel and find appointments. No two of them share a provider or an operatory."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import holds
import patients
import times

import jackfield_sdk as jf

Row = dict[str, Any]
Status = Literal["scheduled", "completed", "cancelled", "broken"]
LONGEST_MINUTES = 480
_GONE = ["cancelled", "broken"]


class Appointment(jf.Struct, frozen=True, kw_only=True):
    """An appointment; times are on the practice's clock, with the offset."""

    id: str
    patient_id: str
    provider_id: str | None
    operatory_id: str | None
    starts_at: str
    ends_at: str
    duration_minutes: int
    status: str
    reason: str = ""


class Slot(jf.Struct, frozen=True, kw_only=True):
    """A time that is free, with who and where."""

    starts_at: str
    ends_at: str
    provider_id: str
    operatory_id: str


def appointment_of(row: Row, clock: dt.tzinfo) -> Appointment:
    """A row as an appointment."""
    start = times.moment(row["starts_at"], clock)
    minutes = _minutes(row)
    return Appointment(
        id=str(row["id"]), patient_id=str(row["patient_id"]), provider_id=_text(row["provider_id"]),
        operatory_id=_text(row["operatory_id"]), starts_at=times.local(start, clock),
        ends_at=times.local(start + dt.timedelta(minutes=minutes), clock), duration_minutes=minutes,
        status=row["status"], reason=row.get("reason") or "",
    )  # fmt: skip


def existing(ctx: jf.Context, appointment_id: str) -> Row:
    """An appointment's row.

    Raises:
        UserError: `appointment-not-found`.
    """
    row = ctx.data["appointments"].get(appointment_id)
    if row is None:
        raise jf.UserError(
            f"there is no appointment {appointment_id}",
            code="appointment-not-found",
            hint="Look with `ListAppointments`.",
        )
    return row


def between(ctx: jf.Context, start: dt.datetime, end: dt.datetime, *more: Any) -> list[Row]:
    """Appointments that begin in a time, whoever has them, by their beginning."""
    where = [["starts_at", "gte", start.isoformat()], ["starts_at", "lt", end.isoformat()], *more]
    found: list[Row] = []
    cursor: str | None = None
    while True:
        page = ctx.data["appointments"].page(where, order=["starts_at"], limit=500, cursor=cursor)
        found += page.rows
        cursor = page.cursor
        if cursor is None or len(found) >= 5000:
            return found


def create(
    ctx: jf.Context, patient_id: str, starts_at: str, provider_id: str, operatory_id: str, minutes: int, reason: str
) -> Appointment:
    """Make an appointment.

    Raises:
        UserError: It cannot be; the code says why.
    """
    clock = times.zone(ctx)
    start = times.moment(starts_at, clock)
    patient_key, patient = patients.found(ctx, patient_id)
    if ctx.config.require_patient_consent and not patient.consent_given:
        raise jf.UserError(
            "the patient has not given consent",
            code="consent-missing",
            hint="Record it with `UpdatePatient` before an appointment is made.",
        )
    provider_key, operatory_key = _check(ctx, start, minutes, provider_id, operatory_id, clock)
    owner = ctx.invocation_id
    holds.take(ctx, owner, _resources(provider_id, operatory_id), start, minutes)
    try:
        _check_free(ctx, start, minutes, provider_id, operatory_id, clock)
        row = ctx.data["appointments"].create(
            patient_id=patient_key, provider_id=provider_key, operatory_id=operatory_key,
            starts_at=times.local(start, clock), duration_minutes=minutes, status="scheduled", reason=reason,
        )  # fmt: skip
    except BaseException:
        holds.release(ctx, owner)
        raise
    holds.settle(ctx, owner, str(row["id"]))
    made = appointment_of(row, clock)
    ctx.events.emit("booking.appointment-created", made)
    ctx.log.info("appointment made", appointment_id=made.id)
    return made


def reschedule(
    ctx: jf.Context,
    appointment_id: str,
    starts_at: str,
    provider_id: str | None,
    operatory_id: str | None,
    minutes: int | None,
) -> Appointment:
    """Move an appointment; it keeps what is not given.

    Raises:
        UserError: It cannot be; the code says why. The appointment stays where it was.
    """
    clock = times.zone(ctx)
    row = existing(ctx, appointment_id)
    _check_open(row)
    start = times.moment(starts_at, clock)
    provider = provider_id or _text(row["provider_id"]) or ""
    operatory = operatory_id or _text(row["operatory_id"]) or ""
    minutes = minutes or _minutes(row)
    provider_key, operatory_key = _check(ctx, start, minutes, provider, operatory, clock)
    owner = ctx.invocation_id
    # The old and the new time may share some minutes: those are freed first, and held again if it fails.
    holds.release_part(ctx, appointment_id, _resources(provider, operatory), start, minutes)
    try:
        holds.take(ctx, owner, _resources(provider, operatory), start, minutes)
        _check_free(ctx, start, minutes, provider, operatory, clock, but=appointment_id)
        moved = ctx.data["appointments"].update(
            appointment_id, expected={"starts_at": row["starts_at"], "status": row["status"]},
            starts_at=times.local(start, clock), duration_minutes=minutes, provider_id=provider_key,
            operatory_id=operatory_key,
        )  # fmt: skip
    except BaseException as error:
        holds.release(ctx, owner)
        _hold_again(ctx, row, clock)
        if isinstance(error, jf.CapabilityError) and error.code == "entity-changed":
            raise jf.UserError(
                "somebody else has changed this appointment meanwhile", code="appointment-changed", hint="Look again."
            ) from error
        raise
    holds.release_appointment(ctx, appointment_id, but=owner)
    holds.settle(ctx, owner, appointment_id)
    made = appointment_of(moved, clock)
    ctx.events.emit("booking.appointment-rescheduled", made)
    return made


def end(ctx: jf.Context, appointment_id: str, status: Status, reason: str) -> Appointment:
    """Cancel or break an appointment, or complete it. Doing it again changes nothing."""
    clock = times.zone(ctx)
    row = existing(ctx, appointment_id)
    if row["status"] != status:
        _check_open(row)
        changes: Row = {"status": status}
        if reason:
            changes["reason"] = reason
        row = ctx.data["appointments"].update(appointment_id, **changes)
        if status in _GONE:
            holds.release_appointment(ctx, appointment_id)
        ctx.events.emit(f"booking.appointment-{status}", appointment_of(row, clock))
    return appointment_of(row, clock)


def free(
    ctx: jf.Context,
    first: dt.date,
    days: int,
    minutes: int,
    provider_id: str | None,
    operatory_id: str | None,
    limit: int,
) -> list[Slot]:
    """Free times within the providers' schedules, the earliest first."""
    clock = times.zone(ctx)
    start, end = times.start_of(first, clock), times.start_of(first + dt.timedelta(days=days), clock)
    working = shifts(ctx, first, days, provider_id)
    rooms = [operatory_id] if operatory_id else [str(room["id"]) for room in active(ctx, "operatories")]
    providers = {str(provider["id"]) for provider in active(ctx, "providers")}
    busy = _busy(between(ctx, start - dt.timedelta(minutes=LONGEST_MINUTES), end, ["status", "in", _OPEN]), clock)
    resources = [*(f"p:{one}" for one in providers), *(f"o:{room}" for room in rooms)]
    busy |= holds.held(ctx, resources, start, end + dt.timedelta(minutes=LONGEST_MINUTES))
    length = dt.timedelta(minutes=minutes)
    earliest = max(ctx.now, start if ctx.config.allow_same_day_booking else _tomorrow(ctx, clock))
    found: dict[tuple[dt.datetime, str], Slot] = {}
    for shift in working:
        provider = str(shift["provider_id"])
        if provider not in providers:
            continue
        day = times.day(shift["date"])
        moment, last = (times.at(day, shift[name], clock) for name in ("start_time", "end_time"))
        shift_rooms = rooms if shift.get("operatory_id") is None else [str(shift["operatory_id"])]
        while moment + length <= last:
            if moment >= earliest and (moment, provider) not in found:
                room = _room(busy, provider, [r for r in shift_rooms if r in rooms], moment, minutes)
                if room is not None:
                    found[moment, provider] = Slot(
                        starts_at=times.local(moment, clock), ends_at=times.local(moment + length, clock),
                        provider_id=provider, operatory_id=room,
                    )  # fmt: skip
            moment += dt.timedelta(minutes=ctx.config.slot_minutes)
    return [found[key] for key in sorted(found)][:limit]


def active(ctx: jf.Context, entity: str) -> list[Row]:
    """Providers or operatories that take appointments."""
    return [row for row in ctx.data[entity].list(limit=500) if row.get("is_active") is not False]


_OPEN = ["scheduled", "completed"]


def _check(
    ctx: jf.Context, start: dt.datetime, minutes: int, provider_id: str, operatory_id: str, clock: dt.tzinfo
) -> tuple[Any, Any]:
    """What can be said of a time without looking at other appointments; the keys of both as their system has them."""
    times.check_start(start)
    if start < ctx.now:
        raise jf.UserError("this time has passed", code="in-the-past", hint="Choose a later one.")
    if not ctx.config.allow_same_day_booking and start < _tomorrow(ctx, clock):
        raise jf.UserError(
            "appointments are not made for the same day", code="same-day-not-allowed", hint="Choose a later day."
        )
    keys = tuple(
        _key(ctx, entity, word, id)
        for entity, word, id in (("providers", "provider", provider_id), ("operatories", "operatory", operatory_id))
    )
    if ctx.config.only_within_schedule:
        day = start.astimezone(clock).date()
        end = start + dt.timedelta(minutes=minutes)
        if not any(
            times.at(day, shift["start_time"], clock) <= start and end <= times.at(day, shift["end_time"], clock)
            for shift in shifts(ctx, day, 1, provider_id)
        ):
            raise jf.UserError(
                "the provider does not work at this time",
                code="outside-schedule",
                hint="Ask for free slots (`FindAvailableSlots`).",
            )
    return keys[0], keys[1]


def _key(ctx: jf.Context, entity: str, word: str, id: str) -> Any:
    for row in active(ctx, entity):
        if str(row["id"]) == id:
            return row["id"]
    raise jf.UserError(
        f"there is no {word} {id} who takes appointments" if word == "provider" else f"there is no {word} {id}",
        code=f"{word}-not-found",
        hint=f"Look with `List{entity.capitalize()}`.",
    )


def _check_free(
    ctx: jf.Context,
    start: dt.datetime,
    minutes: int,
    provider_id: str,
    operatory_id: str,
    clock: dt.tzinfo,
    *,
    but: str = "",
) -> None:
    """No appointment that was made elsewhere is in the way; those made here are excluded by their holds."""
    end = start + dt.timedelta(minutes=minutes)
    earliest = start - dt.timedelta(minutes=LONGEST_MINUTES)
    for row in between(ctx, earliest, end, ["status", "in", _OPEN]):
        begins = times.moment(row["starts_at"], clock)
        is_over = begins + dt.timedelta(minutes=_minutes(row)) <= start
        shares = _text(row["provider_id"]) == provider_id or _text(row["operatory_id"]) == operatory_id
        if str(row["id"]) != but and not is_over and shares:
            raise holds.taken()


def _check_open(row: Row) -> None:
    if row["status"] != "scheduled":
        raise jf.UserError(
            f"the appointment is {row['status']}", code="appointment-closed", hint="Make a new one instead."
        )


def _hold_again(ctx: jf.Context, row: Row, clock: dt.tzinfo) -> None:
    """After a move that failed: hold the old time as before, as far as nobody has taken a part of it."""
    appointment_id = str(row["id"])
    owner = f"{ctx.invocation_id}:back"
    resources = _resources(_text(row["provider_id"]) or "", _text(row["operatory_id"]) or "")
    holds.release_appointment(ctx, appointment_id)
    try:
        holds.take(ctx, owner, resources, times.moment(row["starts_at"], clock), _minutes(row))
    except jf.UserError:
        # The appointment itself is still there, and whoever wants its time is told so by it.
        ctx.log.warning("the time of an appointment could not be held again", appointment_id=appointment_id)
        return
    holds.settle(ctx, owner, appointment_id)


def shifts(ctx: jf.Context, first: dt.date, days: int, provider_id: str | None) -> list[Row]:
    """Times in which providers work, by day."""
    where = [
        ["date", "gte", first.isoformat()], ["date", "lt", (first + dt.timedelta(days=days)).isoformat()]
    ]  # fmt: skip
    rows = ctx.data["schedules"].list(where, order=["date"], limit=1000)
    return [row for row in rows if provider_id is None or str(row["provider_id"]) == provider_id]


def _busy(rows: list[Row], clock: dt.tzinfo) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for row in rows:
        first = times.unit_of(times.moment(row["starts_at"], clock))
        for resource in _resources(_text(row["provider_id"]) or "", _text(row["operatory_id"]) or ""):
            found.update((resource, unit) for unit in range(first, first + -(-_minutes(row) // times.UNIT_MINUTES)))
    return found


def _room(busy: set[tuple[str, int]], provider: str, rooms: list[str], start: dt.datetime, minutes: int) -> str | None:
    first = times.unit_of(start)
    units = range(first, first + -(-minutes // times.UNIT_MINUTES))
    if any((f"p:{provider}", unit) in busy for unit in units):
        return None
    return next((room for room in rooms if not any((f"o:{room}", unit) in busy for unit in units)), None)


def _tomorrow(ctx: jf.Context, clock: dt.tzinfo) -> dt.datetime:
    return times.start_of(ctx.now.astimezone(clock).date() + dt.timedelta(days=1), clock)


def _resources(provider_id: str, operatory_id: str) -> list[str]:
    return [f"p:{provider_id}", f"o:{operatory_id}"]


def _minutes(row: Row) -> int:
    return int(row["duration_minutes"] or times.UNIT_MINUTES)


def _text(id: Any) -> str | None:
    return None if id is None else str(id)
