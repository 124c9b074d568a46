"""Booking: an appointment desk over the practice's own data, wherever that is kept."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import desk
import patients
import times
from desk import Appointment, Slot
from patients import Patient, PatientPage

import jackfield_sdk as jf

Id = Annotated[str, jf.Meta(min_length=1, max_length=64)]
Day = Annotated[str, jf.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="As 2026-03-02")]
Time = Annotated[
    str,
    jf.Meta(min_length=16, max_length=35, description="As 2026-03-02T09:30; without an offset, the practice's time"),
]
Name = Annotated[str, jf.Meta(min_length=1, max_length=100)]
Minutes = Annotated[int, jf.Meta(ge=5, le=desk.LONGEST_MINUTES, multiple_of=5)]
Reason = Annotated[str, jf.Meta(max_length=500)]

plugin = jf.Plugin(
    "booking",
    version="1.0.0",
    name="Appointment booking",
    summary="An appointment desk: patients, appointments and free slots, without double bookings.",
    category="booking",
    tags=["appointments", "clinic", "calendar"],
    licence="MIT",
    author="Jackfield",
    permissions=[
        "patients:read", "patients:write", "appointments:read", "appointments:write", "providers:read",
        "operatories:read", "schedules:read",
    ],
    permission_reasons={
        "patients:write": "Adds new patients and changes their details when the desk is asked to.",
        "appointments:write": "Makes, moves and cancels appointments.",
    },
    emits={
        "booking.appointment-created": Appointment,
        "booking.appointment-rescheduled": Appointment,
        "booking.appointment-cancelled": Appointment,
        "booking.appointment-broken": Appointment,
        "booking.appointment-completed": Appointment,
    },
)  # fmt: skip


@plugin.config
class Config:
    allow_same_day_booking: Annotated[bool, jf.Meta(title="Allow booking for the same day")] = True
    require_patient_consent: Annotated[
        bool, jf.Meta(title="Require consent", description="No appointment for patients who have not given consent")
    ] = False
    default_appointment_duration: Annotated[Minutes, jf.Meta(title="Default duration", description="Minutes")] = 60
    slot_minutes: Annotated[Minutes, jf.Meta(title="Slots begin every so many minutes")] = 15
    only_within_schedule: Annotated[bool, jf.Meta(title="Only while the provider works")] = True
    timezone: Annotated[
        str, jf.Meta(max_length=64, title="Time zone", description="As Europe/Vienna; the organisation's when empty")
    ] = ""


@plugin.table(
    "holds",
    unique=[["resource", "unit"]],
    indexes=[["owner"], ["appointment_id"], ["unit"]],
)
class Hold:
    resource: str
    unit: int
    owner: str
    taken_at: float
    appointment_id: str | None = None


class Provider(jf.Struct, frozen=True, kw_only=True):
    """Someone who sees patients."""

    id: str
    name: str
    specialty: str = ""


class Operatory(jf.Struct, frozen=True, kw_only=True):
    """A room or a chair."""

    id: str
    name: str


class Shift(jf.Struct, frozen=True, kw_only=True):
    """When a provider works."""

    provider_id: str
    date: str
    start_time: str
    end_time: str
    operatory_id: str | None = None


# -- patients --------------------------------------------------------------------------------------------------------


@plugin.function("GetAllPatients", read_only=True, public=True)
def get_all_patients(
    ctx: jf.Context, limit: Annotated[int, jf.Meta(ge=1, le=500)] = 100, cursor: str | None = None
) -> PatientPage:
    """All patients by name, a page at a time."""
    page = ctx.data["patients"].page(order=["last_name", "first_name"], limit=limit, cursor=cursor)
    return PatientPage(patients=[patients.patient_of(row) for row in page.rows], cursor=page.cursor)


@plugin.function("GetPatient", read_only=True, public=True, examples=[{"patient_id": "1"}])
def get_patient(ctx: jf.Context, patient_id: Id) -> Patient:
    """One patient."""
    return patients.existing(ctx, patient_id)


@plugin.function("SearchPatients", read_only=True, public=True, examples=[{"query": "ada lovelace"}])
def search_patients(
    ctx: jf.Context,
    query: Annotated[str, jf.Meta(min_length=1, max_length=200)],
    limit: Annotated[int, jf.Meta(ge=1, le=100)] = 20,
) -> list[Patient]:
    """Patients in whose name, e-mail address or telephone number all the words occur."""
    return patients.search(ctx, query, limit)


@plugin.function("CreatePatient", examples=[{"first_name": "Ada", "last_name": "Lovelace"}])
def create_patient(
    ctx: jf.Context,
    first_name: Name,
    last_name: Name,
    birthdate: Day | None = None,
    phone: Annotated[str, jf.Meta(max_length=40)] | None = None,
    email: Annotated[str, jf.Meta(max_length=200)] | None = None,
    consent_given: bool = False,
) -> Patient:
    """Add a patient."""
    if birthdate is not None and times.day(birthdate) > ctx.now.date():
        raise jf.UserError("nobody is born in the future", code="birthdate-invalid", hint="Check the year.")
    # Not every system keeps all of it: what says nothing is not sent.
    values = {"birthdate": birthdate, "phone": phone, "email": email, "consent_given": consent_given or None}
    row = ctx.data["patients"].create(
        first_name=first_name, last_name=last_name,
        **{name: value for name, value in values.items() if value is not None},
    )  # fmt: skip
    return patients.patient_of(row)


@plugin.function("UpdatePatient")
def update_patient(
    ctx: jf.Context,
    patient_id: Id,
    first_name: Name | None = None,
    last_name: Name | None = None,
    birthdate: Day | None = None,
    phone: Annotated[str, jf.Meta(max_length=40)] | None = None,
    email: Annotated[str, jf.Meta(max_length=200)] | None = None,
    consent_given: bool | None = None,
) -> Patient:
    """Change a patient's details; what is left out stays."""
    patients.existing(ctx, patient_id)
    if birthdate is not None:
        times.day(birthdate)
    given = {
        "first_name": first_name, "last_name": last_name, "birthdate": birthdate, "phone": phone, "email": email,
        "consent_given": consent_given,
    }  # fmt: skip
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise jf.UserError("there is nothing to change", code="nothing-to-change", hint="Give at least one field.")
    return patients.patient_of(ctx.data["patients"].update(patient_id, **changes))


# -- appointments ----------------------------------------------------------------------------------------------------


@plugin.function("ListAppointments", read_only=True, public=True, examples=[{"first_day": "2026-03-02", "days": 7}])
def list_appointments(
    ctx: jf.Context,
    first_day: Day | None = None,
    days: Annotated[int, jf.Meta(ge=1, le=92)] = 7,
    patient_id: Id | None = None,
    provider_id: Id | None = None,
    operatory_id: Id | None = None,
    status: desk.Status | None = None,
) -> list[Appointment]:
    """Appointments of some days, from today on when none is given, by their beginning."""
    clock = times.zone(ctx)
    first = times.day(first_day) if first_day else ctx.now.astimezone(clock).date()
    end = times.start_of(first + dt.timedelta(days=days), clock)
    wanted = {"patient_id": patient_id, "provider_id": provider_id, "operatory_id": operatory_id, "status": status}
    rows = desk.between(ctx, times.start_of(first, clock), end)
    return [
        desk.appointment_of(row, clock)
        for row in rows
        if all(value is None or str(row[name]) == value for name, value in wanted.items())
    ]


@plugin.function("GetAppointment", read_only=True, public=True)
def get_appointment(ctx: jf.Context, appointment_id: Id) -> Appointment:
    """One appointment."""
    return desk.appointment_of(desk.existing(ctx, appointment_id), times.zone(ctx))


@plugin.function(
    "CreateAppointment",
    public=True,
    examples=[{"patient_id": "1", "starts_at": "2026-03-02T09:30", "provider_id": "1", "operatory_id": "1"}],
)
def create_appointment(
    ctx: jf.Context,
    patient_id: Id,
    starts_at: Time,
    provider_id: Id,
    operatory_id: Id,
    duration_minutes: Minutes | None = None,
    reason: Reason = "",
) -> Appointment:
    """Make an appointment. Neither provider nor operatory is ever booked twice, whoever else books at the moment."""
    minutes = duration_minutes or ctx.config.default_appointment_duration
    return desk.create(ctx, patient_id, starts_at, provider_id, operatory_id, minutes, reason)


@plugin.function("RescheduleAppointment", public=True)
def reschedule_appointment(
    ctx: jf.Context,
    appointment_id: Id,
    starts_at: Time,
    provider_id: Id | None = None,
    operatory_id: Id | None = None,
    duration_minutes: Minutes | None = None,
) -> Appointment:
    """Move an appointment; it keeps provider, operatory and duration unless others are given."""
    return desk.reschedule(ctx, appointment_id, starts_at, provider_id, operatory_id, duration_minutes)


@plugin.function("CancelAppointment", public=True, destructive=True, idempotent=True)
def cancel_appointment(ctx: jf.Context, appointment_id: Id, reason: Reason = "") -> Appointment:
    """Cancel an appointment; its time is free again."""
    return desk.end(ctx, appointment_id, "cancelled", reason)


@plugin.function("BreakAppointment", destructive=True, idempotent=True)
def break_appointment(ctx: jf.Context, appointment_id: Id, reason: Reason = "") -> Appointment:
    """The patient did not come: mark the appointment as broken; what is left of its time is free."""
    return desk.end(ctx, appointment_id, "broken", reason)


@plugin.function("CompleteAppointment", idempotent=True)
def complete_appointment(ctx: jf.Context, appointment_id: Id) -> Appointment:
    """The appointment has taken place."""
    return desk.end(ctx, appointment_id, "completed", "")


@plugin.function("FindAvailableSlots", read_only=True, public=True, examples=[{"first_day": "2026-03-02", "days": 3}])
def find_available_slots(
    ctx: jf.Context,
    first_day: Day | None = None,
    days: Annotated[int, jf.Meta(ge=1, le=31)] = 7,
    duration_minutes: Minutes | None = None,
    provider_id: Id | None = None,
    operatory_id: Id | None = None,
    limit: Annotated[int, jf.Meta(ge=1, le=500)] = 50,
) -> list[Slot]:
    """Free times within the providers' schedules, the earliest first."""
    first = times.day(first_day) if first_day else ctx.now.astimezone(times.zone(ctx)).date()
    minutes = duration_minutes or ctx.config.default_appointment_duration
    return desk.free(ctx, first, days, minutes, provider_id, operatory_id, limit)


# -- who, where, when ------------------------------------------------------------------------------------------------


@plugin.function("ListProviders", read_only=True, public=True)
def list_providers(ctx: jf.Context) -> list[Provider]:
    """Providers who take appointments."""
    rows = desk.active(ctx, "providers")
    return [Provider(id=str(row["id"]), name=_name(row), specialty=row.get("specialty") or "") for row in rows]


@plugin.function("ListOperatories", read_only=True, public=True)
def list_operatories(ctx: jf.Context) -> list[Operatory]:
    """Rooms and chairs that appointments can be made for."""
    return [Operatory(id=str(row["id"]), name=row["name"]) for row in desk.active(ctx, "operatories")]


@plugin.function("ListSchedules", read_only=True, public=True)
def list_schedules(
    ctx: jf.Context,
    first_day: Day | None = None,
    days: Annotated[int, jf.Meta(ge=1, le=92)] = 7,
    provider_id: Id | None = None,
) -> list[Shift]:
    """When providers work."""
    first = times.day(first_day) if first_day else ctx.now.astimezone(times.zone(ctx)).date()
    return [_shift(row) for row in desk.shifts(ctx, first, days, provider_id)]


@plugin.config_check
def check(ctx: jf.Context) -> None:
    """Refuse a time zone that does not exist, and data that cannot be reached."""
    times.zone(ctx)
    ctx.data["providers"].list(limit=1)


@plugin.health
def healthy(ctx: jf.Context) -> jf.Health:
    """Well when it can reach the appointments."""
    ctx.data["appointments"].list(limit=1)
    return jf.Health(True)


def _name(row: dict[str, Any]) -> str:
    """Some systems have one name, others two."""
    return row.get("name") or " ".join(part for part in (row.get("first_name"), row.get("last_name")) if part)


def _shift(row: dict[str, Any]) -> Shift:
    room = row.get("operatory_id")
    return Shift(
        provider_id=str(row["provider_id"]), date=row["date"], start_time=row["start_time"], end_time=row["end_time"],
        operatory_id=None if room is None else str(room),
    )  # fmt: skip
