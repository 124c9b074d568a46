"""Tenants take turns. Pure: which tenants come next, and how many deliveries each may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["shares"]


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
