"""How this node stands with the database, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy.pool import QueuePool

from jackfield.db.engine import Database
from jackfield.db.notices import Notices
from jackfield.db.room import full_since

__all__ = ["database_figures"]


def database_figures(database: Database, notices: Notices) -> Iterable[Metric]:
    """Without asking the database."""
    pool = database.engine.pool
    connections = GaugeMetricFamily(
        "jackfield_database_connections", "Connections of this node's pool by state.", labels=["state"]
    )
    if isinstance(pool, QueuePool):
        connections.add_metric(["in_use"], pool.checkedout())
        connections.add_metric(["idle"], pool.checkedin())
    return [
        connections,
        GaugeMetricFamily(
            "jackfield_database_full", "1 from when the database refuses writes for want of room until it takes them.",
            int(full_since(database) is not None),
        ),
        GaugeMetricFamily(
            "jackfield_notices_heard", "1 while this node hears what others change; 0 while it may miss something.",
            int(notices.is_listening),
        ),
    ]  # fmt: skip
