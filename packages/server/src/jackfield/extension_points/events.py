"""Events: committed with the host's own rows, delivered at least once to each subscriber, in order per installation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from jackfield.capabilities.origin import EVENT_DEPTH, Cause, Origin
from jackfield.conditions import holds, variables
from jackfield.db import Database
from jackfield.extension_points.between import depends_on
from jackfield.extension_points.contexts import checked_shared
from jackfield.extension_points.delivering import at_work, result_of
from jackfield.extension_points.errors import EventUnknownError, PayloadInvalidError
from jackfield.extension_points.validation import SchemaCache
from jackfield.invocation import ActiveInstallation, Invocation, Invoker
from jackfield.jobs import DeliveryResult, DeliverySnapshot, Subscription, outbox
from jackfield.lifecycle import ActiveInstallations
from jackfield.lifecycle.active import key_of
from jackfield.resolution.ranges import VersionRange
from jackfield.surface import CHANNEL_EVENTS, PLUGIN_EVENTS, Surface
from jackfield.tracing import Tracing, incoming
from jackfield_sdk import wire
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.schema import json_schema_of

__all__ = ["Audience", "Events"]

_causes = msgspec.json.Decoder(Cause)
_PLUGIN_EVENTS = frozenset(event.name for event in PLUGIN_EVENTS)
_CHANNEL_EVENTS = frozenset(event.name for event in CHANNEL_EVENTS)


class Audience(Protocol):
    """Who hears of events that are not for everybody: those of channels. `channels.Audience` in a node."""

    def concerns(self, event: str) -> bool:
        """Whether an event is one of these."""
        ...

    async def chosen(self, tenant_id: str, event: str, candidates: Iterable[ActiveInstallation]) -> Collection[str]:
        """Ids of those that may hear of it."""
        ...

    async def admitted(self, installation: ActiveInstallation, event: str, payload: Any) -> wire.Execution | None:
        """In what an event runs for a plugin; None when this one is not for it."""
        ...


class Events:
    """Takes events in, and is what the dispatcher of `jobs` asks for subscribers and hands deliveries to.

    Args:
        tracing: Knows the span in which an event is sent; without it, what the request said is kept.
    """

    def __init__(
        self,
        database: Database,
        surface: Surface,
        active: ActiveInstallations,
        invoker: Invoker,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._database = database
        self._surface = surface
        self._active = active
        self._invoker = invoker
        self._schemas = SchemaCache()
        self._host_schemas: dict[str, dict[str, Any]] = {}
        self.audience: Audience | None = None
        """Chooses who hears of events of channels; nobody does without."""

    async def emit(
        self,
        tenant_id: str,
        name: str,
        payload: Any,
        *,
        session: AsyncSession | Session | None = None,
        shared: Mapping[str, Any] | None = None,
    ) -> str:
        """Record an event; its id.

        Args:
            shared: Handed along to all that follows from it, with a `correlation_id`.
            session: The host's own transaction in the same database; the event exists when that is committed, and
                never does when it is rolled back. Without one, the event is committed at once.

        Raises:
            EventUnknownError: The surface declares no such event.
            PayloadInvalidError: The payload does not fit it.
            ContextInvalidError: What is handed along cannot be.
        """
        event = self._surface.event_index.get(name)
        if event is None:
            raise EventUnknownError(f"there is no event `{name}`")
        if name in _PLUGIN_EVENTS:
            raise EventUnknownError(f"`{name}` is sent by the platform alone", hint="Send an event of your own.")
        plain = msgspec.to_builtins(payload, str_keys=True)
        if event.payload is not None:
            schema = self._host_schemas.get(name)
            if schema is None:
                schema = self._host_schemas[name] = json_schema_of(event.payload, path=name)
            if problems := self._schemas.problems("host", name, schema, plain):
                raise PayloadInvalidError(f"the payload does not fit `{name}`: {problems[0]}", errors=problems)
        cause = _cause(shared, incoming.get() if self._tracing is None else self._tracing.here())
        if session is not None:
            return outbox.add(session, tenant_id, name, plain, cause=cause)
        async with self._database.write(tenant_id) as own:
            return outbox.add(own, tenant_id, name, plain, cause=cause)

    async def subscribers(self, tenant_id: str, event_name: str) -> list[Subscription]:
        """Who of a tenant is to get an event; what is quarantined gets it when it is at work again.

        Another plugin's events go to those that say they need it, in the version that sends them.
        """
        plugins = await self._active.get(tenant_id)
        sender = None if event_name in self._surface.event_index else event_name.partition(".")[0]
        at_work = None if sender is None else plugins.by_slug.get(sender)
        version = None if at_work is None else at_work.version
        candidates = [
            (installation, handler)
            for found in (plugins.events, plugins.held_events)
            for installation, handler in found.get(event_name, ())
        ]
        if candidates and self._is_chosen(event_name):
            chosen = await self._chosen(tenant_id, event_name, [installation for installation, _ in candidates])
            candidates = [each for each in candidates if each[0].id in chosen]
        return [
            Subscription(installation.id, handler.handler, handler.ordered, handler.retries + 1)
            for installation, handler in candidates
            if sender is None or _listens_to(installation.manifest, sender, version)
        ]

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Hand one delivery to its handler."""
        installation = await at_work(self._active, delivery)
        if isinstance(installation, DeliveryResult):
            return installation
        handler = next(
            (h for h in installation.manifest.events if h.event == delivery.event and h.handler == delivery.handler),
            None,
        )
        if handler is None:
            return DeliveryResult("skipped", "handler-gone", "the installed release does not handle this event")
        if delivery.event in _PLUGIN_EVENTS and await self._is_about(delivery, installation):
            return DeliveryResult("skipped", "own-life-cycle", "it is about the plugin itself")
        if not holds(handler.when, variables(delivery.event, delivery.payload)):
            return DeliveryResult("skipped", "condition-false", "its condition does not hold")
        cause = _read(delivery.cause)
        if cause.depth > EVENT_DEPTH:
            # Before the plugin is woken: a circle of events would go round for ever.
            trail = " → ".join(cause.trail)
            return DeliveryResult(
                "dead", "event-loop", f"more than {EVENT_DEPTH} events because of one another: {trail}"
            )
        execution: wire.Execution | None = None
        if self._is_chosen(delivery.event):
            audience = self.audience
            if audience is not None:
                execution = await audience.admitted(installation, delivery.event, delivery.payload)
            if execution is None:
                return DeliveryResult("skipped", "channel-not-assigned", "the plugin has no business on this channel")
        origin = Origin((), cause.depth, cause.trail, cause.shared or {"correlation_id": delivery.event_id})
        # With spans, the delivery is one, and is what the handler belongs to.
        token = incoming.set(cause.traceparent if self._tracing is None else incoming.get())
        try:
            outcome = await self._invoker.run(
                Invocation(
                    installation,
                    "event",
                    delivery.event,
                    handler.handler,
                    delivery.payload,
                    handler.timeout_ms,
                    delivery=wire.Delivery(delivery.id, delivery.attempt),
                    settling=delivery.settling,
                    origin=origin,
                    execution=execution,
                )
            )
        finally:
            incoming.reset(token)
        return result_of(outcome)

    async def _is_about(self, delivery: DeliverySnapshot, installation: ActiveInstallation) -> bool:
        """Whether something has become of the plugin itself, which has handlers of its own for that."""
        told = delivery.payload
        plugins = await self._active.get(delivery.tenant_id)
        return plugins.by_slug.get(key_of(told["slug"], told["instance"])) is installation

    def _is_chosen(self, event: str) -> bool:
        return event in _CHANNEL_EVENTS if self.audience is None else self.audience.concerns(event)

    async def _chosen(self, tenant_id: str, event: str, candidates: Sequence[ActiveInstallation]) -> Collection[str]:
        return () if self.audience is None else await self.audience.chosen(tenant_id, event, candidates)


def _cause(shared: Mapping[str, Any] | None, traceparent: str) -> str | None:
    """What is kept with an event of the host's; None when there is nothing to tell."""
    if not traceparent and not shared:
        return None
    handed = None if shared is None else checked_shared(shared)
    return msgspec.json.encode(Cause(shared=handed, traceparent=traceparent)).decode()


def _read(cause: str | None) -> Cause:
    return Cause() if cause is None else _causes.decode(cause)


def _listens_to(manifest: Manifest, sender: str, version: str | None) -> bool:
    if manifest.slug == sender:
        return True
    dependency = depends_on(manifest.requires, sender)
    # One that is not at work any more may still have sent it.
    return dependency is not None and (version is None or VersionRange(dependency.versions).spans(version))
