"""Figures for the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from corner_shop.shop.columns import now
from corner_shop.shop.models import Booking, Customer, Sale, SaleItem
from corner_shop.shop.organisations import Organisation

__all__ = ["Day", "Figures", "diary", "figures"]


@dataclass(frozen=True)
class Day:
    """One day's trade, in the organisation's own time zone."""

    date: date
    takings: float
    sales: int


@dataclass(frozen=True)
class Figures:
    """The last seven days, today last, and what sold best in them."""

    days: list[Day]
    best: list[tuple[str, int]]
    customers: int

    @property
    def today(self) -> Day:
        return self.days[-1]

    @property
    def takings(self) -> float:
        return round(sum(day.takings for day in self.days), 2)

    @property
    def sales(self) -> int:
        return sum(day.sales for day in self.days)


async def figures(session: AsyncSession, organisation: Organisation) -> Figures:
    """Count them. Refunded sales are not takings."""
    today = now().astimezone(organisation.zone).date()
    first = today - timedelta(days=6)
    since = datetime.combine(first, time(), organisation.zone).astimezone(UTC)
    of_ours = (Sale.tenant_id == organisation.id, Sale.status == "completed", Sale.created_at >= since)

    takings = {first + timedelta(days=offset): [0.0, 0] for offset in range(7)}
    for created_at, total in await session.execute(select(Sale.created_at, Sale.total).where(*of_ours)):
        day = takings.get(created_at.astimezone(organisation.zone).date())
        if day is not None:
            day[0] += total
            day[1] += 1

    best = await session.execute(
        select(SaleItem.name, func.sum(SaleItem.quantity).label("sold"))
        .join(Sale, (Sale.id == SaleItem.sale_id) & (Sale.tenant_id == SaleItem.tenant_id))
        .where(*of_ours)
        .group_by(SaleItem.name)
        .order_by(func.sum(SaleItem.quantity).desc(), SaleItem.name)
        .limit(5)
    )
    people = select(func.count()).select_from(Customer).where(Customer.tenant_id == organisation.id)
    return Figures(
        days=[Day(day, round(amount, 2), int(count)) for day, (amount, count) in takings.items()],
        best=[(name, int(sold)) for name, sold in best],
        customers=await session.scalar(people) or 0,
    )


async def diary(session: AsyncSession, organisation: Organisation, limit: int = 100) -> list[Booking]:
    """Appointments from this morning on, the next first."""
    morning = datetime.combine(now().astimezone(organisation.zone).date(), time(), organisation.zone)
    statement = select(Booking).where(Booking.tenant_id == organisation.id, Booking.starts_at >= morning)
    return list(await session.scalars(statement.order_by(Booking.starts_at).limit(limit)))
