"""Conditions and order as plugins send them, checked before any SQL is made of them.

Their meaning is the same for a plugin's own tables and the host's entities, on every database: values compare with
values of their own type only, null is a value like others (`ne` finds it), and null comes first in ascending order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from jackfield.data_adapters.errors import ComparisonInvalidError

__all__ = ["INT_MAX", "INT_MIN", "Condition", "Operator", "Order", "Scalar", "check_conditions", "parse_order"]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
"""No database of ours keeps larger integers exactly."""
_PATTERN_CHARS = 100
"""LIKE costs its length times the text's, inside one step that no deadline can interrupt."""

_Name = Annotated[str, Meta(min_length=1, max_length=65)]
_Int = Annotated[int, Meta(ge=INT_MIN, le=INT_MAX)]
Scalar = bool | _Int | float | str | None
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "like"]


class Condition(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`[field, operator, value]`."""

    field: _Name
    operator: Operator
    value: Scalar | Annotated[list[Scalar], Meta(max_length=500)]


class Order(NamedTuple):
    """One field to sort by."""

    field: str
    is_descending: bool


def check_conditions(conditions: Sequence[Condition]) -> None:
    """Refuse values that do not go with their operator.

    Raises:
        ComparisonInvalidError: With the field it is about.
    """
    for condition in conditions:
        value = condition.value
        if condition.operator == "in":
            if not isinstance(value, list):
                raise _wrong(condition, "takes a list")
            for item in value:
                _check_scalar(condition, item)
            continue
        if isinstance(value, list):
            raise _wrong(condition, "takes one value, not a list")
        _check_scalar(condition, value)
        if condition.operator == "like":
            _check_pattern(condition, value)
        elif condition.operator not in ("eq", "ne") and (value is None or isinstance(value, bool)):
            raise _wrong(condition, "takes a number or a text")


def parse_order(names: Sequence[str]) -> list[Order]:
    """`-name` sorts by `name`, descending."""
    return [Order(name.removeprefix("-"), name.startswith("-")) for name in names]


def _check_scalar(condition: Condition, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(condition, "takes no NaN and no infinity")
    if isinstance(value, str) and "\0" in value:
        raise _wrong(condition, "takes no NUL character")


def _check_pattern(condition: Condition, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _PATTERN_CHARS:
        raise _wrong(condition, f"takes a text of at most {_PATTERN_CHARS} characters")
    if (len(value) - len(value.rstrip("\\"))) % 2:
        raise _wrong(condition, "takes a pattern that does not end in the escape character")


def _wrong(condition: Condition, reason: str) -> ComparisonInvalidError:
    return ComparisonInvalidError(f"condition on `{condition.field[:80]}`: `{condition.operator}` {reason}")
