"""Schedules fire when they are due: once, whatever nodes and clocks do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import pytest
from sqlalchemy import select

from jackfield.db import Database
from jackfield.jobs import Dispatcher, OutboxEvent
from jackfield.jobs.errors import ScheduleMissingError, SchedulePausedError
from jackfield.jobs.schedules import (
    Declared,
    Firing,
    Schedules,
    purge_schedules,
    rest_schedules,
    schedule_inventory,
    sync_schedules,
)
from tests.server.conftest import ManualClock, until
from tests.server.jobs.helpers import Handler, Known, deliveries, states

HOURLY = Declared("tidy", "tidy_up", "0 * * * *")


@pytest.fixture
def database(either_database: Database) -> Database:
    return either_database


@pytest.fixture
def schedules(database: Database, clock: ManualClock) -> Schedules:
    return Schedules(database, clock)


async def declare(database: Database, clock: ManualClock, *declared: Declared, installation: str = "inst_1") -> None:
    async with database.write("acme") as session:
        await sync_schedules(session, "acme", installation, declared, clock.now())


async def fire(schedules: Schedules) -> None:
    while await schedules.fire_due():
        pass


async def fired(database: Database) -> list[Firing]:
    async with database.read(None) as session:
        rows = await session.scalars(select(OutboxEvent).order_by(OutboxEvent.position))
        return [msgspec.json.decode(row.payload, type=Firing) for row in rows]


async def due(database: Database) -> list[str]:
    return [firing.due_at[11:16] for firing in await fired(database)]


def catching_up(catch_up: Literal["once", "skip"], cron: str = "0 * * * *") -> Declared:
    return Declared("tidy", "tidy_up", cron, catch_up=catch_up)


async def end_all(database: Database, clock: ManualClock) -> list[str]:
    handler = Handler()
    await Dispatcher(database, Known(), handler, clock).drain()
    return [delivery.event for delivery in handler.begun]


async def test_it_fires_at_its_time_and_its_handler_is_delivered_to(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY)
    clock.advance(3599)
    await fire(schedules)
    assert await fired(database) == []
    clock.advance(1)
    await fire(schedules)
    await fire(schedules)
    assert await due(database) == ["13:00"]
    handler = Handler()
    await Dispatcher(database, Known(), handler, clock).drain()
    (begun,) = handler.begun
    assert (begun.event, begun.handler, begun.installation_id) == ("schedule:tidy", "tidy_up", "inst_1")
    assert begun.payload["name"] == "tidy"


async def test_many_nodes_fire_each_time_once(database: Database, clock: ManualClock) -> None:
    await declare(database, clock, *(Declared(f"every_{n}", "run", f"{n} * * * *", catch_up="once") for n in range(30)))
    nodes = [Schedules(database, clock) for _ in range(3)]
    for _ in range(4):
        clock.advance(900)
        await asyncio.gather(*(fire(node) for node in nodes))
        await end_all(database, clock)
    found = sorted(row.event for row in await deliveries(database))
    assert found == sorted(f"schedule:every_{n}" for n in range(30))


@pytest.mark.parametrize(("catch_up", "times", "missed"), [("once", ["15:00"], 2), ("skip", [], None)])
async def test_what_was_missed_is_caught_up_once_or_left(
    database: Database, schedules: Schedules, clock: ManualClock,
    catch_up: Literal["once", "skip"], times: list[str], missed: int | None,
) -> None:  # fmt: skip
    await declare(database, clock, catching_up(catch_up))
    clock.advance(3 * 3600 + 1200)
    await fire(schedules)
    assert await due(database) == times
    if missed is not None:
        assert [firing.missed for firing in await fired(database)] == [missed]
    (row,) = await schedules.list("acme", "inst_1")
    assert row.skipped == (0 if catch_up == "once" else 3)
    assert row.next_at == datetime(2026, 3, 1, 16, tzinfo=UTC)


async def test_a_clock_that_is_set_back_fires_nothing_again(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY)
    for hours in (1, 1, -2, 1, 1):
        clock.advance(hours * 3600)
        await fire(schedules)
        await end_all(database, clock)
    assert await due(database) == ["13:00", "14:00"]
    clock.advance(3600)
    await fire(schedules)
    assert await due(database) == ["13:00", "14:00", "15:00"]


async def test_two_runs_of_one_schedule_never_meet(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY)
    for _ in range(3):
        clock.advance(3600)
        await fire(schedules)
    assert await due(database) == ["13:00"]
    (row,) = await schedules.list("acme", "inst_1")
    assert row.skipped == 2
    await end_all(database, clock)
    clock.advance(3600)
    await fire(schedules)
    assert await due(database) == ["13:00", "16:00"]


async def test_paused_it_rests_and_goes_on_from_the_next_time(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY)
    row = await schedules.pause("acme", "inst_1", "tidy", "ann")
    assert (row.paused_by, row.next_at) == ("ann", None)
    clock.advance(5 * 3600)
    await fire(schedules)
    await declare(database, clock, HOURLY)
    assert await fired(database) == []
    await schedules.resume("acme", "inst_1", "tidy")
    clock.advance(3600)
    await fire(schedules)
    assert await due(database) == ["18:00"]


async def test_it_runs_when_somebody_asks(database: Database, schedules: Schedules, clock: ManualClock) -> None:
    await declare(database, clock, HOURLY)
    await schedules.pause("acme", "inst_1", "tidy", "ann")
    delivery = await schedules.run_now("acme", "inst_1", "tidy")
    assert [row.id for row in await deliveries(database)] == [delivery]
    assert [firing.is_manual for firing in await fired(database)] == [True]


async def test_what_rests_does_not_fire_and_cannot_be_run(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY)
    async with database.write("acme") as session:
        await rest_schedules(session, "inst_1")
    clock.advance(7200)
    await fire(schedules)
    assert await fired(database) == []
    with pytest.raises(SchedulePausedError):
        await schedules.run_now("acme", "inst_1", "tidy")
    await declare(database, clock, HOURLY)
    (row,) = await schedules.list("acme", "inst_1")
    assert row.next_at == datetime(2026, 3, 1, 15, tzinfo=UTC)


async def test_an_update_changes_adds_and_removes_schedules(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY, Declared("old", "gone", "0 0 * * *"))
    await declare(database, clock, Declared("tidy", "other", "30 * * * *"), Declared("new", "born", "0 1 * * *"))
    rows = await schedules.list("acme", "inst_1")
    assert [(row.name, row.handler, row.cron) for row in rows] == [
        ("new", "born", "0 1 * * *"), ("tidy", "other", "30 * * * *"),
    ]  # fmt: skip
    assert rows[1].next_at == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


async def test_jitter_delays_it_by_the_same_time_always(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    for number in range(40):
        spread = Declared("tidy", "tidy_up", "0 * * * *", jitter_s=600, catch_up="once")
        await declare(database, clock, spread, installation=f"inst_{number}")
    clock.advance(3600 + 60)
    await fire(schedules)
    early = len(await fired(database))
    clock.advance(600)
    await fire(schedules)
    assert early < len(await fired(database)) == 40


async def test_another_tenants_schedules_are_as_unknown_as_none(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY)
    assert await schedules.list("globex", "inst_1") == []
    for attempt in (
        schedules.pause("globex", "inst_1", "tidy", "eve"), schedules.resume("globex", "inst_1", "tidy"),
        schedules.run_now("globex", "inst_1", "tidy"), schedules.run_now("acme", "inst_1", "nothing"),
    ):  # fmt: skip
        with pytest.raises(ScheduleMissingError):
            await attempt


async def test_a_worker_wakes_for_the_next_time_and_for_what_is_new(database: Database) -> None:
    schedules = Schedules(database)
    task = asyncio.create_task(schedules.run())
    try:
        now = datetime.now(UTC)
        async with database.write("acme") as session:
            await sync_schedules(session, "acme", "inst_1", [catching_up("once")], now - timedelta(hours=1))

        async def has_fired() -> bool:
            return bool(await states(database))

        await until(has_fired)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        schedules.close()


async def test_it_counts_and_goes_with_its_installation(
    database: Database, schedules: Schedules, clock: ManualClock
) -> None:
    await declare(database, clock, HOURLY)
    async with database.write("acme") as session:
        assert await schedule_inventory(session, "inst_1") == 1
        await purge_schedules(session, "inst_1")
    assert await schedules.list("acme", "inst_1") == []
