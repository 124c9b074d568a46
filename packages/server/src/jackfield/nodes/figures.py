"""Which nodes work on the database, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from jackfield.nodes.service import Nodes

__all__ = ["nodes_figures"]


async def nodes_figures(nodes: Nodes) -> Iterable[Metric]:
    """Of all nodes together."""
    seen = await nodes.every()
    lost = sum(node.ended_by is not None and node.ended_by != node.id for node in seen)
    missing = sum(not node.is_alive and node.ended_at is None for node in seen)
    return [
        GaugeMetricFamily("jackfield_nodes_alive", "Nodes that work.", sum(node.is_alive for node in seen)),
        GaugeMetricFamily(
            "jackfield_nodes_missing", "Nodes that are gone, and of which nobody has taken over yet.", missing
        ),
        GaugeMetricFamily(
            "jackfield_nodes_lost", "Nodes that died within the last day, and whose work others took over.", lost
        ),
    ]
