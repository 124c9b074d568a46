"""Making and cancelling appointments. A plugin may change one on its way in, or refuse it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from corner_shop.extension import Extension
from corner_shop.shop.columns import new_id
from corner_shop.shop.errors import NotFoundError, ShopError
from corner_shop.shop.models import Booking, Customer, Employee
from corner_shop.shop.organisations import Organisation
from corner_shop.shop.payloads import booking_payload, plain
from jackfield_sdk import hooks

__all__ = ["book", "cancel", "find_booking"]


async def book(extension: Extension, organisation: Organisation, wanted: hooks.Booking) -> str:
    """Make an appointment and return its id.

    Raises:
        VetoedError: A plugin said no.
        ShopError: It cannot be made.
    """
    tenant = extension.tenant(organisation.id)
    asked = msgspec.structs.replace(wanted, id=new_id("booking"), status="booked")
    answer = _understood(await tenant.filter("booking.beforeCreate", plain(asked)))
    async with extension.write() as session:
        await _people_exist(session, organisation.id, answer)
        booking = Booking(
            id=asked.id, tenant_id=organisation.id, customer_id=answer.customer_id, employee_id=answer.employee_id,
            service=answer.service[:120], starts_at=_moment(answer.starts_at, organisation),
            duration_minutes=answer.duration_minutes, status="booked", notes=answer.notes[:2000],
        )  # fmt: skip
        session.add(booking)
        await session.flush()
        await tenant.emit("booking.created", plain(booking_payload(booking)), session=session)
    return booking.id


async def cancel(extension: Extension, organisation: Organisation, booking_id: str) -> None:
    """Cancel an appointment.

    Raises:
        VetoedError: A plugin said no.
        ShopError: It is cancelled already.
    """
    tenant = extension.tenant(organisation.id)
    async with extension.read() as session:
        booking = _still_booked(await find_booking(session, organisation.id, booking_id))
    await tenant.filter("booking.beforeCancel", plain(booking_payload(booking)))
    async with extension.write() as session:
        booking = _still_booked(await find_booking(session, organisation.id, booking_id))
        booking.status = "cancelled"
        await session.flush()
        await tenant.emit("booking.cancelled", plain(booking_payload(booking)), session=session)


async def find_booking(session: AsyncSession, tenant_id: str, booking_id: str) -> Booking:
    """One appointment.

    Raises:
        NotFoundError: Not in this organisation.
    """
    booking = await session.scalar(select(Booking).where(Booking.tenant_id == tenant_id, Booking.id == booking_id))
    if booking is None:
        raise NotFoundError("There is no such booking.")
    return booking


def _still_booked(booking: Booking) -> Booking:
    if booking.status == "cancelled":
        raise ShopError("This booking is cancelled already.")
    return booking


def _understood(answer: Any) -> hooks.Booking:
    try:
        booking = msgspec.convert(answer, hooks.Booking)
    except msgspec.ValidationError as error:
        raise ShopError("A plugin left the booking in a state that cannot be kept.") from error
    if not 5 <= booking.duration_minutes <= 24 * 60:
        raise ShopError("A booking takes between five minutes and a day.")
    return booking


def _moment(text: str, organisation: Organisation) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ShopError("The start is not a date and a time.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=organisation.zone)


async def _people_exist(session: AsyncSession, tenant_id: str, booking: hooks.Booking) -> None:
    customer = select(Customer.id).where(Customer.tenant_id == tenant_id, Customer.id == booking.customer_id)
    if await session.scalar(customer) is None:
        raise NotFoundError("That customer does not exist.")
    if booking.employee_id is None:
        return
    employee = select(Employee.id).where(Employee.tenant_id == tenant_id, Employee.id == booking.employee_id)
    if await session.scalar(employee) is None:
        raise NotFoundError("That employee does not exist.")
