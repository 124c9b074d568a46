"""How many circuit breakers are open, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from jackfield.db import Database
from jackfield.health.models import BreakerRow
from jackfield.health.repository import is_left_alone

__all__ = ["breaker_figures"]


async def breaker_figures(database: Database) -> Iterable[Metric]:
    """Of all nodes and tenants together."""
    async with database.read(None) as session:
        count = await session.scalar(select(func.count(BreakerRow.handler)).where(is_left_alone()))
    return [GaugeMetricFamily("jackfield_breakers_open", "Handlers that are left alone for a while.", count or 0)]
