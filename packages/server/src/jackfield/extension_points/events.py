"""Events: committed with the host's own rows, delivered at least once to each subscriber, in order per installation."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from jackfield.conditions import holds, variables
from jackfield.db import Database
from jackfield.extension_points.errors import EventUnknownError, PayloadInvalidError
from jackfield.extension_points.validation import SchemaCache
from jackfield.invocation import Invocation, Invoker, Outcome
from jackfield.jobs import HELD, DeliveryResult, DeliverySnapshot, Subscription, outbox
from jackfield.lifecycle import ActiveInstallations
from jackfield.surface import Surface
from jackfield_sdk import wire
from jackfield_sdk.schema import json_schema_of

__all__ = ["Events"]

_HELD_S = 3600.0
_NOT_BEGUN = frozenset({"refused", "overloaded"})
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
        """Who of a tenant is to get an event; what is quarantined gets it when it is at work again."""
        plugins = await self._active.get(tenant_id)
        return [
            Subscription(installation.id, handler.handler, handler.ordered, handler.retries + 1)
            for found in (plugins.events, plugins.held_events)
            for installation, handler in found.get(event_name, ())
        ]

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Hand one delivery to its handler."""
        plugins = await self._active.get(delivery.tenant_id)
        installation = plugins.by_id.get(delivery.installation_id)
        if installation is None and delivery.installation_id in plugins.held:
            # Its activation makes them due; this is for the node that did not hear of it.
            return DeliveryResult("deferred", HELD, "the plugin is quarantined", retry_after_s=_HELD_S)
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
        return DeliveryResult(
            _verdict(outcome),
            failure.code,
            failure.message,
            retry_after_s=failure.retry_after_s,
            duration_ms=outcome.duration_ms,
        )


def _verdict(outcome: Outcome) -> Literal["retry", "dead", "deferred"]:
    if outcome.status in _FINAL:
        return "dead"
    # A quota, a breaker or a full house says when there will be a place; the plugin has not failed.
    comes_again = outcome.failure is not None and outcome.failure.retry_after_s is not None
    return "deferred" if outcome.status in _NOT_BEGUN and comes_again else "retry"
