"""Events reach their subscribers at least once, in order per installation, tenants in turns."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import Engine, text
from sqlalchemy import event as sa_event

from jackfield.db import Database
from jackfield.jobs import (
    Delivery,
    DeliveryResult,
    DeliverySnapshot,
    Dispatcher,
    DispatchSettings,
    OutboxEvent,
    RetryPolicy,
    Subscription,
    outbox,
)
from tests.server.conftest import ManualClock, until
from tests.server.jobs.helpers import DONE, Handler, Known, deliveries, emit, states

ONE = Subscription("inst_1", "award")
STEADY = DispatchSettings(retry=RetryPolicy(base_s=10, factor=1, jitter=0))


@asynccontextmanager
async def listening(listener: Callable[..., object]) -> AsyncGenerator[None]:
    """Statements of all engines go through the listener: the dispatcher has one of its own."""
    sa_event.listen(Engine, "before_cursor_execute", listener, retval=True)
    try:
        yield
    finally:
        sa_event.remove(Engine, "before_cursor_execute", listener)


async def test_each_subscriber_gets_the_event_once(database: Database) -> None:
    handler = Handler()
    known = Known(ONE, Subscription("inst_1", "log"), Subscription("inst_2", "award", ordered=False))
    (event_id,) = await emit(database, {"n": 1})
    await Dispatcher(database, known, handler).drain()
    assert sorted((each.installation_id, each.handler) for each in handler.begun) == [
        ("inst_1", "award"), ("inst_1", "log"), ("inst_2", "award"),
    ]  # fmt: skip
    first = handler.begun[0]
    assert (first.event_id, first.event, first.tenant_id, first.attempt, first.payload, first.source) == (
        event_id, "sale.created", "acme", 1, {"n": 1}, "host",
    )  # fmt: skip
    assert len({each.id for each in handler.begun}) == 3
    assert await states(database) == ["done"] * 3
    await Dispatcher(database, known, handler).drain()
    assert len(handler.begun) == 3


async def test_an_event_without_subscribers_is_done_with(database: Database) -> None:
    handler = Handler()
    dispatcher = Dispatcher(database, Known(), handler)
    await emit(database, {})
    await dispatcher.drain()
    assert (handler.begun, await deliveries(database)) == ([], [])


async def test_a_handler_that_is_named_twice_gets_the_event_once(database: Database) -> None:
    handler = Handler()
    await emit(database, {})
    await Dispatcher(database, Known(ONE, Subscription("inst_1", "award", ordered=False)), handler).drain()
    assert len(handler.begun) == 1


async def test_ordered_deliveries_of_an_installation_run_one_by_one_in_order_of_commit(database: Database) -> None:
    async def slowly(delivery: DeliverySnapshot) -> DeliveryResult:
        for _ in range(delivery.payload % 3):
            await asyncio.sleep(0)
        return DONE

    handler = Handler(slowly)
    for n in range(0, 15, 3):
        await emit(database, n, n + 1, n + 2)
    await Dispatcher(database, Known(ONE), handler).drain()
    assert handler.payloads() == list(range(15))
    assert handler.most_at_once == 1


async def test_all_ordered_handlers_of_an_installation_stand_in_one_queue(database: Database) -> None:
    handler = Handler()
    await emit(database, 1, 2)
    await Dispatcher(database, Known(Subscription("inst_1", "a"), Subscription("inst_1", "b")), handler).drain()
    assert [(each.payload, each.handler) for each in handler.begun] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    assert handler.most_at_once == 1


async def test_installations_do_not_wait_for_each_other(database: Database) -> None:
    gate = asyncio.Event()

    async def first_waits(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.installation_id == "inst_1":
            await gate.wait()
        return DONE

    handler = Handler(first_waits)
    dispatcher = Dispatcher(database, Known(ONE, Subscription("inst_2", "award")), handler)
    await emit(database, 1, 2, 3)

    async def second_is_through() -> bool:
        return handler.payloads("inst_2") == [1, 2, 3]

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await until(second_is_through)
        assert handler.payloads("inst_1") == [1]
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert handler.payloads("inst_1") == [1, 2, 3]


async def test_unordered_deliveries_run_side_by_side_up_to_the_limit(database: Database) -> None:
    gate = asyncio.Event()

    async def wait(_delivery: DeliverySnapshot) -> DeliveryResult:
        await gate.wait()
        return DONE

    handler = Handler(wait)
    dispatcher = Dispatcher(
        database,
        Known(Subscription("inst_1", "h", ordered=False)),
        handler,
        settings=DispatchSettings(concurrency=5, per_tenant=5),
    )
    await emit(database, *range(12))

    async def is_full() -> bool:
        return len(handler.running) == 5

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await until(is_full)
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert handler.most_at_once == 5
    assert sorted(handler.payloads()) == list(range(12))


async def test_what_was_claimed_ahead_never_runs_beyond_the_limit_and_is_left_to_others_when_it_has_to_wait(
    database: Database, clock: ManualClock
) -> None:
    gate = asyncio.Event()

    async def slow_at_last(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.payload >= 6:
            await gate.wait()
        return DONE

    handler = Handler(slow_at_last)
    known = Known(Subscription("inst_{tenant}", "h"))
    settings = DispatchSettings(concurrency=2, per_tenant=2)
    dispatcher = Dispatcher(database, known, handler, clock, settings)
    tenants = [f"t{number}" for number in range(8)]
    for tenant in tenants:
        await emit(database, *range(8), tenant=tenant)

    async def was_left() -> bool:
        return any(row.error_code == "delivery-waited" for row in await deliveries(database))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await until(was_left)
        gate.set()
        for _ in range(2):
            clock.advance(60)
            await dispatcher.drain()
        await dispatcher.stop()
    assert handler.most_at_once == 2
    assert set(await states(database)) == {"done"}
    for tenant in tenants:
        assert handler.payloads(f"inst_{tenant}") == list(range(8))


async def test_a_failed_delivery_is_tried_again_when_it_is_due_and_holds_up_those_behind_it(
    database: Database, clock: ManualClock
) -> None:
    async def fail_once(delivery: DeliverySnapshot) -> DeliveryResult:
        is_first = (delivery.payload, delivery.attempt) == (1, 1)
        return DeliveryResult("retry", "plugin-error", "boom") if is_first else DONE

    handler = Handler(fail_once)
    free = Subscription("inst_1", "free", ordered=False)
    dispatcher = Dispatcher(database, Known(ONE, free), handler, clock, STEADY)
    await emit(database, 1, 2)
    await dispatcher.drain()
    ordered = [(each.payload, each.attempt) for each in handler.begun if each.ordered]
    assert ordered == [(1, 1)]
    waiting = next(row for row in await deliveries(database) if row.ordered)
    assert (waiting.state, waiting.error_code, waiting.error_message) == ("pending", "plugin-error", "boom")
    assert waiting.next_attempt_at == clock.now() + timedelta(seconds=10)
    # What is not ordered stands in no queue: its own failure is as little in the way of others.
    assert sorted(each.payload for each in handler.begun if not each.ordered and each.attempt == 1) == [1, 2]

    clock.advance(9.9)
    await dispatcher.drain()
    assert len([each for each in handler.begun if each.ordered]) == 1
    clock.advance(0.1)
    await dispatcher.drain()
    ordered = [(each.payload, each.attempt) for each in handler.begun if each.ordered]
    assert ordered == [(1, 1), (1, 2), (2, 1)]
    assert len({each.id for each in handler.begun if each.ordered and each.payload == 1}) == 1
    assert set(await states(database)) == {"done"}


async def test_after_too_many_failures_a_delivery_is_dead_and_the_next_one_goes_on(
    database: Database, clock: ManualClock
) -> None:
    async def fail(delivery: DeliverySnapshot) -> DeliveryResult:
        return DeliveryResult("retry", "plugin-error", "boom") if delivery.payload == 1 else DONE

    handler = Handler(fail)
    dispatcher = Dispatcher(database, Known(Subscription("inst_1", "h", max_attempts=3)), handler, clock, STEADY)
    await emit(database, 1, 2)
    for _ in range(5):
        await dispatcher.drain()
        clock.advance(10)
    assert [(each.payload, each.attempt) for each in handler.begun] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    dead, done = await deliveries(database)
    assert (dead.state, dead.failures, dead.error_code, dead.next_attempt_at) == ("dead", 3, "plugin-error", None)
    assert done.state == "done"


async def test_a_handler_that_raises_or_hangs_has_failed(database: Database) -> None:
    async def misbehave(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.payload == "raise":
            raise ZeroDivisionError("boom")
        await asyncio.Event().wait()
        return DONE

    settings = DispatchSettings(give_up_s=0.05)
    await emit(database, "raise", "hang")
    known = Known(Subscription("inst_1", "h", ordered=False))
    await Dispatcher(database, known, Handler(misbehave), settings=settings).drain()
    raised, hung = await deliveries(database)
    assert (raised.state, raised.error_code, raised.error_message) == ("pending", "delivery-failed", "boom")
    assert (hung.state, hung.error_code) == ("pending", "delivery-timeout")


async def test_odd_text_in_an_error_holds_nothing_up(database: Database) -> None:
    async def fail(_delivery: DeliverySnapshot) -> DeliveryResult:
        return DeliveryResult("dead", "c" * 500, "nul \0, half a pair \ud800, " + "long" * 5000)

    await emit(database, 1)
    await Dispatcher(database, Known(ONE), Handler(fail)).drain()
    (row,) = await deliveries(database)
    assert row.state == "dead"
    assert row.error_message is not None
    assert row.error_message.startswith("nul \ufffd, half a pair ?, long")
    assert (len(row.error_message), len(row.error_code or "")) == (4096, 128)


async def test_a_payload_that_cannot_be_read_harms_its_own_delivery_alone(database: Database) -> None:
    handler = Handler()
    await emit(database, 1, 2, 3)
    async with database.write(None) as session:
        await session.execute(text("UPDATE jf_outbox SET payload = '{' WHERE payload = '2'"))
    await Dispatcher(database, Known(ONE), handler).drain()
    assert handler.payloads() == [1, 3]
    assert [(row.state, row.error_code) for row in await deliveries(database)] == [
        ("done", None), ("dead", "event-payload-invalid"), ("done", None),
    ]  # fmt: skip


async def test_a_tenant_with_many_events_does_not_delay_another(database: Database) -> None:
    handler = Handler()
    known = Known(Subscription("inst_{tenant}", "h", ordered=False))
    settings = DispatchSettings(concurrency=4, per_tenant=2, batch_size=10)
    await emit(database, *range(60), tenant="hot")
    await emit(database, "x", tenant="zen")
    await Dispatcher(database, known, handler, settings=settings).drain()
    order = [each.tenant_id for each in handler.begun]
    assert len(order) == 61
    assert order.index("zen") < 10


async def test_tenants_take_turns(database: Database) -> None:
    handler = Handler()
    known = Known(Subscription("inst_{tenant}", "h", ordered=False))
    settings = DispatchSettings(concurrency=3, per_tenant=1, batch_size=1000)
    for tenant in ("a", "b", "c", "d", "e"):
        await emit(database, *range(8), tenant=tenant)
    await Dispatcher(database, known, handler, settings=settings).drain()
    order = [each.tenant_id for each in handler.begun]
    for tenant in ("a", "b", "c", "d", "e"):
        places = [place for place, name in enumerate(order) if name == tenant]
        gaps = [later - earlier for earlier, later in pairwise(places)]
        assert max(gaps) <= 7, f"{tenant} waited while others ran: {order}"


async def test_one_tenant_never_takes_all_slots(database: Database) -> None:
    gate = asyncio.Event()

    async def wait(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.tenant_id == "hot":
            await gate.wait()
        return DONE

    handler = Handler(wait)
    known = Known(Subscription("inst_{tenant}", "h", ordered=False))
    dispatcher = Dispatcher(database, known, handler, settings=DispatchSettings(concurrency=4, per_tenant=3))
    await emit(database, *range(20), tenant="hot")

    async def is_full() -> bool:
        return len(handler.running) == 3

    async def other_was_served() -> bool:
        return any(each.tenant_id == "zen" for each in handler.begun)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await until(is_full)
        await emit(database, "x", tenant="zen")
        await until(other_was_served)
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert len(handler.begun) == 21


async def test_a_tenant_whose_subscribers_cannot_be_told_waits_alone(database: Database, clock: ManualClock) -> None:
    handler = Handler()
    known = Known(Subscription("inst_{tenant}", "h"))
    known.broken.add("bad")
    dispatcher = Dispatcher(database, known, handler, clock, DispatchSettings(batch_size=5))
    await emit(database, *range(8), tenant="bad")
    await emit(database, 1, tenant="good")
    await dispatcher.drain()
    assert [each.tenant_id for each in handler.begun] == ["good"]
    known.broken.clear()
    clock.advance(5)
    await dispatcher.drain()
    assert handler.payloads("inst_bad") == list(range(8))


async def test_subscribers_are_asked_once_per_kind_of_event_and_batch(database: Database) -> None:
    known = Known(ONE)
    await emit(database, *range(10))
    await emit(database, 1, name="sale.refunded")
    await Dispatcher(database, known, Handler()).drain()
    assert sorted(known.asked) == [("acme", "sale.created"), ("acme", "sale.refunded")]


async def test_what_a_handler_emits_is_delivered_in_the_same_drain(database: Database) -> None:
    async def echo(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.payload < 5:
            await emit(database, delivery.payload + 1)
        return DONE

    handler = Handler(echo)
    await emit(database, 0)
    await Dispatcher(database, Known(ONE), handler).drain()
    assert handler.payloads() == [0, 1, 2, 3, 4, 5]


async def test_stopping_lets_running_deliveries_end_and_begins_no_more(database: Database) -> None:
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
        stopping = tasks.create_task(dispatcher.stop(grace_s=10))
        await asyncio.sleep(0)
        gate.set()
        await stopping
    assert await states(database) == ["done", "pending"]
    await dispatcher.stop()  # again: nothing to do


async def test_what_does_not_end_in_time_is_handed_back_for_another_start(database: Database) -> None:
    gate = asyncio.Event()

    async def wait(_delivery: DeliverySnapshot) -> DeliveryResult:
        await gate.wait()
        return DONE

    handler = Handler(wait)
    dispatcher = Dispatcher(database, Known(ONE), handler, settings=DispatchSettings(has_other_nodes=True))
    await emit(database, 1, 2)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await handler.has_begun.wait()
        await dispatcher.stop(grace_s=0)
    first, _ = await deliveries(database)
    assert (first.state, first.place, first.lease_owner, first.interruptions) == ("pending", "ready", None, 0)
    gate.set()
    await dispatcher.drain()
    assert [(each.payload, each.attempt) for each in handler.begun] == [(1, 1), (1, 2), (2, 1)]


async def test_a_cancelled_run_is_taken_up_by_the_next(database: Database) -> None:
    handler = Handler(lambda _: asyncio.Event().wait())  # type: ignore[arg-type, return-value]  # never returns
    dispatcher = Dispatcher(database, Known(ONE), handler)
    await emit(database, 1)
    running = asyncio.create_task(dispatcher.run())
    await handler.has_begun.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await states(database) == ["running"]
    handler.act = None
    await dispatcher.drain()
    assert [each.attempt for each in handler.begun] == [1, 2]
    assert await states(database) == ["done"]


async def test_one_dispatcher_runs_once(database: Database) -> None:
    dispatcher = Dispatcher(database, Known(), Handler())
    running = asyncio.create_task(dispatcher.run())
    await dispatcher.drain() if running.done() else await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await dispatcher.run()
    await dispatcher.stop()
    await running


async def test_another_nodes_delivery_is_taken_over_only_when_its_lease_has_expired(
    database: Database, clock: ManualClock
) -> None:
    settings = DispatchSettings(has_other_nodes=True, lease_s=60, poll_s=0.01)
    stuck = Handler(lambda _: asyncio.Event().wait())  # type: ignore[arg-type, return-value]  # never returns
    dying = asyncio.create_task(Dispatcher(database, Known(ONE), stuck, clock, settings).run())
    await emit(database, 1, 2)
    await stuck.has_begun.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)

    handler = Handler()
    other = Dispatcher(database, Known(ONE), handler, clock, settings)
    await other.drain()
    assert handler.begun == []
    clock.advance(61)
    await other.drain()
    assert [(each.payload, each.attempt) for each in handler.begun] == [(1, 2), (2, 1)]


async def test_a_node_keeps_its_leases_while_it_lives(database: Database, clock: ManualClock) -> None:
    settings = DispatchSettings(has_other_nodes=True, lease_s=60, poll_s=0.01)
    gate = asyncio.Event()

    async def wait(_delivery: DeliverySnapshot) -> DeliveryResult:
        await gate.wait()
        return DONE

    slow, other = Handler(wait), Handler()
    dispatcher = Dispatcher(database, Known(ONE), slow, clock, settings)
    await emit(database, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await slow.has_begun.wait()
        for _ in range(6):
            clock.advance(25)
            wanted = clock.now() + timedelta(seconds=55)

            async def is_extended(wanted: datetime = wanted) -> bool:
                (row,) = await deliveries(database)
                return row.lease_until is not None and row.lease_until > wanted

            await until(is_extended)
        await Dispatcher(database, Known(ONE), other, clock, settings).drain()
        assert other.begun == []
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert await states(database) == ["done"]


async def test_an_end_that_comes_after_the_takeover_counts_for_nothing(database: Database, clock: ManualClock) -> None:
    gate = asyncio.Event()

    async def late(_delivery: DeliverySnapshot) -> DeliveryResult:
        await gate.wait()
        return DeliveryResult("dead", "late", "too late")

    slow, fast = Handler(late), Handler()
    known = Known(ONE)
    # With one place, which is taken: it would else take it back before the second node has it.
    first = Dispatcher(database, known, slow, clock, DispatchSettings(has_other_nodes=True, concurrency=1))
    await emit(database, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first.run())
        await slow.has_begun.wait()
        # The second node believes that it is alone: it takes over at once.
        await Dispatcher(database, known, fast, clock, DispatchSettings(has_other_nodes=False)).drain()
        gate.set()
        await first.drain()
        await first.stop()
    (row,) = await deliveries(database)
    assert (row.state, row.attempt, row.error_code) == ("done", 2, None)


async def test_a_delivery_under_which_the_node_keeps_dying_is_given_up_at_last(database: Database) -> None:
    known = Known(ONE)
    alone = DispatchSettings(has_other_nodes=False)
    await emit(database, "deadly", "harmless")
    for _ in range(20):
        stuck = Handler(lambda _: asyncio.Event().wait())  # type: ignore[arg-type, return-value]  # never returns
        running = asyncio.create_task(Dispatcher(database, known, stuck, settings=alone).run())
        await stuck.has_begun.wait()
        assert stuck.payloads() == ["deadly"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    handler = Handler()
    await Dispatcher(database, known, handler, settings=alone).drain()
    assert handler.payloads() == ["harmless"]
    deadly, harmless = await deliveries(database)
    assert (deadly.state, deadly.error_code, deadly.failures) == ("dead", "delivery-interrupted", 0)
    assert harmless.state == "done"


async def test_a_database_that_is_away_for_a_while_is_waited_for(database: Database) -> None:
    handler = Handler()
    dispatcher = Dispatcher(database, Known(ONE), handler, settings=DispatchSettings(poll_s=0.01))
    is_away = True
    tried = asyncio.Event()

    def sabotage(*arguments: object) -> tuple[str, object]:
        statement = str(arguments[2])
        if is_away and "UPDATE jf_outbox" in statement:
            tried.set()
            statement = "UPDATE no_such_table SET x = 1"
        return statement, arguments[3] if "no_such" not in statement else ()

    await emit(database, 1)
    async with asyncio.timeout(20), listening(sabotage), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await tried.wait()
        assert handler.begun == []
        is_away = False
        await handler.has_begun.wait()
        await dispatcher.stop()
    assert await states(database) == ["done"]


async def test_an_end_is_not_forgotten_when_it_cannot_be_written_down_at_once(database: Database) -> None:
    handler = Handler()
    dispatcher = Dispatcher(database, Known(ONE), handler)
    failures = 2

    def sabotage(*arguments: object) -> tuple[str, object]:
        nonlocal failures
        statement = str(arguments[2])
        if failures and "UPDATE jf_deliveries" in statement and "duration_ms=" in statement:
            failures -= 1
            return "UPDATE no_such_table SET x = 1", ()
        return statement, arguments[3]

    await emit(database, 1, 2)
    async with listening(sabotage):
        await dispatcher.drain()
    assert failures == 0
    assert handler.payloads() == [1, 2]
    assert await states(database) == ["done", "done"]


async def test_a_queue_that_lost_its_head_is_mended_at_the_start(database: Database) -> None:
    handler = Handler()
    await emit(database, 1, 2)
    await Dispatcher(database, Known(ONE), Handler(lambda _: asyncio.sleep(0, DeliveryResult("retry")))).drain()
    async with database.write(None) as session:  # as no transaction of ours would leave it
        await session.execute(text("UPDATE jf_deliveries SET place = 'blocked' WHERE place = 'waiting'"))
    await Dispatcher(database, Known(ONE), handler).drain()
    assert handler.payloads() == [1, 2]


async def test_a_backlog_for_one_installation_is_never_written_as_blocked(database: Database) -> None:
    """A quick handler's events wait as events, so that each delivery is written twice: as it begins and as it ends."""

    async def with_pauses(_delivery: DeliverySnapshot) -> DeliveryResult:
        await asyncio.sleep(0)
        return DeliveryResult("done", has_effects=False)

    handler = Handler(with_pauses)
    claims: list[str] = []

    def note(*arguments: object) -> tuple[str, object]:
        statement = str(arguments[2])
        if "UPDATE jf_deliveries" in statement and "handler" in statement.partition("RETURNING")[2]:
            claims.append(statement)
        return statement, arguments[3]

    await emit(database, *range(300))
    async with listening(note):
        await Dispatcher(database, Known(ONE), handler).drain()
    assert handler.payloads() == list(range(300))
    assert claims == []


async def test_events_behind_a_slow_delivery_are_soon_listed_and_hold_nobody_up(database: Database) -> None:
    gate = asyncio.Event()

    async def slow_first(delivery: DeliverySnapshot) -> DeliveryResult:
        if delivery.payload == 1 and delivery.installation_id == ONE.installation_id:
            await gate.wait()
        return DONE

    async def are_both_there() -> bool:
        return len(await states(database)) == 2

    handler = Handler(slow_first)
    dispatcher = Dispatcher(database, Known(ONE), handler, settings=DispatchSettings(poll_s=60.0))
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await emit(database, 1)
        await handler.has_begun.wait()
        await emit(database, 2)
        await until(are_both_there)  # without another commit to wake anybody
        assert [row.place for row in await deliveries(database)] == ["running", "blocked"]
        gate.set()
        await dispatcher.drain()
        await dispatcher.stop()
    assert handler.payloads() == [1, 2]


async def test_a_long_payload_that_the_database_does_not_give_is_no_failure_of_the_handler(database: Database) -> None:
    handler = Handler()
    refusals = 1

    def sabotage(*arguments: object) -> tuple[str, object]:
        nonlocal refusals
        statement = str(arguments[2])
        if refusals and statement.startswith("SELECT jf_outbox.payload"):
            refusals -= 1
            return "SELECT no_such_column", ()
        return statement, arguments[3]

    await emit(database, "x" * 10_000)
    dispatcher = Dispatcher(database, Known(ONE), handler)
    async with asyncio.timeout(20), listening(sabotage), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await handler.has_begun.wait()
        await dispatcher.drain()
        await dispatcher.stop()
    assert refusals == 0
    (row,) = await deliveries(database)
    assert (row.state, row.failures, row.attempt) == ("done", 0, 2)


@pytest.mark.parametrize("table", [OutboxEvent, Delivery])
@pytest.mark.usefixtures("on_sqlite")
async def test_the_dispatchers_looks_use_the_small_indexes(database: Database, table: type) -> None:
    """However long the history grows, a round costs the same: no statement of it scans a table."""
    statements: dict[str, tuple[str, object]] = {}

    def note(*arguments: object) -> None:
        statement = str(arguments[2])
        if table.__tablename__ in statement and statement.split()[0] in {"SELECT", "WITH", "UPDATE"}:
            parameters = arguments[3]
            statements[statement] = (statement, parameters[0] if arguments[5] else parameters)  # type: ignore[index]

    sa_event.listen(Engine, "before_cursor_execute", note)
    try:
        await emit(database, 1, 2)
        await Dispatcher(database, Known(ONE), Handler()).drain()
    finally:
        sa_event.remove(Engine, "before_cursor_execute", note)
    plans: dict[str, list[str]] = defaultdict(list)
    async with database.engine.connect() as connection:
        for statement, parameters in statements.values():
            rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans[statement] += [row[3] for row in rows]
    assert plans
    for statement, plan in plans.items():
        for step in plan:
            is_scan = step.startswith("SCAN jf_") and "USING" not in step
            assert not is_scan, f"{step} in {statement}"


@pytest.mark.usefixtures("on_sqlite")
async def test_an_idle_dispatcher_opens_no_transaction(database: Database) -> None:
    dispatcher = Dispatcher(database, Known(ONE), Handler(), settings=DispatchSettings(poll_s=0.005))
    begun = 0

    @sa_event.listens_for(database.engine.sync_engine, "begin")
    def _count(_connection: object) -> None:
        nonlocal begun
        begun += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await dispatcher.drain()
        before = begun
        for _ in range(5):
            await dispatcher.drain()
        assert begun == before
        await dispatcher.stop()


def test_waking_one_that_does_not_run_is_harmless(database: Database) -> None:
    Dispatcher(database, Known(), Handler()).wake()
    assert outbox.PAYLOAD_LIMIT_BYTES == 256 * 1024
