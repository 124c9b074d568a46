"""Deliveries of all kinds: each goes to whoever knows its kind, and every outcome becomes a result in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from jackfield.capabilities.origin import traceparent_of
from jackfield.invocation import ActiveInstallation, Outcome
from jackfield.jobs import HELD, Deliver, DeliveryResult, DeliverySnapshot, Subscribers, Subscription
from jackfield.lifecycle import ActiveInstallations
from jackfield.telemetry import bound
from jackfield.tracing import Tracing, incoming

__all__ = ["Delivering", "Subscribing", "at_work", "result_of"]

_HELD_S = (5.0, 3600.0)
"""At first, and at the longest; four times as long each time."""
_MISFIT = "payload-mismatch"
"""The event does not fit the handler's type, and never will."""
_NOT_BEGUN = frozenset({"refused", "overloaded"})
_FINAL = frozenset({"user-error", "veto"})
"""The plugin says that it cannot be done; an event cannot be vetoed."""


class Subscribing:
    """The dispatcher's `Subscribers`: whoever one of these names."""

    def __init__(self, *sources: Subscribers) -> None:
        self._sources = sources

    async def subscribers(self, tenant_id: str, event_name: str) -> Sequence[Subscription]:
        """All subscriptions of a tenant."""
        found: list[Subscription] = []
        for source in self._sources:
            found.extend(await source.subscribers(tenant_id, event_name))
        return found


class Delivering:
    """The dispatcher's `Deliver`.

    Args:
        events: Carries out deliveries of events.
        kinds: Prefix of the event's name, as `schedule:`, → who carries those out. No event of a host or a plugin has a
            colon in its name.
        receivers: Prefix of the receiver's id, as `hook_`, → who carries out what goes to those.
        tracing: Makes spans of deliveries; none when absent.
    """

    def __init__(
        self,
        events: Deliver,
        kinds: Mapping[str, Deliver],
        receivers: Mapping[str, Deliver] | None = None,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._events = events
        self._kinds = dict(kinds)
        self._receivers = dict(receivers or {})

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Carry out one delivery; what is logged meanwhile says which."""
        with bound(
            tenant_id=delivery.tenant_id, installation_id=delivery.installation_id, delivery_id=delivery.id
        ):  # fmt: skip
            if self._tracing is None:
                before = incoming.set(traceparent_of(delivery.cause))
                try:
                    return await self._deliver(delivery)
                finally:
                    incoming.reset(before)
            return await self._traced(self._tracing, delivery)

    async def _traced(self, tracing: Tracing, delivery: DeliverySnapshot) -> DeliveryResult:
        """As a span below whatever sent the event; what is delivered once more has a trace of its own, with a link."""
        about = {
            "jackfield.tenant": delivery.tenant_id, "jackfield.installation": delivery.installation_id,
            "jackfield.delivery": delivery.id, "jackfield.event": delivery.event, "jackfield.handler": delivery.handler,
            "jackfield.attempt": delivery.attempt,
        }  # fmt: skip
        # After failures it is another attempt at the same thing; without any it was replayed, or had been put off.
        is_anew = delivery.attempt > 1 and delivery.failures == 0
        left_by = traceparent_of(delivery.cause)
        with tracing.taken_up("delivery", about, traceparent=left_by, is_anew=is_anew) as span:
            before = incoming.set(tracing.traceparent(span) or left_by)
            try:
                result = await self._deliver(delivery)
            finally:
                incoming.reset(before)
            span.set_attribute("jackfield.status", result.status)
            if result.code is not None:
                span.set_attribute("jackfield.code", result.code)
            if result.status in ("retry", "dead"):
                tracing.failed(span, result.status)
            return result

    async def _deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        receiver, bar, _ = delivery.installation_id.partition("_")
        other = self._receivers.get(receiver + bar)
        if other is not None:
            return await other.deliver(delivery)
        kind, colon, _ = delivery.event.partition(":")
        if not colon:
            return await self._events.deliver(delivery)
        found = self._kinds.get(kind + colon)
        if found is None:
            return DeliveryResult("skipped", "kind-unknown", f"this node knows no deliveries of the kind {kind[:40]}")
        return await found.deliver(delivery)


async def at_work(active: ActiveInstallations, delivery: DeliverySnapshot) -> ActiveInstallation | DeliveryResult:
    """The installation that a delivery is for, or what becomes of the delivery when it is not at work."""
    plugins = await active.get(delivery.tenant_id)
    installation = plugins.by_id.get(delivery.installation_id)
    if installation is not None:
        return installation
    if delivery.installation_id in plugins.held:
        # Its activation makes them due; this is for one that is under way here while that happens, and is missed.
        first_s, longest_s = _HELD_S
        wait_s = min(longest_s, first_s * 4 ** min(delivery.attempt - 1, 10))
        return DeliveryResult("deferred", HELD, "the plugin is quarantined", retry_after_s=wait_s)
    return DeliveryResult("skipped", "plugin-not-active", "the plugin is not active any more")


def result_of(outcome: Outcome) -> DeliveryResult:
    """How an attempt ended, by the outcome of the call."""
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
    if outcome.status in _FINAL or (outcome.failure is not None and outcome.failure.code == _MISFIT):
        return "dead"
    # A quota, a breaker or a full house says when there will be a place; the plugin has not failed.
    comes_again = outcome.failure is not None and outcome.failure.retry_after_s is not None
    return "deferred" if outcome.status in _NOT_BEGUN and comes_again else "retry"
