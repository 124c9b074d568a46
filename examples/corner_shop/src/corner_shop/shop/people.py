"""Customers and employees."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from corner_shop.extension import Extension
from corner_shop.shop.columns import new_id
from corner_shop.shop.errors import NotFoundError, ShopError
from corner_shop.shop.models import Customer, Employee
from corner_shop.shop.payloads import customer_payload, plain
from jackfield_sdk import hooks

__all__ = ["customers", "employees", "find_customer", "find_employee", "names", "save_customer"]


async def employees(session: AsyncSession, tenant_id: str) -> list[Employee]:
    """Everyone who works there, in the order they were taken on."""
    return list(await session.scalars(select(Employee).where(Employee.tenant_id == tenant_id)))


async def find_employee(session: AsyncSession, tenant_id: str, employee_id: str) -> Employee | None:
    """One of them, if they are still there."""
    return await session.scalar(select(Employee).where(Employee.tenant_id == tenant_id, Employee.id == employee_id))


async def customers(session: AsyncSession, tenant_id: str, search: str = "") -> list[Customer]:
    """By name; at most 200. The search text is looked for in name, e-mail and telephone number."""
    statement = select(Customer).where(Customer.tenant_id == tenant_id)
    if search:
        statement = statement.where(
            Customer.name.icontains(search, autoescape=True)
            | Customer.email.icontains(search, autoescape=True)
            | Customer.phone.icontains(search, autoescape=True)
        )
    return list(await session.scalars(statement.order_by(Customer.name).limit(200)))


async def names(session: AsyncSession, tenant_id: str) -> dict[str, str]:
    """Everyone's name by id, customers and employees alike."""
    found: dict[str, str] = {}
    for model in (Customer, Employee):
        rows = await session.execute(select(model.id, model.name).where(model.tenant_id == tenant_id))
        found.update((key, name) for key, name in rows)
    return found


async def find_customer(session: AsyncSession, tenant_id: str, customer_id: str) -> Customer:
    """One customer.

    Raises:
        NotFoundError: Not in this organisation.
    """
    customer = await session.scalar(
        select(Customer).where(Customer.tenant_id == tenant_id, Customer.id == customer_id)
    )  # fmt: skip
    if customer is None:
        raise NotFoundError("There is no such person.")
    return customer


async def save_customer(
    extension: Extension, tenant_id: str, customer_id: str | None, fields: hooks.Customer, notes: str
) -> str:
    """Create a customer, or change one, and return the id.

    Raises:
        VetoedError: A plugin said no.
        ShopError: A plugin's answer makes no sense.
    """
    tenant = extension.tenant(tenant_id)
    verb = "Create" if customer_id is None else "Update"
    wanted = msgspec.structs.replace(fields, id=customer_id or new_id("customer"))
    if customer_id is not None:
        async with extension.read() as session:
            await find_customer(session, tenant_id, customer_id)
    answer = _understood(await tenant.filter(f"customer.before{verb}", plain(wanted)))
    async with extension.write() as session:
        if customer_id is None:
            customer = Customer(id=wanted.id, tenant_id=tenant_id)
            session.add(customer)
        else:
            customer = await find_customer(session, tenant_id, customer_id)
        customer.name, customer.email, customer.phone = answer.name, answer.email, answer.phone
        customer.notes = notes
        await session.flush()
        event = "customer.created" if customer_id is None else "customer.updated"
        await tenant.emit(event, plain(customer_payload(customer)), session=session)
    return customer.id


def _understood(answer: Any) -> hooks.Customer:
    try:
        customer = msgspec.convert(answer, hooks.Customer)
    except msgspec.ValidationError as error:
        raise ShopError("A plugin left the details in a state that cannot be kept.") from error
    too_long = len(customer.name) > 120 or len(customer.email or "") > 200 or len(customer.phone or "") > 40
    if not customer.name.strip() or too_long:
        raise ShopError("A name is needed, and nothing may be longer than its column.")
    return customer
