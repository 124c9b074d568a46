"""What came in becomes a delivery: once for each thing that a sender says, and in one transaction with the memory of
it. Whoever is answered after that can forget it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.jobs import deliver_to
from jackfield.webhooks.addresses import Address
from jackfield.webhooks.errors import AddressUnknownError
from jackfield.webhooks.models import AddressRow, ReceiptRow

__all__ = ["EVENT_PREFIX", "Intake", "Taken"]

EVENT_PREFIX = "webhook:"
"""Deliveries of webhooks are of the event `webhook:NAME`; no event of a host or plugin has such a name."""
SOURCE = "webhook"
ID_FOR = timedelta(days=30)
"""For how long a sender's id is remembered: longer than any of them sends again, by itself or by hand."""
CONTENT_FOR = timedelta(hours=24)
_NOTE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a webhook.

    Attributes:
        is_duplicate: It came in before; the delivery is that of the first.
    """

    delivery_id: str
    is_duplicate: bool


class Intake:
    """Takes webhooks in."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def take(
        self, address: Address, handler: str, key: str, payload: str, *, is_id: bool, cause: str | None = None
    ) -> Taken:
        """Make the delivery, unless it came in before. Committed when this returns.

        Args:
            key, is_id: As `verification.receipt_key` has them.
            payload: JSON.
            cause: What is kept with the event, as `deliver_to` has it.

        Raises:
            AddressUnknownError: It was removed a moment ago.
        """
        now = self._clock.now()
        place = {"installation_id": address.installation_id, "name": address.name, "key": key}
        here = [getattr(ReceiptRow, column) == value for column, value in place.items()]
        expires_at = now + (ID_FOR if is_id else CONTENT_FOR)
        make: Any = insert_sqlite if self._database.is_sqlite else insert_postgresql
        async with self._database.write(address.tenant_id) as session:
            is_there = select(AddressRow.name).where(
                AddressRow.installation_id == address.installation_id, AddressRow.name == address.name
            )
            # Held until the end, so that whoever removes the plugin finds this as well.
            if await session.scalar(is_there.with_for_update(read=True, key_share=True)) is None:
                raise AddressUnknownError("there is no such address")
            # First: whoever brings the same at this moment waits here until this is committed. One that has expired is
            # taken over in the same statement, so that nobody can remove it in between.
            added = make(ReceiptRow).values(**place, tenant_id=address.tenant_id, delivery_id="", expires_at=expires_at)
            is_mine = await session.scalar(
                added.on_conflict_do_update(
                    index_elements=["installation_id", "name", "key"],
                    set_={"expires_at": added.excluded.expires_at},
                    where=ReceiptRow.expires_at <= now,
                ).returning(ReceiptRow.key)
            )
            if is_mine is None:
                first = await session.scalar(select(ReceiptRow.delivery_id).where(*here))
                return Taken(first or "", is_duplicate=True)
            delivery_id = await deliver_to(
                session, address.tenant_id, EVENT_PREFIX + address.name, payload,
                installation_id=address.installation_id, handler=handler, source=SOURCE, now=now,
                cause=cause,
            )  # fmt: skip
            await session.execute(
                update(ReceiptRow)
                .where(*here)
                .values(delivery_id=delivery_id)
                .execution_options(synchronize_session=False)
            )
            await session.execute(_note(address, received_at=now))
        return Taken(delivery_id, is_duplicate=False)

    async def refused(self, address: Address, why: str) -> None:
        """Note for the tenant's admins that something was refused; at most once a minute, whoever knocks."""
        async with self._database.read(address.tenant_id) as session:
            query = select(AddressRow.refused_at).where(
                AddressRow.installation_id == address.installation_id, AddressRow.name == address.name
            )
            last = await session.scalar(query)
        now = self._clock.now()
        if last is None or now - last >= _NOTE_EVERY:
            async with self._database.write(address.tenant_id) as session:
                await session.execute(_note(address, refused_at=now, refusal=why))


def _note(address: Address, **values: Any) -> Any:
    """Write it beside the address, to the minute: rows that change with each request would be a queue of writers."""
    column = AddressRow.received_at if "received_at" in values else AddressRow.refused_at
    moment = values["received_at"] if "received_at" in values else values["refused_at"]
    return (
        update(AddressRow)
        .where(
            AddressRow.installation_id == address.installation_id, AddressRow.name == address.name,
            or_(column.is_(None), column <= moment - _NOTE_EVERY),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
