"""What operators see of events: figures for a monitoring system, and what `jackfield doctor` says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prometheus_client.core import Metric
from sqlalchemy import update

from jackfield.db import Database
from jackfield.jobs import Counted, Delivery, Dispatcher, OutboxEvent, Subscription, delivery_figures, examine
from jackfield.jobs.interfaces import DeliveryResult, DeliverySnapshot
from tests.server.conftest import ManualClock
from tests.server.jobs.helpers import DONE, Handler, Known, emit


def value(metrics: list[Metric], name: str, **labels: str) -> float:
    (found,) = (s.value for metric in metrics for s in metric.samples if s.name == name and s.labels == labels)
    return found


async def test_age_depth_lag_and_outcomes_are_told_and_what_is_stuck_is_a_fault(database: Database) -> None:
    clock = ManualClock()

    async def act(delivery: DeliverySnapshot) -> DeliveryResult:
        return DONE if delivery.payload == 1 else DeliveryResult("dead", "no", "no")

    counted = Counted(Handler(act), clock)
    dispatcher = Dispatcher(database, Known(Subscription("ins", "h", True, 5)), counted, clock)
    await emit(database, 1, 2)
    async with database.write(None) as session:
        await session.execute(update(OutboxEvent).values(created_at=clock.now() - timedelta(minutes=6)))
    waiting = list(await delivery_figures(database, clock))
    assert value(waiting, "jackfield_events_new") == 2
    assert value(waiting, "jackfield_events_new_age_seconds") == 360.0
    found = {finding.name: finding for finding in await examine(database, clock)}
    assert not found["events"].is_good
    assert found["events"].says.startswith("2 wait")

    await dispatcher.drain()
    done = [*await counted.now(), *await delivery_figures(database, clock)]
    assert value(done, "jackfield_delivery_attempts_total", outcome="done") == 1
    assert value(done, "jackfield_delivery_attempts_total", outcome="dead") == 1
    assert value(done, "jackfield_delivery_lag_seconds_count") == 2
    assert value(done, "jackfield_delivery_lag_seconds_bucket", le="60.0") == 0
    assert value(done, "jackfield_deliveries_dead") == 1
    assert value(done, "jackfield_events_new_age_seconds") == 0
    page = (Path(__file__).parents[3] / "docs/explanation/cost.md").read_text()
    assert not {metric.name for metric in done if f"`{metric.name.removeprefix('jackfield_')}" not in page}
    assert all(finding.is_good for finding in await examine(database, clock))

    async with database.write(None) as session:
        await session.execute(
            update(Delivery).values(place="running", state="running", lease_until=clock.now() - timedelta(hours=1))
        )
    assert [f.name for f in await examine(database, clock) if not f.is_good] == ["leases of deliveries"]
