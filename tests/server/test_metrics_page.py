"""The page of metrics is what a node tells; what cannot be had is left out of an answer and the rest is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from jackfield.http import FiguresMiddleware, HttpFigures
from jackfield.records import Figures, metrics_router
from tests.server.conftest import KnownCallers, application, client
from tools import build_metrics_reference
from tools.committed import ROOT


def test_the_page_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_metrics_reference.main(["--check"]) == 0
    assert build_metrics_reference.main(["--check"], tmp_path / "metrics.md") == 1
    assert "build_metrics_reference" in capsys.readouterr().out


def test_alarms_are_about_figures_that_there_are() -> None:
    alarms = set(re.findall(r"expr: .*?(jackfield_\w+)", (ROOT / "docs/how-to/operate.md").read_text()))
    assert len(alarms) > 5
    assert alarms <= set(re.findall(r"`(jackfield_\w+)`", build_metrics_reference.PAGE.read_text()))


async def test_without_a_database_the_other_figures_are_told_and_requests_are_counted_by_few_labels() -> None:
    async def broken() -> Iterable[Metric]:
        raise OSError("the database is away")

    figures = HttpFigures()

    async def requests() -> Iterable[Metric]:
        return figures.now()

    app = application(
        KnownCallers({}), metrics_router([broken, Figures().now, requests], KnownCallers({}), is_open=True)
    )
    app.add_middleware(FiguresMiddleware, figures=figures)
    async with client(app) as http:
        for method, path in (("GET", "/a"), ("GET", "/b"), ("BREW", "/c"), ("GET", "/metrics")):
            await http.request(method, path)
        text = (await http.get("/metrics")).text
    lines = text.splitlines()
    assert "jackfield_figures_missing 1.0" in lines
    assert 'jackfield_http_requests_total{method="GET",status="4xx"} 2.0' in lines
    assert 'jackfield_http_requests_total{method="GET",status="2xx"} 1.0' in lines
    assert 'jackfield_http_requests_total{method="other",status="4xx"} 1.0' in lines
    assert "jackfield_http_requests_open 1.0" in lines, "this one"
    assert "jackfield_http_request_duration_seconds_count 4.0" in lines
    assert "BREW" not in text
