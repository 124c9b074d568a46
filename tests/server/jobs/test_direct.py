"""Deliveries to one handler alone, and all that failed once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jackfield.db import Database
from jackfield.jobs import Deliveries, DeliveryResult, DeliverySnapshot, Dispatcher, Subscription, deliver_to
from tests.server.jobs.helpers import DONE, Handler, Known, deliveries, emit, states


async def test_a_delivery_to_one_handler_goes_to_no_subscriber(database: Database) -> None:
    handler = Handler()
    async with database.write("acme") as session:
        id = await deliver_to(
            session, "acme", "webhook:paid", '{"n": 1}', installation_id="inst_1", handler="take", source="webhook",
            now=datetime.now(UTC),
        )  # fmt: skip
    await Dispatcher(database, Known(Subscription("inst_2", "other")), handler).drain()
    (begun,) = handler.begun
    assert (begun.id, begun.event, begun.installation_id, begun.handler) == (id, "webhook:paid", "inst_1", "take")
    assert (begun.payload, begun.source, begun.ordered, begun.failures) == ({"n": 1}, "webhook", False, 0)
    assert await states(database) == ["done"]


async def test_what_is_rolled_back_is_never_delivered(database: Database) -> None:
    handler = Handler()
    try:
        async with database.write("acme") as session:
            await deliver_to(
                session, "acme", "webhook:paid", "{}", installation_id="inst_1", handler="take", source="webhook",
                now=datetime.now(UTC),
            )  # fmt: skip
            raise LookupError
    except LookupError:
        pass
    await Dispatcher(database, Known(), handler).drain()
    assert handler.begun == []


async def test_all_that_failed_since_is_replayed_in_its_order_and_nobody_elses(database: Database) -> None:
    is_well = False

    async def act(delivery: DeliverySnapshot) -> DeliveryResult:
        return DONE if is_well else DeliveryResult("dead", "broken")

    handler = Handler(act)
    known = Known(Subscription("inst_1", "h"), Subscription("inst_2", "h", ordered=False))
    await emit(database, 1, 2, 3)
    await Dispatcher(database, known, handler).drain()
    assert await states(database) == ["dead"] * 6
    log = Deliveries(database)
    assert await log.replay_failed("acme", "inst_1", datetime.now(UTC) + timedelta(hours=1)) == 0
    assert await log.replay_failed("rival", "inst_1", datetime.now(UTC) - timedelta(hours=1)) == 0
    assert await log.replay_failed("acme", "inst_1", datetime.now(UTC) - timedelta(hours=1), limit=2) == 2
    is_well = True
    handler.begun.clear()
    await Dispatcher(database, known, handler).drain()
    assert [delivery.payload for delivery in handler.begun] == [1, 2]
    assert {(row.installation_id, row.state) for row in await deliveries(database)} == {
        ("inst_1", "done"), ("inst_1", "dead"), ("inst_2", "dead"),
    }  # fmt: skip
    assert await log.replay_failed("acme", "inst_1", datetime.now(UTC) - timedelta(hours=1)) == 1
