"""Tenants take turns. Pure: which tenants come next, and how many deliveries each may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from jackfield.jobs.deals import NewEvent

__all__ = ["of_few", "shares"]


def of_few(events: Sequence[NewEvent], each: int) -> list[NewEvent]:
    """Events of tenants with few, where others have more than their share; none where all are alike.

    Args:
        each: So many of each tenant's were looked for.
    """
    counts = Counter(event.tenant_id for event in events)
    few = {tenant for tenant, count in counts.items() if count < each}
    return [event for event in events if event.tenant_id in few] if len(few) < len(counts) else []


def shares(tenants: Sequence[str], free: int, running: Mapping[str, int], limit: int) -> dict[str, int]:
    """Deal out free slots, one by one, in the order of the tenants.

    Args:
        tenants: Those with work, whose turn it is first comes first.
        running: Slots that each has already.
        limit: Slots that one tenant may have at most, so that there is one left for another who comes later.

    Returns:
        Slots for each tenant that gets any.
    """
    dealt: dict[str, int] = {}
    while free > 0:
        takers = [tenant for tenant in tenants if running.get(tenant, 0) + dealt.get(tenant, 0) < limit][:free]
        if not takers:
            break
        for tenant in takers:
            dealt[tenant] = dealt.get(tenant, 0) + 1
        free -= len(takers)
    return dealt
