"""Rows in memory: the conditions, order and pages that tables and entities have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = ["Page", "Row", "select"]

Row = dict[str, Any]
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "like"]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are wanted."""

    where: list[tuple[str, Operator, Any]] = []
    order: list[str] = []
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Annotated[int, Meta(ge=0)] = 0


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, other: value > other,
    "gte": lambda value, other: value >= other,
    "lt": lambda value, other: value < other,
    "lte": lambda value, other: value <= other,
}


def select(rows: Iterable[Row], page: Page) -> list[Row]:
    """The rows that meet all conditions, ordered and cut; rows without a value for an order come first."""
    found = [row for row in rows if all(_meets(row.get(field), op, value) for field, op, value in page.where)]
    for column in reversed(page.order):
        name = column.removeprefix("-")
        found.sort(key=lambda row, name=name: (row.get(name) is not None, row.get(name)), reverse=column != name)
    return found[page.offset : page.offset + page.limit]


def _meets(value: Any, operator: str, other: Any) -> bool:
    """As SQL has it: an absent value meets nothing but `eq` null."""
    if operator == "eq":
        return value == other
    if operator == "ne":
        return value is not None if other is None else value is not None and value != other
    if value is None or other is None:
        return False
    if operator == "in":
        return isinstance(other, list) and value in other
    if operator == "like":
        return isinstance(value, str) and _like(str(other)).fullmatch(value) is not None
    try:
        return _COMPARE[operator](value, other)
    except TypeError:
        return False


def _like(pattern: str) -> re.Pattern[str]:
    parts = ({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern)
    return re.compile("".join(parts), re.DOTALL | re.IGNORECASE)
