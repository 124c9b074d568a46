"""What is asked of the tables of channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.channels.models import AssignmentRow, ChannelRow, MessageRow
from jackfield.db import Database
from jackfield.live import happened, latest_of_each

__all__ = [
    "add_once",
    "assigned",
    "assignments",
    "connected_kinds",
    "find",
    "next_sequence",
    "set_state",
    "talk_since",
    "tell",
]


async def find(session: AsyncSession, channel_id: str) -> ChannelRow | None:
    """A channel that the session may see."""
    return await session.scalar(select(ChannelRow).where(ChannelRow.id == channel_id))


async def assignments(session: AsyncSession, channel_id: str) -> Sequence[AssignmentRow]:
    """Plugins on a channel, the first to be asked first."""
    query = (
        select(AssignmentRow)
        .where(AssignmentRow.channel_id == channel_id)
        .order_by(AssignmentRow.priority, AssignmentRow.installation_id)
    )
    return (await session.scalars(query)).all()


async def assigned(session: AsyncSession, installation_ids: Sequence[str]) -> Sequence[tuple[str, ChannelRow]]:
    """Installations and channels that they are at work on, the oldest channel first."""
    query = (
        select(AssignmentRow.installation_id, ChannelRow)
        .join(ChannelRow, ChannelRow.id == AssignmentRow.channel_id)
        .where(AssignmentRow.installation_id.in_(installation_ids), AssignmentRow.is_enabled.is_(True))
        .order_by(ChannelRow.id)
    )
    return [(row[0], row[1]) for row in (await session.execute(query)).all()]


async def connected_kinds(session: AsyncSession) -> frozenset[str]:
    """Kinds of which the session's tenant has a connected channel."""
    return frozenset(await session.scalars(select(ChannelRow.kind).where(ChannelRow.state == "connected").distinct()))


async def add_once(session: AsyncSession, database: Database, values: dict[str, Any]) -> bool:
    """Add a message unless there is one with its key; whether it was added. Whoever comes with the same key at this
    moment waits until the session is committed."""
    make: Any = insert_sqlite if database.is_sqlite else insert_postgresql
    statement = make(MessageRow).values(**values).on_conflict_do_nothing().returning(MessageRow.id)
    return await session.scalar(statement) is not None


async def next_sequence(session: AsyncSession, channel_id: str) -> int:
    """Number of the next message that goes out. Others on the channel wait until the session is committed, so that no
    number becomes visible after a higher one."""
    await session.scalar(select(ChannelRow.id).where(ChannelRow.id == channel_id).with_for_update())
    query = select(func.coalesce(func.max(MessageRow.sequence), 0)).where(MessageRow.channel_id == channel_id)
    return (await session.scalar(query) or 0) + 1


async def set_state(
    session: AsyncSession, channel_id: str, version: int, state: str, reason: str | None, now: datetime, **more: Any
) -> bool:
    """Write how a channel is, unless somebody has changed it meanwhile; whether it was written. It is told of when it
    is another state, or another reason."""
    was = (await session.execute(
        select(ChannelRow.state, ChannelRow.reason, ChannelRow.tenant_id).where(ChannelRow.id == channel_id)
    )).one_or_none()  # fmt: skip
    statement = (
        update(ChannelRow)
        .where(ChannelRow.id == channel_id, ChannelRow.version == version)
        .values(state=state, reason=reason, checked_at=now, **more)
        .returning(ChannelRow.id)
        .execution_options(synchronize_session=False)
    )
    if await session.scalar(statement) is None:
        return False
    if was is not None and (was.state, was.reason) != (state, reason):
        tell(session, was.tenant_id, channel_id, state, reason=reason)
    return True


def tell(
    session: AsyncSession, tenant_id: str, channel_id: str, change: str, plugin: str | None = None, **more: Any
) -> None:
    """Have a change of a channel heard by the tenant's admins and the operators once it is committed."""
    happened(session, "channel", {"id": channel_id, "change": change, **more}, tenant_id=tenant_id, plugin=plugin)


async def talk_since(
    session: AsyncSession, tenants: Collection[str] | None, since: datetime, limit: int
) -> Sequence[Any]:
    """Messages of some tenants, or of all, since then, the latest first: tenant, id, channel, direction. Of each tenant
    there are some, also where `limit` is reached."""
    whose = () if tenants is None else (MessageRow.tenant_id.in_(tenants),)
    query = select(
        MessageRow.tenant_id, MessageRow.id, MessageRow.channel_id, MessageRow.direction, MessageRow.created_at
    ).where(MessageRow.created_at >= since, *whose)
    return await latest_of_each(session, query, tenants, MessageRow.created_at, limit)
