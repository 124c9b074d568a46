"""Conditions over rows in memory, with the meaning that they have on the platform.

Values compare with values of their own type only, null is a value like others, and a comparison with a field that is
null does not hold, so that its `not` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jackfield_sdk.errors import CapabilityError

__all__ = ["Branch", "Leaf", "Where", "check_where", "fields_of", "holds"]

_MAX_LEAVES = 64
_MAX_DEPTH = 8
_PATTERN_CHARS = 100

Row = dict[str, Any]
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "like"]
_Scalar = bool | int | float | str | None
Leaf = tuple[
    Annotated[str, Meta(min_length=1, max_length=65)],
    Operator,
    _Scalar | Annotated[list[_Scalar], Meta(max_length=500)],
]


class Branch(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"and_": "and", "or_": "or", "not_": "not"}
):
    """`and`, `or` or `not`."""

    and_: list[Leaf | Branch] | UnsetType = UNSET
    or_: list[Leaf | Branch] | UnsetType = UNSET
    not_: Leaf | Branch | UnsetType = UNSET

    @property
    def inner(self) -> Sequence[Leaf | Branch]:
        """What it is made of."""
        if self.not_ is not UNSET:
            return [self.not_]
        return [*(self.and_ or []), *(self.or_ or [])]


Where = Annotated[list[Leaf | Branch], Meta(max_length=_MAX_LEAVES)]


def check_where(where: Sequence[Leaf | Branch]) -> None:
    """Refuse what the platform refuses.

    Raises:
        CapabilityError: `comparison-invalid`.
    """
    level, leaves = list(where), 0
    for _ in range(_MAX_DEPTH + 1):
        deeper: list[Leaf | Branch] = []
        for node in level:
            if isinstance(node, tuple):
                leaves += 1
                _check_leaf(*node)
                continue
            if sum(part is not UNSET for part in (node.and_, node.or_, node.not_)) != 1:
                raise _invalid("a map among the conditions has one key: `and`, `or` or `not`")
            leaves += not node.inner
            deeper += node.inner
        if leaves > _MAX_LEAVES:
            raise _invalid(f"there are more than {_MAX_LEAVES} conditions")
        if not deeper:
            return
        level = deeper
    raise _invalid(f"the conditions are nested deeper than {_MAX_DEPTH} levels")


def fields_of(where: Sequence[Leaf | Branch]) -> Iterator[str]:
    """The fields that it names."""
    for node in where:
        if isinstance(node, tuple):
            yield node[0]
        else:
            yield from fields_of(node.inner)


def holds(where: Sequence[Leaf | Branch], row: Row) -> bool:
    """Whether all of them hold for a row."""
    return all(_holds(node, row) for node in where)


def _holds(node: Leaf | Branch, row: Row) -> bool:
    if isinstance(node, tuple):
        field, operator, value = node
        return _meets(row.get(field), operator, value)
    if node.and_ is not UNSET:
        return holds(node.and_, row)
    if node.or_ is not UNSET:
        return any(_holds(inner, row) for inner in node.or_)
    return not _holds(cast("Leaf | Branch", node.not_), row)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, other: value > other,
    "gte": lambda value, other: value >= other,
    "lt": lambda value, other: value < other,
    "lte": lambda value, other: value <= other,
}


def _check_leaf(field: str, operator: Operator, value: Any) -> None:
    if operator == "in":
        fits = isinstance(value, list)
    elif operator == "like":
        fits = isinstance(value, str) and len(value) <= _PATTERN_CHARS
        fits = fits and (len(value) - len(value.rstrip("\\"))) % 2 == 0
    elif operator in ("eq", "ne"):
        fits = not isinstance(value, list)
    else:
        fits = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    if not fits:
        raise _invalid(f"condition on `{field}`: `{operator}` does not take this")


def _invalid(message: str) -> CapabilityError:
    return CapabilityError(
        message,
        code="comparison-invalid",
        hint="Compare with one number or text; `in` takes a list, `like` a text with % and _.",
    )


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
