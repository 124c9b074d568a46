"""How the pool stands, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from jackfield.isolation.pool import PoolStats

__all__ = ["pool_figures"]

_COUNTERS = {
    "spawned": ("jackfield_isolates_spawned", "Isolates that were started."),
    "killed": ("jackfield_isolates_killed", "Isolates that ended other than by rest or replacement."),
    "zygote_restarts": ("jackfield_zygote_restarts", "Zygotes that were started in place of one that died."),
    "zygote_rotations": ("jackfield_zygote_rotations", "Zygotes that were started in place of an old one."),
}
_MEMORY = {
    "memory_kb": ("jackfield_isolates_memory_bytes", "Memory of all isolates together."),
    "memory_budget_kb": ("jackfield_isolates_memory_budget_bytes", "Memory that they may have together."),
}
_STATES = ("alive", "idle", "running", "waiting")


def pool_figures(stats: PoolStats) -> Iterable[Metric]:
    """Of this node."""
    states = GaugeMetricFamily(
        "jackfield_isolates", "Isolates by state; `waiting` are calls that wait for one.", labels=["state"]
    )
    metrics: list[Metric] = [states]
    for name, value in asdict(stats).items():
        if name in _STATES:
            states.add_metric([name], value)
        elif name in _COUNTERS:
            metrics.append(CounterMetricFamily(*_COUNTERS[name], value))
        elif name in _MEMORY:
            metrics.append(GaugeMetricFamily(*_MEMORY[name], value * 1024))
    return metrics
