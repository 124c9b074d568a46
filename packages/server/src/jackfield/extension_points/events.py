"""Events: committed with the host's own rows, delivered at least once to each subscriber, in order per installation."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from jackfield.conditions import holds, variables
from jackfield.db import Database
from jackfield.extension_points.errors import EventUnknownError, PayloadInvalidError
from jackfield.extension_points.validation import SchemaCache
from jackfield.invocation import Invocation, Invoker
from jackfield.jobs import DeliveryResult, DeliverySnapshot, Subscription, outbox
from jackfield.lifecycle import ActiveInstallations
from jackfield.surface import Surface
from jackfield_sdk import wire
from jackfield_sdk.schema import json_schema_of

__all__ = ["Events"]

_FINAL = {"user-error": "the plugin says it cannot be done", "veto": "an event cannot be vetoed"}


class Events:
    """Takes events in, and is what the dispatcher of `jobs` asks for subscribers and hands deliveries to."""

    def __init__(self, database: Database, surface: Surface, active: ActiveInstallations, invoker: Invoker) -> None:
        self._database = database
        self._surface = surface
        self._active = active
        self._invoker = invoker
        self._schemas = SchemaCache()
        self._host_schemas: dict[str, dict[str, Any]] = {}

    async def emit(
        self, tenant_id: str, name: str, payload: Any, *, session: AsyncSession | Session | None = None
    ) -> str:
        """Record an event; its id.

        Args:
            session: The host's own transaction in the same database; the event exists when that is committed, and
                never does when it is rolled back. Without one, the event is committed at once.

        Raises:
            EventUnknownError: The surface declares no such event.
            PayloadInvalidError: The payload does not fit it.
        """
        event = self._surface.event_index.get(name)
        if event is None:
            raise EventUnknownError(f"there is no event `{name}`")
        plain = msgspec.to_builtins(payload, str_keys=True)
        if event.payload is not None:
            schema = self._host_schemas.get(name)
            if schema is None:
                schema = self._host_schemas[name] = json_schema_of(event.payload, path=name)
            if problems := self._schemas.problems("host", name, schema, plain):
                raise PayloadInvalidError(f"the payload does not fit `{name}`: {problems[0]}", errors=problems)
        if session is not None:
            return outbox.add(session, tenant_id, name, plain)
        async with self._database.write(tenant_id) as own:
            return outbox.add(own, tenant_id, name, plain)

    async def subscribers(self, tenant_id: str, event_name: str) -> list[Subscription]:
        """Who of a tenant is to get an event."""
        plugins = await self._active.get(tenant_id)
        return [
            Subscription(installation.id, handler.handler, handler.ordered, handler.retries + 1)
            for installation, handler in plugins.events.get(event_name, ())
        ]

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Hand one delivery to its handler."""
        installation = await self._active.by_id(delivery.tenant_id, delivery.installation_id)
        if installation is None:
            return DeliveryResult("skipped", "plugin-not-active", "the plugin is not active any more")
        handler = next(
            (h for h in installation.manifest.events if h.event == delivery.event and h.handler == delivery.handler),
            None,
        )
        if handler is None:
            return DeliveryResult("skipped", "handler-gone", "the installed release does not handle this event")
        if not holds(handler.when, variables(delivery.event, delivery.payload)):
            return DeliveryResult("skipped", "condition-false", "its condition does not hold")
        outcome = await self._invoker.run(
            Invocation(
                installation,
                "event",
                delivery.event,
                handler.handler,
                delivery.payload,
                handler.timeout_ms,
                delivery=wire.Delivery(delivery.id, delivery.attempt),
            )
        )
        failure = outcome.failure
        if failure is None:
            return DeliveryResult("done", duration_ms=outcome.duration_ms)
        state = "dead" if outcome.status in _FINAL else "retry"
        return DeliveryResult(
            state, failure.code, failure.message, retry_after_s=failure.retry_after_s, duration_ms=outcome.duration_ms
        )
