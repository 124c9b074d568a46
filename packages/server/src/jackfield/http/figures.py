"""Requests that this node has answered since it started, for Prometheus: a few additions for each."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["FiguresMiddleware", "HttpFigures"]

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class HttpFigures:
    """Counts requests. Callers choose paths and methods, so that no path and no other method is a label."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], int] = {}
        self._buckets = [0] * (len(_BOUNDS_S) + 1)
        self._took_s = 0.0
        self.open = 0

    def answered(self, method: str, status: int, took_s: float) -> None:
        """Count one.

        Args:
            status: 0 when there was no answer.
            took_s: Until the answer began.
        """
        key = (method if method in _METHODS else "other", f"{status // 100}xx" if 100 <= status < 600 else "none")
        self._answers[key] = self._answers.get(key, 0) + 1
        self._buckets[bisect_left(_BOUNDS_S, took_s)] += 1
        self._took_s += took_s

    def now(self) -> Iterable[Metric]:
        """The figures."""
        requests = CounterMetricFamily(
            "jackfield_http_requests", "Requests by method and class of status.", labels=["method", "status"]
        )
        for key, count in sorted(self._answers.items()):
            requests.add_metric(key, count)
        total, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), self._buckets, strict=True):
            total += count
            buckets.append((bound, total))
        return [
            requests,
            GaugeMetricFamily("jackfield_http_requests_open", "Requests that are being answered.", self.open),
            HistogramMetricFamily(
                "jackfield_http_request_duration_seconds", "From a request to the first of its answer.",
                buckets=buckets, sum_value=self._took_s,
            ),
        ]  # fmt: skip


class FiguresMiddleware:
    """Has every request counted, those that other middleware refuses too: it is put around them."""

    def __init__(self, app: ASGIApp, figures: HttpFigures) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        figures, began, status, took_s = self._figures, time.perf_counter(), 0, None

        async def watched(message: Message) -> None:
            nonlocal status, took_s
            if message["type"] == "http.response.start":
                status, took_s = message["status"], time.perf_counter() - began
            await send(message)

        figures.open += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            figures.open -= 1
            figures.answered(scope["method"], status, time.perf_counter() - began if took_s is None else took_s)
