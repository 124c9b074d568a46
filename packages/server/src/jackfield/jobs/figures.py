"""How many deliveries wait, and how many were given up, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from jackfield.db import Database
from jackfield.jobs.models import Delivery, OutboxEvent

__all__ = ["delivery_figures"]

_PLACES = ("ready", "waiting", "running", "blocked")
"""Told even when there are none; others when there are some."""


async def delivery_figures(database: Database) -> Iterable[Metric]:
    """Of all nodes and tenants together. The dead are counted by a walk through an index: ask seldom."""
    places = select(Delivery.place, func.count()).where(Delivery.place.is_not(None)).group_by(Delivery.place)
    dead = select(func.count()).select_from(Delivery).where(Delivery.state == "dead")
    new = select(func.count()).select_from(OutboxEvent).where(OutboxEvent.fanned_out_at.is_(None))
    async with database.read(None) as session:
        found = {str(place): int(count) for place, count in await session.execute(places)}
        dead_count, new_count = await session.scalar(dead) or 0, await session.scalar(new) or 0
    open_ones = GaugeMetricFamily("jackfield_deliveries_pending", "Deliveries that have not ended.", labels=["place"])
    for place, count in {**dict.fromkeys(_PLACES, 0), **found}.items():
        open_ones.add_metric([place], count)
    return [
        open_ones,
        GaugeMetricFamily("jackfield_deliveries_dead", "Deliveries that were given up.", dead_count),
        GaugeMetricFamily("jackfield_events_new", "Events of which no deliveries were made yet.", new_count),
    ]
