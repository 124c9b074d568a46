"""Statements about installations. The session's tenant narrows each of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import capabilities, connections, jobs, notifications, records, webhooks
from jackfield.capabilities.models import UsageRow
from jackfield.errors import JackfieldError
from jackfield.lifecycle.errors import NotInstalledError
from jackfield.lifecycle.history import kept_of
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.states import Event, State, move

__all__ = [
    "by_id",
    "change_state",
    "count_listed",
    "every",
    "find",
    "inactive_among",
    "listed",
    "owned_by",
    "reason_of",
    "require",
    "strays_among",
]

_PLACES = 0x6A666C
"""Tells our locks of a tenant from others."""


async def find(session: AsyncSession, slug: str, instance: str) -> InstallationRow | None:
    """The row of an installation, one whose data was kept included."""
    return await session.scalar(
        select(InstallationRow).where(InstallationRow.slug == slug, InstallationRow.instance == instance)
    )


async def require(session: AsyncSession, slug: str, instance: str) -> InstallationRow:
    """The row of an installation that the tenant can see.

    Raises:
        NotInstalledError: There is none.
    """
    row = await find(session, slug, instance)
    if row is None or not State(row.state).is_listed:
        raise NotInstalledError(slug)
    return row


async def by_id(session: AsyncSession, installation_id: str) -> InstallationRow:
    """The row with this id, fresh from the database.

    Raises:
        NotInstalledError: It is gone.
    """
    row = await session.get(InstallationRow, installation_id, populate_existing=True)
    if row is None:
        raise NotInstalledError(installation_id)
    return row


async def every(session: AsyncSession) -> list[InstallationRow]:
    """All rows of the tenant, those whose data was kept included."""
    return list(await session.scalars(select(InstallationRow).order_by(InstallationRow.slug, InstallationRow.instance)))


async def listed(session: AsyncSession, states: Iterable[State] = ()) -> list[InstallationRow]:
    """Installations that the tenant can see, by slug."""
    wanted = [state.value for state in states] or [state.value for state in State if state.is_listed]
    rows = await session.scalars(
        select(InstallationRow)
        .where(InstallationRow.state.in_(wanted))
        .order_by(InstallationRow.slug, InstallationRow.instance)
    )
    return list(rows)


async def count_listed(session: AsyncSession, tenant_id: str) -> int:
    """How many installations a tenant can see; who else counts waits until this transaction has ended."""
    if session.get_bind().dialect.name != "sqlite":  # which has one writer anyway
        # Not the tenant's row: a host may install for one whom it has not made known.
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(tenant_id, _PLACES))))
    states = [state.value for state in State if state.is_listed]
    query = select(func.count()).select_from(InstallationRow).where(InstallationRow.state.in_(states))
    return await session.scalar(query.where(InstallationRow.tenant_id == tenant_id)) or 0


async def owned_by(session: AsyncSession, installation_id: str) -> dict[str, int]:
    """What an installation has: counts by kind, its records included."""
    kept = await capabilities.inventory(session, installation_id)
    return {
        "storage_keys": kept["storage_keys"], "table_rows": kept["table_rows"], "secrets": kept["secrets"],
        "files": kept["files"],
        "storage_bytes": kept["storage_bytes"], **await records.inventory(session, installation_id),
        **await jobs.inventory(session, installation_id), **await kept_of(session, installation_id),
        "notifications": await notifications.count_of(session, installation_id),
        "connections": len(await connections.of_installation(session, installation_id)),
        "webhooks": await webhooks.inventory(session, installation_id),
    }  # fmt: skip


async def strays_among(session: AsyncSession) -> list[tuple[str, str]]:
    """Tenant and id of installations that are gone and still own something, of all tenants.

    Whoever writes to storage or tables has a `UsageRow`, so that is the only table to look at. A trial has one too, and
    belongs to its operation.
    """
    installed = select(InstallationRow.id)
    rows = await session.execute(
        select(UsageRow.tenant_id, UsageRow.installation_id).where(
            UsageRow.installation_id.like("inst\\_%", escape="\\"), UsageRow.installation_id.not_in(installed)
        )
    )
    return [(tenant_id, installation_id) for tenant_id, installation_id in rows]


async def inactive_among(session: AsyncSession, slugs: Iterable[str]) -> list[str]:
    """Those of the plugins that are not active, sorted."""
    wanted = set(slugs)
    if not wanted:
        return []
    active = await session.scalars(
        select(InstallationRow.slug).where(
            InstallationRow.slug.in_(wanted), InstallationRow.state == State.ACTIVE.value
        )
    )
    return sorted(wanted - set(active))


def reason_of(error: JackfieldError) -> tuple[str, str]:
    """An error as the reason of a state."""
    return error.code, str(error)


def change_state(row: InstallationRow, *events: Event, now: datetime, reason: tuple[str, str] | None = None) -> None:
    """Move a row through events; what it says about why is replaced.

    Raises:
        NotNowError: One of them cannot happen.
    """
    state = State(row.state)
    for event in events:
        state = move(state, event)
    row.state = state.value
    row.reason_code, row.reason_message = reason or (None, None)
    row.updated_at = now
    if state is State.ACTIVE:
        row.activated_at = now
