"""The delivery log, replay, and what is done when an installation goes."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from jackfield.db import Database
from jackfield.http import CursorInvalidError, PageRequest
from jackfield.jobs import (
    Deliveries,
    DeliveryMissingError,
    DeliveryOpenError,
    DeliveryOut,
    DeliveryResult,
    DeliverySnapshot,
    DeliveryStateError,
    Dispatcher,
    DispatchSettings,
    OutboxEvent,
    RetryPolicy,
    Subscription,
    inventory,
    purge,
    skip_open,
)
from tests.server.conftest import ManualClock, until
from tests.server.jobs.helpers import DONE, Handler, Known, deliveries, emit, states

ONE = Subscription("inst_1", "h", max_attempts=2)
STEADY = DispatchSettings(retry=RetryPolicy(base_s=10, factor=1, jitter=0))


@pytest.fixture
def log(database: Database) -> Deliveries:
    return Deliveries(database)


async def test_the_log_pages_from_the_latest(database: Database, log: Deliveries) -> None:
    await emit(database, *range(7))
    await Dispatcher(database, Known(ONE), Handler()).drain()
    first = await log.list("acme", "inst_1", PageRequest(limit=4))
    second = await log.list("acme", "inst_1", PageRequest(first.next_cursor, 4))
    sequences = [row.sequence for row in first.items + second.items]
    assert (len(sequences), second.next_cursor) == (7, None)
    assert sequences == sorted(sequences, reverse=True)
    shown = DeliveryOut.model_validate(first.items[0])
    assert (shown.event, shown.handler, shown.state, shown.attempt) == ("sale.created", "h", "done", 1)
    with pytest.raises(CursorInvalidError):
        await log.list("acme", "inst_1", PageRequest("x"))


async def test_the_log_filters_and_counts_by_state(database: Database, log: Deliveries) -> None:
    async def some(delivery: DeliverySnapshot) -> DeliveryResult:
        return (DONE, DeliveryResult("skipped"), DeliveryResult("dead", "gone"))[delivery.payload % 3]

    await emit(database, *range(6))
    await Dispatcher(database, Known(ONE), Handler(some)).drain()
    assert await log.counts("acme", "inst_1") == {"pending": 0, "running": 0, "done": 2, "dead": 2, "skipped": 2}
    assert len((await log.list("acme", "inst_1", PageRequest(), "dead")).items) == 2
    with pytest.raises(DeliveryStateError):
        await log.list("acme", "inst_1", PageRequest(), "lost")


async def test_one_tenant_does_not_see_or_replay_anothers(database: Database, log: Deliveries) -> None:
    await emit(database, 1)
    await Dispatcher(database, Known(ONE), Handler()).drain()
    (row,) = await deliveries(database)
    assert (await log.list("other", "inst_1", PageRequest())).items == []
    assert sum((await log.counts("other", "inst_1")).values()) == 0
    for verb in (log.get, log.replay):
        with pytest.raises(DeliveryMissingError):
            await verb("other", row.id)
    assert (await log.get("acme", row.id)).id == row.id


async def test_a_dead_letter_is_replayed_with_a_full_number_of_attempts(
    database: Database, log: Deliveries, clock: ManualClock
) -> None:
    is_broken = True

    async def act(_delivery: DeliverySnapshot) -> DeliveryResult:
        return DeliveryResult("retry", "plugin-error", "boom") if is_broken else DONE

    handler = Handler(act)
    dispatcher = Dispatcher(database, Known(ONE), handler, clock, STEADY)
    await emit(database, 1)
    for _ in range(3):
        await dispatcher.drain()
        clock.advance(10)
    (dead,) = await deliveries(database)
    assert (dead.state, dead.failures) == ("dead", 2)

    await log.replay("acme", dead.id)
    await dispatcher.drain()
    (row,) = await deliveries(database)
    assert (row.state, row.failures, row.attempt) == ("pending", 1, 3)
    is_broken = False
    clock.advance(10)
    await dispatcher.drain()
    (row,) = await deliveries(database)
    assert (row.state, row.attempt, row.error_code) == ("done", 4, None)
    assert len({each.id for each in handler.begun}) == 1


async def test_a_replay_wakes_the_dispatcher_and_may_be_of_what_is_done(database: Database, log: Deliveries) -> None:
    handler = Handler()
    dispatcher = Dispatcher(database, Known(ONE), handler, settings=DispatchSettings(poll_s=3600))
    await emit(database, 1)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await dispatcher.drain()
        (row,) = await deliveries(database)
        handler.has_begun.clear()
        await log.replay("acme", row.id)
        await handler.has_begun.wait()
        await dispatcher.stop()
    assert [each.attempt for each in handler.begun] == [1, 2]


async def test_what_is_open_cannot_be_replayed(database: Database, log: Deliveries, clock: ManualClock) -> None:
    async def later(_delivery: DeliverySnapshot) -> DeliveryResult:
        return DeliveryResult("retry")

    await emit(database, 1)
    await Dispatcher(database, Known(ONE), Handler(later), clock, STEADY).drain()
    (row,) = await deliveries(database)
    with pytest.raises(DeliveryOpenError):
        await log.replay("acme", row.id)


async def test_a_replay_never_makes_two_run_at_once(database: Database, log: Deliveries) -> None:
    gate = asyncio.Event()

    async def act(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.payload == 2 and delivery.attempt == 1:
            await gate.wait()
        return DONE

    handler = Handler(act)
    dispatcher = Dispatcher(database, Known(ONE), handler)
    await emit(database, 1)
    await dispatcher.drain()
    (first,) = await deliveries(database)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await dispatcher.drain()
        handler.has_begun.clear()
        await emit(database, 2, 3)
        await handler.has_begun.wait()
        await log.replay("acme", first.id)
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert handler.most_at_once == 1
    assert handler.payloads() == [1, 2, 1, 3]  # its old place: before what came later


async def test_an_installation_that_goes_takes_its_open_deliveries_along(
    database: Database, clock: ManualClock
) -> None:
    async def later(_delivery: DeliverySnapshot) -> DeliveryResult:
        return DeliveryResult("retry")

    handler = Handler(later)
    dispatcher = Dispatcher(database, Known(ONE, Subscription("inst_2", "h")), handler, clock, STEADY)
    await emit(database, 1, 2)
    await dispatcher.drain()
    async with database.write("other") as session:
        assert await skip_open(session, "inst_1") == 0
    async with database.write("acme") as session:
        assert await skip_open(session, "inst_1") == 2
    clock.advance(10)
    handler.act = None
    await dispatcher.drain()
    assert handler.payloads("inst_1") == [1]
    assert handler.payloads("inst_2") == [1, 1, 2]
    assert sorted(await states(database)) == ["done", "done", "skipped", "skipped"]


async def test_a_delivery_that_runs_while_it_is_skipped_may_end(database: Database) -> None:
    gate = asyncio.Event()

    async def wait(_delivery: DeliverySnapshot) -> DeliveryResult:
        await gate.wait()
        return DONE

    handler = Handler(wait)
    dispatcher = Dispatcher(database, Known(ONE), handler)
    await emit(database, 1, 2)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await handler.has_begun.wait()
        async with database.write("acme") as session:
            await skip_open(session, "inst_1")
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert await states(database) == ["done", "skipped"]
    assert handler.payloads() == [1]


async def test_an_installation_can_be_purged_without_a_trace_even_while_it_runs(database: Database) -> None:
    gate = asyncio.Event()

    async def wait(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.installation_id == "inst_1":
            await gate.wait()
        return DONE

    async def count_events() -> int:
        async with database.read(None) as session:
            return await session.scalar(select(func.count()).select_from(OutboxEvent)) or 0

    async def other_was_served() -> bool:
        return bool(handler.payloads("inst_2"))

    handler = Handler(wait)
    known = Known(ONE)
    dispatcher = Dispatcher(database, known, handler)
    await emit(database, 1, 2)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await handler.has_begun.wait()
        known.subscriptions = (ONE, Subscription("inst_2", "h"))
        await emit(database, 3)
        await until(other_was_served)
        async with database.write("acme") as session:
            assert await inventory(session, "inst_1") == {"deliveries": 3, "schedules": 0}
            await purge(session, "inst_1")
            assert await inventory(session, "inst_1") == {"deliveries": 0, "schedules": 0}
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert await states(database) == ["done"]
    assert await count_events() == 1  # the one that went to the other installation too
