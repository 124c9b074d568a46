"""The releases that an installation had, and what is kept of each so that it can be gone back to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities import staging
from jackfield.ids import new_id
from jackfield.lifecycle.models import InstallationRow, PastRelease

__all__ = ["Kept", "add", "every", "forget", "kept_of", "overdue", "prune", "spend", "ways_back"]


@dataclass(frozen=True, slots=True)
class Kept:
    """How much is kept for going back.

    Attributes:
        releases: How many can be gone back to; the oldest ones are given up first.
        days: For how long.
    """

    releases: int = 3
    days: int = 30


async def ways_back(session: AsyncSession, installation_id: str) -> list[PastRelease]:
    """Releases that can be gone back to, the latest first."""
    return [row for row in await every(session, installation_id) if row.copy_id is not None]


async def every(session: AsyncSession, installation_id: str) -> list[PastRelease]:
    """All that an installation had, the latest first."""
    query = select(PastRelease).where(PastRelease.installation_id == installation_id).order_by(PastRelease.id.desc())
    return list(await session.scalars(query))


async def add(
    session: AsyncSession,
    row: InstallationRow,
    next_version: str,
    *,
    ended_by: str,
    actor: str | None,
    now: datetime,
    note: str,
    migrations: Iterable[str] = (),
    amount: staging.Amount | None = None,
    copy_id: str | None = None,
) -> PastRelease:
    """Write down that a release is left, with what the installation holds now.

    Args:
        amount: What is kept of the data; None when the data stays where it is.
        copy_id: Where secrets and data are kept, so that there is a way back.
    """
    held: dict[str, Any] = {}
    if copy_id is not None:
        held = {"config": dict(row.config), "grants": list(row.grants), "grant_filters": dict(row.grant_filters)}
    kept = amount or staging.Amount(rows=0, storage_keys=0, size_bytes=0)
    past = PastRelease(
        id=new_id("rel"), tenant_id=row.tenant_id, installation_id=row.id, slug=row.slug, version=row.version,
        next_version=next_version, ended_by=ended_by, ended_at=now, actor=actor, note=note, held=held,
        migrations=list(migrations), copy_id=copy_id, has_data=amount is not None, rows=kept["rows"],
        storage_keys=kept["storage_keys"], size_bytes=kept["size_bytes"],
    )  # fmt: skip
    session.add(past)
    await session.flush()
    return past


async def spend(session: AsyncSession, row: PastRelease) -> None:
    """Give up a way back, and what was kept for it; that the release was there stays written down."""
    if row.copy_id is None:
        return
    await staging.discard(session, row.tenant_id, row.copy_id)
    row.copy_id, row.held, row.has_data = None, {}, False
    row.rows = row.storage_keys = row.size_bytes = 0
    await session.flush()


async def prune(session: AsyncSession, installation_id: str, kept: Kept, now: datetime) -> None:
    """Give up what is more than is to be kept."""
    oldest = now - timedelta(days=kept.days)
    for number, row in enumerate(await ways_back(session, installation_id)):
        if number >= kept.releases or row.ended_at < oldest:
            await spend(session, row)


async def forget(session: AsyncSession, installation_id: str) -> None:
    """Remove all of it, when the installation is removed."""
    for row in await ways_back(session, installation_id):
        await spend(session, row)
    statement = delete(PastRelease).where(PastRelease.installation_id == installation_id)
    await session.execute(statement, execution_options={"synchronize_session": False})


async def overdue(session: AsyncSession, kept: Kept, now: datetime) -> list[tuple[str, str]]:
    """Tenant and id of installations, of all tenants, with something that has been kept for long enough."""
    query = (
        select(PastRelease.tenant_id, PastRelease.installation_id)
        .where(PastRelease.copy_id.is_not(None), PastRelease.ended_at < now - timedelta(days=kept.days))
        .distinct()
    )
    return [(tenant_id, installation_id) for tenant_id, installation_id in await session.execute(query)]


async def kept_of(session: AsyncSession, installation_id: str) -> dict[str, int]:
    """How much is kept for going back: counts by kind."""
    rows = await ways_back(session, installation_id)
    return {
        "kept_releases": len(rows), "kept_rows": sum(row.rows for row in rows),
        "kept_bytes": sum(row.size_bytes for row in rows),
    }  # fmt: skip
