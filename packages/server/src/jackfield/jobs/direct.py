"""A delivery to one handler that is known beforehand, with the event that it is of, in the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import ids
from jackfield.jobs import outbox
from jackfield.jobs.models import Delivery, OutboxEvent

__all__ = ["deliver_to"]


async def deliver_to(
    session: AsyncSession,
    tenant_id: str,
    event: str,
    payload: str,
    *,
    installation_id: str,
    handler: str,
    source: str,
    now: datetime,
    max_attempts: int = 5,
    cause: str | None = None,
) -> str:
    """Make an event that goes to this handler and to nobody else; its delivery, out of order with others.

    Args:
        event: A kind, a colon, and a name, as `webhook:paid`: no event of a host or a plugin is called so.
        payload: JSON; of any size, the caller has seen to that.
    """
    event_id, delivery_id = ids.new_id("evt"), ids.new_id("dlv")
    await session.execute(
        insert(OutboxEvent).values(
            id=event_id, tenant_id=tenant_id, name=event, payload=payload, source=source, cause=cause, created_at=now,
            fanned_out_at=now,
        )
    )  # fmt: skip
    await session.execute(
        insert(Delivery).values(
            id=delivery_id, event_id=event_id, event=event, tenant_id=tenant_id, installation_id=installation_id,
            handler=handler, ordered=False, state="pending", place="ready", attempt=0, failures=0, interruptions=0,
            max_attempts=max_attempts, created_at=now,
        )
    )  # fmt: skip
    outbox.wake_after_commit(session)
    return delivery_id
