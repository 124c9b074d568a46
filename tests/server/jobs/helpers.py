"""Subscribers and a handler that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import select

from jackfield.db import Database
from jackfield.jobs import Delivery, DeliveryResult, DeliverySnapshot, Subscription, outbox

DONE = DeliveryResult("done", duration_ms=1.0)


class Known:
    """Subscriptions written in the test; `{tenant}` in an installation's id is filled in."""

    def __init__(self, *subscriptions: Subscription) -> None:
        self.subscriptions = subscriptions
        self.broken: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    async def subscribers(self, tenant_id: str, event_name: str) -> Sequence[Subscription]:
        self.asked.append((tenant_id, event_name))
        if tenant_id in self.broken:
            raise LookupError("no subscribers today")
        return [
            Subscription(each.installation_id.format(tenant=tenant_id), each.handler, each.ordered, each.max_attempts)
            for each in self.subscriptions
        ]


class Handler:
    """Notes each delivery, and what runs at the same time; `act` decides how it ends."""

    def __init__(self, act: Callable[[DeliverySnapshot], Awaitable[DeliveryResult]] | None = None) -> None:
        self.act = act
        self.begun: list[DeliverySnapshot] = []
        self.running: list[DeliverySnapshot] = []
        self.most_at_once = 0
        self.has_begun = asyncio.Event()

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        self.begun.append(delivery)
        self.running.append(delivery)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.has_begun.set()
        try:
            return DONE if self.act is None else await self.act(delivery)
        finally:
            self.running.remove(delivery)

    def payloads(self, installation_id: str | None = None) -> list[Any]:
        return [each.payload for each in self.begun if installation_id in (None, each.installation_id)]


async def emit(database: Database, *payloads: object, tenant: str = "acme", name: str = "sale.created") -> list[str]:
    """One transaction with an event for each payload."""
    async with database.write(tenant) as session:
        return [outbox.add(session, tenant, name, payload) for payload in payloads]


async def deliveries(database: Database) -> list[Delivery]:
    """All rows, in order."""
    async with database.read(None) as session:
        return list((await session.scalars(select(Delivery).order_by(Delivery.sequence))).all())


async def states(database: Database) -> list[str]:
    """The state of each delivery, in order."""
    return [row.state for row in await deliveries(database)]
