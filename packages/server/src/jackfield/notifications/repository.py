"""Statements on notifications. All of them run on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.notifications.models import (
    EndpointRow,
    NotificationDelivery,
    NotificationRow,
    PreferenceRow,
    UnsubscribeRow,
)
from jackfield.tenants import Member

__all__ = [
    "Way",
    "add_notifications",
    "choices_of",
    "claim",
    "count_of",
    "count_since",
    "known_keys",
    "listed",
    "recipients",
    "set_choice",
    "unread",
    "ways_since",
]

Way = tuple[str, str]
"""Member and channel."""


async def recipients(
    session: AsyncSession,
    tenant_id: str,
    ids: Collection[str],
    roles: Collection[str],
    *,
    all_of_them: bool,
    limit: int,
) -> Sequence[Member]:
    """Members by id, by role, or all; one more than the limit when there are more."""
    query = select(Member).where(Member.tenant_id == tenant_id).order_by(Member.id).limit(limit + 1)
    if not all_of_them:
        query = query.where(or_(Member.id.in_(ids), Member.role.in_(roles)))
    return (await session.scalars(query)).all()


async def choices_of(
    session: AsyncSession, members: Iterable[str], plugin: str | None = None
) -> dict[str, dict[tuple[str, str], bool]]:
    """Member → what they chose, of all plugins or of one and what holds for all."""
    query = select(PreferenceRow).where(PreferenceRow.member_id.in_(list(members)))
    if plugin is not None:
        query = query.where(PreferenceRow.plugin.in_(("", plugin)))
    found: dict[str, dict[tuple[str, str], bool]] = {}
    for row in await session.scalars(query):
        found.setdefault(row.member_id, {})[row.plugin, row.channel] = row.is_on
    return found


async def with_endpoint(session: AsyncSession, members: Iterable[str]) -> set[str]:
    """Members who have given an address for webhooks."""
    query = select(EndpointRow.member_id).where(EndpointRow.member_id.in_(list(members)))
    return set(await session.scalars(query))


async def known_keys(session: AsyncSession, installation_id: str, members: Iterable[str], key: str) -> set[str]:
    """Members who were told of a key before."""
    query = select(NotificationRow.member_id).where(
        NotificationRow.installation_id == installation_id,
        NotificationRow.member_id.in_(list(members)),
        NotificationRow.key == key,
    )
    return set(await session.scalars(query))


async def count_since(
    session: AsyncSession, installation_id: str, members: Iterable[str], since: datetime
) -> dict[str, int]:
    """Member → notifications of an installation since then."""
    query = (
        select(NotificationRow.member_id, func.count())
        .where(
            NotificationRow.installation_id == installation_id,
            NotificationRow.member_id.in_(list(members)),
            NotificationRow.created_at > since,
        )
        .group_by(NotificationRow.member_id)
    )
    return {row[0]: row[1] for row in await session.execute(query)}


async def ways_since(
    session: AsyncSession, installation_id: str, members: Iterable[str], since: datetime
) -> dict[Way, int]:
    """Member and channel → deliveries of an installation since then."""
    query = (
        select(NotificationDelivery.member_id, NotificationDelivery.channel, func.count())
        .where(
            NotificationDelivery.installation_id == installation_id,
            NotificationDelivery.member_id.in_(list(members)),
            NotificationDelivery.created_at > since,
        )
        .group_by(NotificationDelivery.member_id, NotificationDelivery.channel)
    )
    return {(row[0], row[1]): row[2] for row in await session.execute(query)}


async def add_notifications(session: AsyncSession, database: Database, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Add those whose key a member does not have yet; ids of what was added."""
    if not rows:
        return set()
    dialect = sqlite if database.is_sqlite else postgresql
    statement = dialect.insert(NotificationRow).on_conflict_do_nothing().returning(NotificationRow.id)
    return set((await session.execute(statement, [dict(row) for row in rows])).scalars())


async def set_choice(
    session: AsyncSession, database: Database, tenant_id: str, member_id: str, plugin: str, channel: str, is_on: bool
) -> None:
    """Keep what a member chose."""
    dialect = sqlite if database.is_sqlite else postgresql
    statement = dialect.insert(PreferenceRow).values(
        tenant_id=tenant_id, member_id=member_id, plugin=plugin, channel=channel, is_on=is_on
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[PreferenceRow.member_id, PreferenceRow.plugin, PreferenceRow.channel],
            set_={"is_on": statement.excluded.is_on},
        )
    )


async def drop_choices(session: AsyncSession, member_id: str, plugin: str) -> None:
    """Forget what a member chose for one plugin."""
    await session.execute(
        delete(PreferenceRow)
        .where(PreferenceRow.member_id == member_id, PreferenceRow.plugin == plugin)
        .execution_options(synchronize_session=False)
    )


async def listed(
    session: AsyncSession, member_id: str, before: str | None, limit: int, *, unread_only: bool
) -> Sequence[NotificationRow]:
    """A member's list, the latest first."""
    query = (
        select(NotificationRow)
        .where(NotificationRow.member_id == member_id, NotificationRow.in_app.is_(True))
        .order_by(NotificationRow.id.desc())
        .limit(limit)
    )
    if unread_only:
        query = query.where(NotificationRow.read_at.is_(None))
    if before is not None:
        query = query.where(NotificationRow.id < before)
    return (await session.scalars(query)).all()


async def unread(session: AsyncSession, member_id: str) -> int:
    """How many of a member's list are not read."""
    query = (
        select(func.count())
        .select_from(NotificationRow)
        .where(
            NotificationRow.member_id == member_id,
            NotificationRow.read_at.is_(None),
            NotificationRow.in_app.is_(True),
        )
    )
    return await session.scalar(query) or 0


async def claim(
    session: AsyncSession, owner: str, now: datetime, until: datetime, limit: int, channels: Collection[str]
) -> list[NotificationDelivery]:
    """Lease what is due, and with it all else that is due to the same members from the same plugins.

    Args:
        channels: Those that this node can send by; the rest is another one's.
    """
    row = NotificationDelivery
    is_due = and_(
        row.channel.in_(channels),
        or_(
            and_(row.state == "pending", row.due_at <= now),
            # Whoever had it is gone.
            and_(row.state == "running", row.lease_until < now),
        ),
    )
    first = select(row).where(is_due).order_by(row.due_at, row.id).limit(limit).with_for_update(skip_locked=True)
    found = {delivery.id: delivery for delivery in await session.scalars(first)}
    if not found:
        return []
    ways = list({(one.member_id, one.installation_id, one.channel) for one in found.values()})
    along = (
        select(row)
        .where(is_due, tuple_(row.member_id, row.installation_id, row.channel).in_(ways))
        .order_by(row.due_at, row.id)
        .limit(limit * 10)
        .with_for_update(skip_locked=True)
    )
    found |= {delivery.id: delivery for delivery in await session.scalars(along)}
    for delivery in found.values():
        delivery.state, delivery.lease_owner, delivery.lease_until = "running", owner, until
    return list(found.values())


async def next_due(session: AsyncSession) -> datetime | None:
    """When the next delivery is due."""
    return await session.scalar(
        select(func.min(NotificationDelivery.due_at)).where(NotificationDelivery.state == "pending")
    )


async def finish(session: AsyncSession, owner: str, ids: Sequence[str], **values: Any) -> None:
    """Write down what became of deliveries that are still this node's."""
    await session.execute(
        update(NotificationDelivery)
        .where(NotificationDelivery.id.in_(ids), NotificationDelivery.lease_owner == owner)
        .values(lease_owner=None, lease_until=None, **values)
        .execution_options(synchronize_session=False)
    )


async def count_of(session: AsyncSession, installation_id: str) -> int:
    """How many notifications an installation has sent that are still there."""
    query = select(func.count()).select_from(NotificationRow).where(NotificationRow.installation_id == installation_id)
    return await session.scalar(query) or 0


async def purge(session: AsyncSession, installation_id: str) -> None:
    """Delete all that an installation told, and what is on its way."""
    for model in (NotificationDelivery, NotificationRow):
        await session.execute(
            delete(model).where(model.installation_id == installation_id).execution_options(synchronize_session=False)
        )


async def unsubscribe_token(
    session: AsyncSession, database: Database, tenant_id: str, member_id: str, plugin: str, token: str, now: datetime
) -> str:
    """The token of a member and a plugin; the given one when there is none yet."""
    dialect = sqlite if database.is_sqlite else postgresql
    await session.execute(
        dialect.insert(UnsubscribeRow)
        .values(token=token, tenant_id=tenant_id, member_id=member_id, plugin=plugin, created_at=now)
        .on_conflict_do_nothing()
    )
    query = select(UnsubscribeRow.token).where(UnsubscribeRow.member_id == member_id, UnsubscribeRow.plugin == plugin)
    return (await session.scalars(query)).one()
