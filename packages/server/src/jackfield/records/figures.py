"""What this process has seen of calls since it started, kept for Prometheus: a few additions for each call.

Labels are bounded. Publishers choose the names of plugins, so beyond a number of them the rest are counted as one.
Tenants are no label, unless the operator names those that are to have one: ten thousand of them would be more series
than a monitoring system takes, and whoever may read the figures would read all tenants'.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from jackfield.records.record import InvocationRecord

__all__ = ["OTHERS", "Figures", "node_figures"]

OTHERS = "(others)"
"""Stands for what has no label of its own. No plugin can have this name."""

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BOUNDS_US = tuple(round(bound * 1_000_000) for bound in _BOUNDS_S)
_KILLS = frozenset({"timeout", "cpu", "memory", "crashed", "violation"})
_CODES = 64


class _Series:
    __slots__ = ("buckets", "calls", "cpu_us", "egress_bytes", "host_calls", "queries", "secret_leaks", "wall_us")

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.cpu_us = self.wall_us = 0
        self.host_calls = self.queries = self.egress_bytes = self.secret_leaks = 0
        self.buckets = [0] * (len(_BOUNDS_US) + 1)


class Figures:
    """Counts records.

    Args:
        plugins: How many plugins have a label of their own: the first that are called.
        tenants: These tenants' calls are told apart, by the label `tenant`.
    """

    def __init__(self, *, plugins: int = 200, tenants: Iterable[str] = ()) -> None:
        self._limit = plugins
        self._tenants = frozenset(tenants)
        self._plugins: set[str] = set()
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._refused: dict[str, int] = {}
        self._capabilities: dict[str, int] = {}

    def observe(self, record: InvocationRecord) -> None:
        """Count one call."""
        tenant = record.tenant_id if record.tenant_id in self._tenants else ""
        series = self._series.get((record.plugin, record.kind, tenant)) or self._made(record, tenant)
        status = record.status
        series.calls[status] = series.calls.get(status, 0) + 1
        series.cpu_us += record.cpu_us
        series.wall_us += record.duration_us
        series.buckets[bisect_left(_BOUNDS_US, record.duration_us)] += 1
        if record.host_calls:
            series.host_calls += record.host_calls
            series.queries += record.queries
            series.egress_bytes += record.egress_bytes
            for name, count in record.capabilities.items():
                self._capabilities[name] = self._capabilities.get(name, 0) + count
        if record.secret_leaks:
            series.secret_leaks += record.secret_leaks
        if status == "refused" or status == "overloaded":
            code = record.error_code or status
            if code not in self._refused and len(self._refused) >= _CODES:
                code = OTHERS
            self._refused[code] = self._refused.get(code, 0) + 1

    def _made(self, record: InvocationRecord, tenant: str) -> _Series:
        plugin = record.plugin
        if plugin not in self._plugins:
            if len(self._plugins) < self._limit:
                self._plugins.add(plugin)
            else:
                plugin = OTHERS
        return self._series.setdefault((plugin, record.kind, tenant), _Series())

    async def now(self) -> Iterable[Metric]:
        """`collect`, as a source."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """The figures, as Prometheus has them."""
        labels = ["plugin", "kind", *(["tenant"] if self._tenants else [])]
        calls = CounterMetricFamily(
            "jackfield_invocations", "Calls of plugin code by outcome.", labels=[*labels, "status"]
        )
        durations = HistogramMetricFamily("jackfield_invocation_duration_seconds", "How long they took.", labels=labels)
        counters = {
            name: CounterMetricFamily(f"jackfield_{name}", text, labels=labels)
            for name, text in (
                ("cpu_seconds", "Processor time of plugin code."),
                ("host_calls", "Capability calls."),
                ("queries", "Statements that the database ran for capability calls."),
                ("egress_bytes", "Sent out of the platform by plugins, and received from there."),
                ("secret_leaks", "Places in messages, traces and log lines where a secret stood, and was masked."),
            )
        }
        kills: dict[str, int] = dict.fromkeys(sorted(_KILLS), 0)
        for (plugin, kind, tenant), series in sorted(self._series.items()):
            values = [plugin, kind, *([tenant] if self._tenants else [])]
            for status, count in sorted(series.calls.items()):
                calls.add_metric([*values, status], count)
                if status in _KILLS:
                    kills[status] += count
            durations.add_metric(values, _cumulative(series.buckets), series.wall_us / 1e6)
            counters["cpu_seconds"].add_metric(values, series.cpu_us / 1e6)
            counters["host_calls"].add_metric(values, series.host_calls)
            counters["queries"].add_metric(values, series.queries)
            counters["egress_bytes"].add_metric(values, series.egress_bytes)
            counters["secret_leaks"].add_metric(values, series.secret_leaks)
        yield calls
        yield durations
        yield from counters.values()
        yield _by("jackfield_capability_calls", "Capability calls by capability.", "capability", self._capabilities)
        yield _by("jackfield_refused", "Calls that did not run, by the code of the refusal.", "code", self._refused)
        yield _by("jackfield_isolate_ends", "Isolates that a call was the end of, by reason.", "reason", kills)


def node_figures(version: str, isolation: str, backlog: tuple[int, float]) -> Iterable[Metric]:
    """What this node is, and how far behind its records are.

    Args:
        backlog: `Recorder.backlog`.
    """
    build = InfoMetricFamily("jackfield_build", "What runs here.")
    build.add_metric([], {"version": version, "isolation": isolation})
    return [
        build,
        GaugeMetricFamily("jackfield_records_waiting", "Records that are not in the tables yet.", backlog[0]),
        GaugeMetricFamily("jackfield_records_lag_seconds", "Age of the oldest of them.", backlog[1]),
    ]


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total = 0
    rows: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, _BOUNDS_S), "+Inf"], buckets, strict=True):
        total += count
        rows.append((bound, total))
    return rows


def _by(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
