"""Rows in memory: the conditions, order and pages that tables and entities have in common.

Values compare with values of their own type only, null is a value like others, and comes first in ascending order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jackfield_sdk.errors import CapabilityError

__all__ = ["Page", "Row", "select"]

Row = dict[str, Any]
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "like"]
_Scalar = bool | int | float | str | None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are wanted."""

    where: list[tuple[str, Operator, _Scalar | Annotated[list[_Scalar], Meta(max_length=500)]]] = []
    order: list[str] = []
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0

    @property
    def names(self) -> list[str]:
        """The fields that conditions and order name."""
        return [*(field for field, _, _ in self.where), *(name.removeprefix("-") for name in self.order)]


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, other: value > other,
    "gte": lambda value, other: value >= other,
    "lt": lambda value, other: value < other,
    "lte": lambda value, other: value <= other,
}


def select(rows: Iterable[Row], page: Page, *, is_whole: bool = False) -> list[Row]:
    """The rows that meet all conditions, in order; a page of them, or the whole.

    Raises:
        CapabilityError: `condition-invalid`: a value does not go with its operator.
    """
    for field, operator, value in page.where:
        _check(field, operator, value)
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    found = [row for row in ordered if all(_meets(row.get(field), op, value) for field, op, value in page.where)]
    for column in reversed(page.order):
        name = column.removeprefix("-")
        found.sort(key=lambda row, name=name: (row.get(name) is not None, row.get(name)), reverse=column != name)
    return found if is_whole else found[page.offset : page.offset + page.limit]


def _check(field: str, operator: Operator, value: Any) -> None:
    if operator == "in":
        fits = isinstance(value, list)
    elif operator == "like":
        fits = isinstance(value, str) and len(value) <= 100
    elif operator in ("eq", "ne"):
        fits = not isinstance(value, list)
    else:
        fits = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    if not fits:
        raise CapabilityError(f"condition on `{field}`: `{operator}` does not take this", code="condition-invalid")


def _meets(value: Any, operator: Operator, other: Any) -> bool:
    if operator == "eq":
        return _is_same(value, other)
    if operator == "ne":
        return not _is_same(value, other)
    if operator == "in":
        return any(_is_same(value, item) for item in other)
    if operator == "like":
        return isinstance(value, str) and _like(other).fullmatch(value) is not None
    return _kind(value) == _kind(other) and _COMPARE[operator](value, other)


def _is_same(value: Any, other: Any) -> bool:
    return _kind(value) == _kind(other) and value == other


def _kind(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _like(pattern: str) -> re.Pattern[str]:
    r"""`%` and `_` as in SQL, taken literally after a `\`; case does not matter."""
    parts: list[str] = []
    for match in re.finditer(r"\\(.)|(.)", pattern, re.DOTALL):
        literal, char = match.groups()
        parts.append({"%": ".*", "_": "."}.get(char, re.escape(literal or char)))
    return re.compile("".join(parts), re.DOTALL | re.IGNORECASE)
