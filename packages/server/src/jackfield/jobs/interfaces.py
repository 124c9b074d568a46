"""What the dispatcher needs from above: who subscribes, and who carries out a delivery. `app` fills both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from jackfield.jobs.attempts import Attempt

__all__ = ["Deliver", "DeliveryResult", "DeliverySnapshot", "Subscribers", "Subscription"]


@dataclass(frozen=True, slots=True)
class Subscription:
    """One handler of one installation that wants an event.

    Attributes:
        ordered: Whether it takes events one after the other, in the order in which they were committed. All ordered
            handlers of an installation stand in one queue.
        max_attempts: After how many failures the delivery is dead.
    """

    installation_id: str
    handler: str
    ordered: bool = True
    max_attempts: int = 5


class Subscribers(Protocol):
    """Who wants an event. Asked once per kind of event and batch."""

    async def subscribers(self, tenant_id: str, event_name: str) -> Sequence[Subscription]:
        """The active subscriptions of a tenant."""
        ...


class DeliverySnapshot(msgspec.Struct, frozen=True, gc=False):
    """A delivery to be carried out now.

    Attributes:
        id: The same in every attempt: what makes a handler idempotent.
        event: The event's name.
        attempt: Counted from 1; an attempt that the platform's own death interrupted counts too.
        emitted_at: When the event was added.
        cause: As it was given to `outbox.add`.
        failures: Attempts that failed since it was made or replayed.
        settling: To commit writes together with the end of this attempt. Only for whoever does nothing after that.
    """

    id: str
    event_id: str
    event: str
    tenant_id: str
    installation_id: str
    handler: str
    ordered: bool
    attempt: int
    payload: Any
    source: str
    emitted_at: datetime
    cause: str | None = None
    failures: int = 0
    settling: Attempt | None = None


class DeliveryResult(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ended.

    Attributes:
        status: `retry` counts as a failure; after too many the delivery is dead. `dead` ends it at once. `skipped`:
            there was nothing to do. `deferred`: it was not begun, for want of a quota or a place, and comes again as
            often as it takes.
        retry_after_s: The handler's own wish, or when there will be a place; the back-off decides when absent.
        has_effects: Whether anything outside of the platform may have changed. If so, the next delivery in the same
            order begins only when this end is on disk, so that a crash may repeat it but never reorders the two.
    """

    status: Literal["done", "retry", "dead", "skipped", "deferred"]
    code: str | None = None
    message: str | None = None
    retry_after_s: float | None = None
    duration_ms: float = 0.0
    has_effects: bool = True


class Deliver(Protocol):
    """Carries out one delivery, outside any transaction. May be called again with the same id: after a crash, nobody
    knows whether the attempt before took effect."""

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Run the handler. What it raises counts as `retry`."""
        ...
