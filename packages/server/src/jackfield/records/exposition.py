"""`GET /metrics`: the figures of this process in Prometheus' text format.

They tell which plugins all tenants together use, and how the node stands, so they are for operators: an operator's
token, or a token of the settings that opens this and nothing else, for the monitoring system to keep. Where a caller
connects from opens nothing: behind a proxy on the same machine, everybody comes from the loopback interface.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog
from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from jackfield.http import Authenticator, CredentialsMissingError, RoleMissingError, problem_responses
from jackfield.http.caller import bearer_token

__all__ = ["Source", "cached", "figures_missing", "metrics_router"]

_log = structlog.get_logger("jackfield.records")
_PATIENCE_S = 3.0

Source = Callable[[], Awaitable[Iterable[Metric]]]
"""Figures of one part of the node, now."""


class _Collected:
    """A collector of what is there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def cached(source: Source, for_s: float) -> Source:
    """The same figures for a while: those that ask the database must not be asked for as often as somebody likes."""
    kept: list[Metric] = []
    until = 0.0

    async def figures() -> Iterable[Metric]:
        nonlocal kept, until
        if time.monotonic() >= until:
            kept = list(await source())
            until = time.monotonic() + for_s
        return kept

    return figures


def figures_missing(count: int) -> Metric:
    """Of an answer that leaves some out."""
    return GaugeMetricFamily("jackfield_figures_missing", "Groups of figures that could not be had.", count)


def metrics_router(
    sources: Sequence[Source], authenticator: Authenticator, *, token: str | None = None, is_open: bool = False
) -> APIRouter:
    """The endpoint.

    Args:
        token: Opens it, beside an operator's.
        is_open: Everybody may read it, because nobody but the monitoring system can reach the port.
    """
    routes = APIRouter(tags=["operations"])

    async def allowed(request: Request) -> None:
        if is_open:
            return
        given = bearer_token(request.headers.get("authorization"))
        if given is None:
            raise CredentialsMissingError("This needs an operator's token, or the token for metrics.")
        if token is not None and hmac.compare_digest(given.encode(), token.encode()):
            return
        caller = await authenticator.authenticate(given)
        if caller.role != "operator":
            raise RoleMissingError(f"The role {caller.role} may not do this.", roles=["operator"])

    @routes.get(
        "/metrics",
        operation_id="getMetrics",
        response_class=Response,
        responses={
            200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **problem_responses(403),
        },
        dependencies=[Depends(allowed)],
    )
    async def get_metrics() -> Response:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Figures of this node since it started: calls, durations, processor time, isolates, deliveries, refusals."""
        registry = CollectorRegistry(auto_describe=False)
        metrics, failed = list[Metric](), 0
        for source in sources:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    metrics += await source()
            except Exception as error:
                # Without a database, the figures that need none are wanted the more.
                _log.warning("figures-missing", error=f"{type(error).__name__}: {error}")
                failed += 1
        metrics.append(figures_missing(failed))
        registry.register(_Collected(metrics))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes
