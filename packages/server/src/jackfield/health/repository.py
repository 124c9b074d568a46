"""Statements about health checks and breakers, and about the deaths among the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.health.crash_loops import DEATHS
from jackfield.health.models import BreakerRow, HealthCheckRow
from jackfield.lifecycle import State
from jackfield.lifecycle.models import InstallationRow
from jackfield.records.models import InvocationRow

__all__ = ["OpenBreaker", "claim", "deaths", "due", "is_left_alone", "of", "open_breakers", "unknown_installations"]


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A handler that is left alone, with what an operator may know of it: nothing that the plugin said."""

    tenant_id: str
    installation_id: str
    slug: str
    instance: str
    version: str
    handler: str
    opened_at: datetime
    until: datetime
    failures: int
    code: str


async def of(session: AsyncSession, installation_ids: Iterable[str]) -> Sequence[HealthCheckRow]:
    """The last checks of these installations."""
    ids = list(installation_ids)
    if not ids:
        return []
    return (await session.scalars(select(HealthCheckRow).where(HealthCheckRow.installation_id.in_(ids)))).all()


def is_left_alone() -> ColumnElement[bool]:
    """Of a breaker's row and its installation's: it is open, and of the installation as it is now."""
    return and_(
        BreakerRow.is_open.is_(True),
        BreakerRow.installation_id == InstallationRow.id,
        BreakerRow.revision == InstallationRow.revision,
    )


async def open_breakers(
    session: AsyncSession, tenant_id: str | None, after: tuple[str, ...], limit: int
) -> Sequence[OpenBreaker]:
    """Handlers that are left alone, of all tenants or one, from behind a tenant, installation and handler on."""
    row, place = BreakerRow, InstallationRow
    order = (row.tenant_id, row.installation_id, row.handler)
    query = (
        select(
            row.tenant_id, row.installation_id, place.slug, place.instance, place.version, row.handler, row.opened_at,
            row.until, row.failures, row.code,
        )
        .where(is_left_alone(), tuple_(*order) > tuple_(*after))
        .order_by(*order)
        .limit(limit)
    )  # fmt: skip
    if tenant_id is not None:
        query = query.where(row.tenant_id == tenant_id)
    return [OpenBreaker(*found) for found in await session.execute(query)]


async def due(session: AsyncSession, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Tenant and id of installations whose time has come, of all tenants, the longest overdue first."""
    row = HealthCheckRow
    rows = await session.execute(
        select(row.tenant_id, row.installation_id)
        .where(row.next_check_at <= now, or_(row.lease_until.is_(None), row.lease_until < now))
        .order_by(row.next_check_at)
        .limit(limit)
    )
    return [(tenant_id, installation_id) for tenant_id, installation_id in rows]


async def claim(
    session: AsyncSession, tenant_id: str, installation_id: str, *, now: datetime, until: datetime, fresh: timedelta
) -> bool:
    """Become the one who asks an installation; not if somebody else is, or has done so within `fresh`.

    Raises:
        IntegrityError: It is gone, or another node was quicker.
    """
    row = HealthCheckRow
    claimed = await session.scalars(
        update(row)
        .where(
            row.installation_id == installation_id,
            or_(row.lease_until.is_(None), row.lease_until < now),
            or_(row.checked_at.is_(None), row.checked_at <= now - fresh),
        )
        .values(lease_until=until)
        .returning(row.installation_id)
        .execution_options(synchronize_session=False)
    )
    if claimed.first() is not None:
        return True
    if await session.get(row, installation_id) is not None:
        return False
    session.add(fresh_row(tenant_id, installation_id, lease_until=until))
    await session.flush()
    return True


def fresh_row(
    tenant_id: str, installation_id: str, *, lease_until: datetime | None = None, next_check_at: datetime | None = None
) -> HealthCheckRow:
    """The row of an installation that was never checked."""
    return HealthCheckRow(
        installation_id=installation_id, tenant_id=tenant_id, status="unknown", code=None, message="", since=None,
        checked_at=None, consecutive_failures=0, next_check_at=next_check_at, lease_until=lease_until,
    )  # fmt: skip


async def unknown_installations(session: AsyncSession, limit: int, after: str = "") -> list[tuple[str, str]]:
    """Tenant and id of active installations without a row, by id, from behind one."""
    rows = await session.execute(
        select(InstallationRow.tenant_id, InstallationRow.id)
        .where(
            InstallationRow.id > after,
            InstallationRow.state == State.ACTIVE.value,
            ~exists().where(HealthCheckRow.installation_id == InstallationRow.id),
        )
        .order_by(InstallationRow.id)
        .limit(limit)
    )
    return [(tenant_id, installation_id) for tenant_id, installation_id in rows]


async def deaths(session: AsyncSession, installation_id: str, since: datetime, limit: int) -> Sequence[InvocationRow]:
    """The latest calls that took their process with them."""
    row = InvocationRow
    query = (
        select(row)
        .where(
            row.installation_id == installation_id,
            row.is_failure.is_(True),
            row.started_at >= since,
            row.status.in_(DEATHS),
        )
        .order_by(row.started_at.desc(), row.id.desc())
        .limit(limit)
    )
    return (await session.scalars(query)).all()
