"""Figures of events and their deliveries, for Prometheus: what all nodes have before them, and what this one has done.

No label is of a tenant or a plugin: the number of series is fixed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from sqlalchemy import func, select

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.jobs.interfaces import Deliver, DeliveryResult, DeliverySnapshot
from jackfield.jobs.models import Delivery, OutboxEvent, ScheduleRow

__all__ = ["Counted", "delivery_figures"]

_PLACES = ("ready", "waiting", "running", "blocked")
"""Told even when there are none; others when there are some."""
_ENDS = ("done", "retry", "dead", "skipped", "deferred", "error")
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)


class Counted:
    """A `Deliver` that counts what goes through it."""

    def __init__(self, inner: Deliver, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._ends = dict.fromkeys(_ENDS, 0)
        self._buckets = [0] * (len(_BOUNDS_S) + 1)
        self._lag_s = 0.0

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Carry out one delivery."""
        if delivery.attempt == 1:
            # A clock that was set back must not make the sum smaller.
            lag_s = max(0.0, (self._clock.now() - delivery.emitted_at).total_seconds())
            self._buckets[bisect_left(_BOUNDS_S, lag_s)] += 1
            self._lag_s += lag_s
        status = "error"
        try:
            result = await self._inner.deliver(delivery)
            status = result.status
            return result
        finally:
            self._ends[status] += 1

    async def now(self) -> Iterable[Metric]:
        """Since this node started."""
        attempts = CounterMetricFamily(
            "jackfield_delivery_attempts", "Attempts of deliveries, by how they ended.", labels=["outcome"]
        )
        for status, count in self._ends.items():
            attempts.add_metric([status], count)
        total, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), self._buckets, strict=True):
            total += count
            buckets.append((bound, total))
        lag = HistogramMetricFamily(
            "jackfield_delivery_lag_seconds", "From an event to the first attempt of a delivery of it.",
            buckets=buckets, sum_value=self._lag_s,
        )  # fmt: skip
        return [attempts, lag]


async def delivery_figures(database: Database, clock: Clock | None = None) -> Iterable[Metric]:
    """Of all nodes and tenants together. The dead are counted by a walk through an index: ask seldom."""
    places = select(Delivery.place, func.count(), func.min(Delivery.created_at))
    places = places.where(Delivery.place.is_not(None)).group_by(Delivery.place)
    dead = select(func.count()).select_from(Delivery).where(Delivery.state == "dead")
    new = select(func.count(), func.min(OutboxEvent.created_at)).where(OutboxEvent.fanned_out_at.is_(None))
    due = select(func.min(ScheduleRow.next_at)).where(ScheduleRow.next_at.is_not(None))
    now = (clock or SystemClock()).now()
    async with database.read(None) as session:
        found = {str(place): (int(count), oldest) for place, count, oldest in await session.execute(places)}
        dead_count = await session.scalar(dead) or 0
        new_count, oldest_new = (await session.execute(new)).one()
        next_at = await session.scalar(due)

    def age_s(*moments: object) -> float:
        """Of the oldest; 0 when there is none, or when it is still to come."""
        return max([0.0, *((now - moment).total_seconds() for moment in moments if isinstance(moment, type(now)))])

    open_ones = GaugeMetricFamily("jackfield_deliveries_pending", "Deliveries that have not ended.", labels=["place"])
    for place in dict.fromkeys((*_PLACES, *found)):
        open_ones.add_metric([place], found.get(place, (0, None))[0])
    return [
        open_ones,
        GaugeMetricFamily(
            "jackfield_deliveries_ready_age_seconds", "Age of the oldest delivery that could be begun now.",
            age_s(found.get("ready", (0, None))[1]),
        ),
        GaugeMetricFamily("jackfield_deliveries_dead", "Deliveries that were given up.", dead_count),
        GaugeMetricFamily("jackfield_events_new", "Events of which no deliveries were made yet.", new_count),
        GaugeMetricFamily("jackfield_events_new_age_seconds", "Age of the oldest of those events.", age_s(oldest_new)),
        GaugeMetricFamily(
            "jackfield_schedules_late_seconds", "By how much the schedule that is due longest is late.", age_s(next_at)
        ),
    ]  # fmt: skip
