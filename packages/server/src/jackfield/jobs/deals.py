"""How new events become deliveries, and which of them this node begins at once. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from datetime import datetime

import msgspec

from jackfield import ids
from jackfield.jobs.interfaces import Subscription

__all__ = ["Candidate", "NewEvent", "candidates", "deal"]


class NewEvent(msgspec.Struct, gc=False):
    """An event of which no deliveries have been made.

    Attributes:
        payload: JSON; None when it is long, and is to be asked for.
    """

    position: int
    id: str
    tenant_id: str
    name: str
    payload: str | None
    source: str
    created_at: datetime
    cause: str | None


class Candidate(msgspec.Struct, gc=False):
    """A delivery to be made.

    Attributes:
        place: Where it will stand, as in `models.Delivery`.
        has_begun: It is the first that this node runs of its order, or stands in none.
    """

    id: str
    event: NewEvent
    subscription: Subscription
    place: str = "blocked"
    has_begun: bool = False


def candidates(
    events: Sequence[NewEvent], subscriptions: Mapping[tuple[str, str], Sequence[Subscription]]
) -> list[Candidate]:
    """One for each event and handler, in the order of the events."""
    found: list[tuple[NewEvent, Subscription]] = []
    for event in events:
        wanted = subscriptions.get((event.tenant_id, event.name), ())
        if len(wanted) > 1:
            # Once per handler, whatever the subscribers say: no index refuses a second row.
            wanted = {(each.installation_id, each.handler): each for each in wanted}.values()
        found += [(event, subscription) for subscription in wanted]
    return [Candidate(id, *each) for id, each in zip(ids.new_ids("dlv", len(found)), found, strict=True)]


def deal(
    rows: Sequence[Candidate],
    busy: Collection[str],
    paces: Mapping[str, int],
    pace: int,
    free: int,
    running: MutableMapping[str, int],
    limit: int,
) -> None:
    """Say of each where it stands: what this node begins now is `running`.

    Args:
        busy: Installations with ordered deliveries before these.
        paces: How many of an installation's ordered deliveries are begun at a time; `pace` of one that is not there.
        free: Slots of this node; an installation's ordered deliveries share one.
        running: Slots that each tenant has; grows by what is dealt.
        limit: Slots that one tenant may have at most.
    """
    left: dict[str, int] = {}
    """How many more of an order may follow; none where it is for others, or for later."""
    for row in rows:
        subscription = row.subscription
        lane = subscription.installation_id
        if subscription.ordered:
            if lane in busy:
                continue
            if lane in left:
                if left[lane] > 0:
                    left[lane] -= 1
                    row.place = "running"
                continue
        tenant_id = row.event.tenant_id
        has_slot = free > 0 and running.get(tenant_id, 0) < limit
        if has_slot:
            free -= 1
            running[tenant_id] = running.get(tenant_id, 0) + 1
            row.has_begun = True
        row.place = "running" if has_slot else "ready"
        if subscription.ordered:
            left[lane] = paces.get(lane, pace) - 1 if has_slot else 0
