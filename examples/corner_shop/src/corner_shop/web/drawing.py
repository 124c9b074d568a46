"""What the template of the nodes needs computed: the kind of a node, numbers as people write them, bars of a chart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jackfield_sdk import ui

__all__ = ["Bar", "bars", "figure", "kind"]

_WIDTH, _HEIGHT = 350, 104
_MOST_BARS = 60


@dataclass(frozen=True)
class Bar:
    """A rectangle in a picture of 350 × 110, and what it stands for."""

    label: str
    value: float
    x: float
    y: float
    width: float
    height: float


def kind(node: ui.Node) -> str:
    """The node's name in the vocabulary."""
    return type(node).__name__


def figure(value: ui.Value) -> str:
    """A cell or a count: thousands apart, no more decimals than it has, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return value


def bars(chart: ui.Chart) -> list[Bar]:
    """The chart's first series. What is not a positive number has no height."""
    points = chart.data[:_MOST_BARS]
    values = [_height(point.get(chart.y[0])) for point in points]
    most = max(values, default=0) or 1
    step = _WIDTH / max(len(points), 1)
    return [
        Bar(
            label=figure(point.get(chart.x)),
            value=value,
            x=round(index * step + step * 0.12, 2),
            y=round(_HEIGHT - value / most * _HEIGHT + 3, 2),
            width=round(step * 0.76, 2),
            height=round(max(value / most * _HEIGHT, 1.0), 2),
        )
        for index, (point, value) in enumerate(zip(points, values, strict=True))
    ]


def _height(value: ui.Value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    number = float(value) if abs(value) < 1e15 else 0.0
    return number if math.isfinite(number) and number > 0 else 0.0
