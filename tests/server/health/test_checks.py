"""Plugins are asked how they are when there is a reason to, by one node, and what they say is kept."""

from __future__ import annotations

import asyncio

import pytest

from jackfield.health import Health, Watch
from jackfield.settings import HealthSettings
from tests.server.health.house import House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def asked(house: House, after_s: float = 301.0) -> None:
    """Time passes, and the node looks whether there is anybody to ask."""
    house.clock.advance(after_s)
    await house.platform.health.checks.ask_due()


async def test_what_has_run_is_asked_within_its_interval_and_what_it_says_is_kept(house: House) -> None:
    assert (await house.call("checks"))["output"] == 0
    await asked(house, 100)
    assert (await house.call("checks"))["output"] == 0, "not at once"
    await asked(house)
    assert (await house.call("checks", sick=True))["output"] == 1
    since = house.clock.now()
    await asked(house)
    house.clock.advance(1)
    seen = (await house.ask("GET", "/fragile")).json()["health"]
    assert (seen["status"], seen["message"], seen["consecutive_failures"]) == (
        "failing", "the bank does not answer", 1,
    )  # fmt: skip
    await asked(house, 400)
    listed = (await house.ask("GET", "")).json()["items"][0]["health"]
    assert (listed["consecutive_failures"], listed["since"]) == (2, seen["since"]), "one that was bad is asked again"
    assert seen["since"] > since.isoformat()
    await house.call("checks", sick=False)
    await asked(house, 400)
    well = await house.health(check=False)
    assert (well["status"], well["consecutive_failures"], well["duration_ms"]) == ("ok", 0, None)
    assert well["since"] > seen["since"]


async def test_what_sleeps_is_left_asleep_and_asked_once_in_a_long_while(house: House) -> None:
    for _ in range(10):
        await asked(house, 1000)
    alive = house.platform.isolates.stats().spawned
    assert (await house.health(house.rival, check=False))["checked_at"] is None
    await asked(house, 86_400)
    assert house.platform.isolates.stats().spawned > alive
    assert (await house.health(house.rival, check=False))["status"] == "ok"
    assert (await house.call("checks", house.rival))["output"] == 1


async def test_of_several_nodes_one_asks(house: House) -> None:
    platform = house.platform
    installation = (await platform.active.get(house.rival)).by_slug["fragile"]
    nodes: list[Health] = []
    for _ in range(3):
        watch = Watch(HealthSettings(), house.clock)
        watch.note(installation.id, house.rival, 300)
        nodes.append(
            Health(
                database=platform.database, clock=house.clock, watch=watch, lifecycle=platform.lifecycle,
                active=platform.active, runner=platform.invoker, settings=HealthSettings(),
                flush_records=platform.recorder.flush, is_busy=lambda: False,
            )
        )  # fmt: skip
    house.clock.advance(301)
    await asyncio.gather(*(one.checks.ask_due() for one in nodes))
    assert (await house.call("checks", house.rival))["output"] == 1


async def test_somebody_who_looks_has_it_asked_and_kept(house: House) -> None:
    await house.call("checks", sick=True)
    told = await house.health()
    assert (told["status"], told["message"]) == ("failing", "the bank does not answer")
    assert told["duration_ms"] > 0
    assert (await house.ask("GET", "/fragile")).json()["health"]["status"] == "failing"
    assert (await house.ask("POST", "/fragile/deactivate")).status_code == 200
    assert (await house.health())["status"] == "inactive"


async def test_nothing_is_kept_of_one_that_is_gone(house: House) -> None:
    await house.health()
    await house.ask("DELETE", "/fragile")
    await asked(house)
    assert (await house.ask("GET", "/fragile/health")).status_code == 404
    assert (await house.ask("GET", "")).json()["items"] == []
