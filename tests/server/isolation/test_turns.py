"""Whose turn it is: values in, a tenant out."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from jackfield.isolation.scheduling import IdleShelf, Place, Tenant, Turns, Waiter


def waiter() -> Waiter:
    return Waiter(cast(Any, None), asyncio.get_running_loop().create_future())


def serve(turns: Turns, cost_ns: dict[str, float], rounds: int) -> list[str]:
    """Serve everybody in turn; who has been served waits again."""
    served: list[str] = []
    for _ in range(rounds):
        tenant = next(turns.in_order())
        place = min(tenant.waiting, key=lambda place: place.clock)
        turns.leave(place, place.queue[0])
        turns.served(tenant)
        turns.charge(place, cost_ns[tenant.id])
        turns.join(place, waiter())
        served.append(tenant.id)
    return served


async def test_tenants_get_equal_time_and_not_equal_calls() -> None:
    turns = Turns()
    for name in ("quick", "slow"):
        turns.join(Place(f"{name}-1", Tenant(name)), waiter())
    served = serve(turns, {"quick": 1e6, "slow": 9e6}, 100)
    assert served.count("quick") == pytest.approx(90, abs=2)


async def test_a_crowd_of_installations_is_one_tenant() -> None:
    turns = Turns()
    crowd = Tenant("crowd")
    for number in range(10):
        turns.join(Place(f"crowd-{number}", crowd), waiter())
    turns.join(Place("single-1", Tenant("single")), waiter())
    served = serve(turns, {"crowd": 1e6, "single": 1e6}, 100)
    assert served.count("single") == pytest.approx(50, abs=2)


async def test_who_has_been_away_has_saved_nothing() -> None:
    turns = Turns()
    turns.join(Place("busy-1", Tenant("busy")), waiter())
    serve(turns, {"busy": 1e6}, 1000)
    turns.join(Place("back-1", Tenant("back")), waiter())
    served = serve(turns, {"busy": 1e6, "back": 1e6}, 100)
    assert served.count("back") == pytest.approx(50, abs=2)


async def test_who_has_burnt_for_hours_alone_is_not_shut_out() -> None:
    turns = Turns()
    burner = Place("burner-1", Tenant("burner"))
    turns.charge(burner, 3600e9)
    turns.join(burner, waiter())
    turns.join(Place("other-1", Tenant("other")), waiter())
    served = serve(turns, {"burner": 1e8, "other": 1e8}, 100)
    assert served.count("burner") >= 35


async def test_who_leaves_leaves_nothing() -> None:
    turns, place = Turns(), Place("a-1", Tenant("a"))
    waiters = [waiter() for _ in range(3)]
    for one in waiters:
        turns.join(place, one)
    for one in reversed(waiters):
        turns.leave(place, one)
        turns.leave(place, one)
    assert turns.count == place.tenant.waiters == 0
    assert not turns.waiting
    assert not place.tenant.waiting


def test_room_is_made_by_the_tenant_that_has_most_and_by_its_least_used_first() -> None:
    shelf = IdleShelf()
    rich, poor = Tenant("rich"), Tenant("poor")
    isolates: list[Any] = [object() for _ in range(5)]
    shelf.add(poor, isolates[0])
    for isolate in isolates[1:]:
        shelf.add(rich, isolate)
    gone: list[Any] = []
    while (isolate := shelf.first_to_go()) is not None:
        gone.append(isolate)
        shelf.remove(rich if isolate in rich.idle else poor, isolate)
    assert gone == [isolates[1], isolates[2], isolates[3], isolates[0], isolates[4]]
    assert shelf.count == 0
    assert list(shelf) == []
