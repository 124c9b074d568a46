"""The delivery log: what became of each event at each installation, and trying again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.jobs import outbox, repository
from jackfield.jobs.errors import DeliveryMissingError, DeliveryOpenError
from jackfield.jobs.models import Delivery, OutboxEvent
from jackfield.jobs.parts import goes_nowhere, latest, whole
from jackfield.jobs.schedules import purge_schedules, schedule_inventory
from jackfield.jobs.selecting import ENDED, STATES, DeliveryFilter

__all__ = ["HELD", "Deliveries", "inventory", "purge", "release_held", "skip_open"]

HELD = "plugin-quarantined"
"""Code of deliveries that wait until their plugin is at work again."""
_REPLAYED_AT_ONCE = 500
"""In one transaction: nobody else can dispatch or replay meanwhile."""


_AGAIN: dict[str, Any] = {
    "state": "pending",
    "place": case((Delivery.ordered.is_(True), "blocked"), else_="ready"),
    "failures": 0,
    "interruptions": 0,
    "finished_at": None,
}


class Deliveries:
    """Deliveries of one tenant at a time."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def list(
        self,
        tenant_id: str,
        installation_id: str,
        page: PageRequest,
        state: str | None = None,
        *,
        event: str | None = None,
    ) -> Slice[Delivery]:
        """Deliveries to an installation, or of one event to it, the latest first.

        Raises:
            DeliveryStateError: No such state.
        """
        return await self.find(tenant_id, DeliveryFilter((), (installation_id,), state, event), page)

    async def find(self, tenant_id: str, wanted: DeliveryFilter, page: PageRequest) -> Slice[Delivery]:
        """Deliveries of a tenant, the latest first."""
        query = select(Delivery).where(Delivery.tenant_id == tenant_id, *wanted.conditions())
        if page.cursor:
            query = query.where(Delivery.sequence < decode_cursor(page.cursor, int)[0])
        found = latest(
            query, page.limit + 1, state=wanted.state, of_installations=wanted.installation_ids is not None
        ).subquery()
        mapped = aliased(Delivery, found)
        async with self._database.read(tenant_id) as session:
            rows = (await session.scalars(select(mapped).order_by(mapped.sequence.desc()))).all()
        return cut(rows, page.limit, lambda row: (row.sequence,))

    async def counts(self, tenant_id: str, installation_id: str) -> dict[str, int]:
        """How many deliveries to an installation are in each state."""
        states = whole(select(Delivery.state).where(Delivery.installation_id == installation_id))
        query = select(states.c.state, func.count()).group_by(states.c.state)
        async with self._database.read(tenant_id) as session:
            found = {row[0]: row[1] for row in await session.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    async def get(self, tenant_id: str, delivery_id: str) -> Delivery:
        """One delivery.

        Raises:
            DeliveryMissingError: The tenant has none of this id.
        """
        async with self._database.read(tenant_id) as session:
            return await _one(session, tenant_id, delivery_id)

    async def replay(self, tenant_id: str, delivery_id: str) -> Delivery:
        """Deliver once more, with the same id and a full number of attempts. It takes its old place in the order.

        Raises:
            DeliveryMissingError: The tenant has none of this id.
            DeliveryOpenError: It has not ended.
        """
        async with self._database.write(tenant_id) as session:
            await session.run_sync(repository.lock)
            delivery = await _one(session, tenant_id, delivery_id)
            if delivery.place is not None:
                raise DeliveryOpenError(f"The delivery {delivery_id} is {delivery.state}.", state=delivery.state)
            delivery.state = "pending"
            delivery.place = "blocked" if delivery.ordered else "ready"
            delivery.failures = delivery.interruptions = 0
            delivery.finished_at = None
            await session.flush()
            if delivery.ordered:
                lane = delivery.installation_id
                await session.run_sync(lambda sync: repository.promote(sync, [lane]))
            outbox.wake_after_commit(session)
        return delivery

    async def count(self, tenant_id: str, wanted: DeliveryFilter) -> dict[str, int]:
        """Of those that are meant, how many there are of each state that can be replayed."""
        query = (
            select(Delivery.state, func.count())
            .where(*wanted.conditions(), Delivery.place.is_(None), Delivery.state.in_(ENDED))
            .group_by(Delivery.state)
        )
        async with self._database.read(tenant_id) as session:
            found = {row[0]: row[1] for row in await session.execute(query)}
        return {state: found[state] for state in ENDED if state in found}

    async def replay_matching(self, tenant_id: str, wanted: DeliveryFilter, *, limit: int) -> int:
        """Deliver once more what has ended and is meant, the oldest first; how many that are.

        In short transactions: what is replayed is on its way, even when a later part fails. Those that are under way
        already are left alone, so that to say it twice is to say it once.

        Args:
            limit: No more than so many. With `ended_until` in the past, saying it again goes on where this ended.
        """
        replayed = 0
        while replayed < limit:
            size = min(_REPLAYED_AT_ONCE, limit - replayed)
            count = await self._replay_some(tenant_id, wanted, size)
            replayed += count
            if count < size:
                break
        return replayed

    async def _replay_some(self, tenant_id: str, wanted: DeliveryFilter, size: int) -> int:
        oldest = (
            select(Delivery.sequence)
            .where(*wanted.conditions(), Delivery.place.is_(None), Delivery.state.in_(ENDED))
            .order_by(Delivery.sequence)
            .limit(size)
        )
        return await self._again(tenant_id, oldest)

    async def _again(self, tenant_id: str, sequences: Select[int]) -> int:
        """Deliver these once more, as far as they have ended; how many that are."""
        async with self._database.write(tenant_id) as session:
            await session.run_sync(repository.lock)
            again = await session.execute(
                update(Delivery)
                .where(Delivery.sequence.in_(sequences), Delivery.place.is_(None))
                .values(_AGAIN)
                .returning(Delivery.installation_id, Delivery.ordered)
                .execution_options(synchronize_session=False)
            )
            rows = again.all()
            lanes = {row.installation_id for row in rows if row.ordered}
            if lanes:
                await session.run_sync(lambda sync: repository.promote(sync, lanes))
            if rows:
                outbox.wake_after_commit(session)
        return len(rows)

    async def replay_failed(
        self, tenant_id: str, installation_id: str, since: datetime, *, skipped: str = "", limit: int = 10_000
    ) -> int:
        """Deliver once more what was given up since then, the oldest first; how many that are.

        Args:
            skipped: Also what was skipped with this code.
        """
        is_failed = Delivery.state == "dead"
        if skipped:
            is_failed = or_(is_failed, and_(Delivery.state == "skipped", Delivery.error_code == skipped))
        mine = (
            select(Delivery.sequence)
            .where(
                Delivery.installation_id == installation_id,
                Delivery.place.is_(None),
                is_failed,
                Delivery.finished_at >= since,
            )
            .order_by(Delivery.sequence)
            .limit(limit)
        )
        return await self._again(tenant_id, mine)


async def skip_open(session: AsyncSession, installation_id: str, code: str = "installation-inactive") -> int:
    """End all deliveries to an installation that are not running; those that run are left to end.

    Returns:
        How many there were.
    """
    skipped = await session.scalars(
        update(Delivery)
        .where(
            Delivery.installation_id == installation_id,
            or_(
                Delivery.place.in_(("ready", "waiting", "blocked")),
                # Held by a node, behind another one.
                and_(Delivery.place == "running", Delivery.state == "pending"),
            ),
        )
        .values(state="skipped", place=None, error_code=code, next_attempt_at=None, finished_at=datetime.now(UTC))
        .returning(Delivery.sequence)
        .execution_options(synchronize_session=False)
    )
    return len(skipped.all())


async def release_held(session: AsyncSession, installation_id: str) -> None:
    """Deliveries that waited for the plugin to be at work again become due now. In the transaction that makes it so."""
    await session.run_sync(repository.lock)
    await session.execute(
        update(Delivery)
        .where(Delivery.installation_id == installation_id, Delivery.place == "waiting", Delivery.error_code == HELD)
        .values(place="ready", next_attempt_at=None)
        .execution_options(synchronize_session=False)
    )
    outbox.wake_after_commit(session)


async def inventory(session: AsyncSession, installation_id: str) -> dict[str, int]:
    """How many deliveries and schedules there are of an installation."""
    mine = whole(select(Delivery.sequence).where(Delivery.installation_id == installation_id))
    return {
        "deliveries": await session.scalar(select(func.count()).select_from(mine)) or 0,
        "schedules": await schedule_inventory(session, installation_id),
    }


async def purge(session: AsyncSession, installation_id: str) -> None:
    """Delete all deliveries of an installation, the events that went to no other, and its schedules."""
    await purge_schedules(session, installation_id)
    is_mine = Delivery.installation_id == installation_id
    mine = whole(select(Delivery.sequence, Delivery.event_id).where(is_mine))
    events = delete(OutboxEvent).where(OutboxEvent.id.in_(select(mine.c.event_id)), goes_nowhere(~is_mine))
    await session.execute(events.execution_options(synchronize_session=False))
    deliveries = delete(Delivery).where(Delivery.sequence.in_(select(mine.c.sequence)))
    await session.execute(deliveries.execution_options(synchronize_session=False))


async def _one(session: AsyncSession, tenant_id: str, delivery_id: str) -> Delivery:
    # What is open is looked through: it is the tenant's alone.
    found = whole(select(Delivery).where(Delivery.tenant_id == tenant_id, Delivery.id == delivery_id))
    delivery = await session.scalar(select(aliased(Delivery, found)))
    if delivery is None:
        raise DeliveryMissingError("There is no such delivery.")
    return delivery
