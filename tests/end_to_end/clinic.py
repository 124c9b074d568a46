"""A clinic's own tables, as a host opens them to plugins, with a few people in them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Integer, MetaData, String, Table

from jackfield import Entity, Event, FilterHook, Slot, Surface
from jackfield.db import Database
from jackfield_sdk import hooks

__all__ = ["MONDAY", "TABLES", "fill", "surface"]

TABLES = MetaData()
MONDAY = "2030-03-04"
"""Far enough away to be booked whenever the tests run."""


def _table(name: str, *columns: Column[Any]) -> Table:
    key = Column("id", Integer, primary_key=True)
    return Table(f"clinic_{name}", TABLES, key, Column("tenant_id", String(64), nullable=False), *columns)


def _refers(name: str, to: str) -> Column[Any]:
    return Column(name, Integer, ForeignKey(f"clinic_{to}.id"))


PATIENTS = _table(
    "patients", Column("first_name", String(100)), Column("last_name", String(100)), Column("birthdate", String(10)),
    Column("phone", String(40)), Column("email", String(200)), Column("consent_given", Boolean, default=False),
    Column("notes", String(2000)),
)  # fmt: skip
PROVIDERS = _table(
    "providers", Column("name", String(100)), Column("specialty", String(100)), Column("is_active", Boolean)
)
OPERATORIES = _table("operatories", Column("name", String(100)), Column("is_active", Boolean))
SCHEDULES = _table(
    "schedules", _refers("provider_id", "providers"), _refers("operatory_id", "operatories"),
    Column("date", String(10)), Column("start_time", String(8)), Column("end_time", String(8)),
)  # fmt: skip
APPOINTMENTS = _table(
    "appointments", _refers("patient_id", "patients"), _refers("provider_id", "providers"),
    _refers("operatory_id", "operatories"), Column("starts_at", DateTime(timezone=True)),
    Column("duration_minutes", Integer), Column("status", String(16)), Column("reason", String(500)),
)  # fmt: skip


def surface() -> Surface:
    """What plugins may see and do: not the notes on patients."""
    patient = ("first_name", "last_name", "birthdate", "phone", "email", "consent_given")
    appointment = (
        "patient_id", "provider_id", "operatory_id", "starts_at", "duration_minutes", "status", "reason",
    )  # fmt: skip
    return Surface(
        title="Clinic",
        filters=(FilterHook("booking.beforeCreate", hooks.Booking, "An appointment before it is made."),),
        slots=(Slot("Dashboard.Widgets"), Slot("POS.BeforeCheckout", hooks.Sale)),
        events=(
            Event("demo.ping", hooks.Ping, "Nothing but a number."),
            Event("booking.created", hooks.Booking, "An appointment was made at the front desk."),
            Event("booking.cancelled", hooks.Booking, "An appointment was cancelled at the front desk."),
        ),
        entities=(
            Entity("patients", PATIENTS, readable=("id", *patient), writable=patient),
            Entity("appointments", APPOINTMENTS, readable=("id", *appointment), writable=appointment),
            Entity("providers", PROVIDERS, readable=("id", "name", "specialty", "is_active")),
            Entity("operatories", OPERATORIES, readable=("id", "name", "is_active")),
            Entity(
                "schedules", SCHEDULES,
                readable=("id", "provider_id", "operatory_id", "date", "start_time", "end_time"),
            ),
        ),
    )  # fmt: skip


async def fill(database: Database, tenant_id: str = "acme") -> None:
    """The tables, with two patients, two providers, two rooms, and a Monday."""
    async with database.engine.begin() as connection:
        await connection.run_sync(TABLES.create_all)
    async with database.write(None) as session:

        async def add(table: Table, **values: Any) -> int:
            made = await session.execute(table.insert().values(tenant_id=tenant_id, **values))
            return made.inserted_primary_key[0]  # type: ignore[index, return-value]  # an integer key

        for first, last in (("Ada", "Lovelace"), ("Alan", "Turing")):
            await add(PATIENTS, first_name=first, last_name=last, consent_given=False, notes="between us")
        for name in ("Dr. Who", "Dr. No"):
            provider = await add(PROVIDERS, name=name, specialty="", is_active=True)
            await add(SCHEDULES, provider_id=provider, date=MONDAY, start_time="09:00", end_time="17:00")
        for name in ("Chair 1", "Chair 2"):
            await add(OPERATORIES, name=name, is_active=True)
