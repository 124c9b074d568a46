"""The form of row filters in a manifest. Which fields there are, only the host knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, cast

import msgspec

from jackfield_sdk.errors import ManifestError

__all__ = ["check_row_filters"]

_MAX_LEAVES = 64
_MAX_DEPTH = 8
_HINT = 'A list of conditions, as `[["city", "eq", "Berlin"]]`; `{"or": […]}`, `{"and": […]}` and `{"not": …}` nest.'

_Scalar = bool | int | float | str | None
_Leaf = tuple[str, Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "like"], _Scalar | list[_Scalar]]


def check_row_filters(filters: Mapping[str, list[Any]], asked: Collection[str]) -> None:
    """Refuse what no grant could be narrowed by.

    Raises:
        ManifestError: With the path of the first thing that is wrong.
    """
    for permission, where in filters.items():
        path = f"permission_filters.{permission}"
        if permission not in asked:
            raise ManifestError("not a permission that is asked for", path=path)
        if permission.rpartition(":")[2] not in ("read", "write", "*"):
            raise ManifestError("only a permission for an entity has rows", path=path, hint="As `customers:read`.")
        _check(where, path)


def _check(where: list[Any], path: str) -> None:
    leaves = 0
    level: list[Any] = where
    for _ in range(_MAX_DEPTH + 1):
        deeper: list[Any] = []
        for node in level:
            if not isinstance(node, dict):
                leaves += 1
                _check_leaf(node, path)
                continue
            entries = cast("dict[str, Any]", node)
            key = next(iter(entries), "")
            inner = entries.get(key)
            if len(entries) != 1 or not (key == "not" or (key in ("and", "or") and isinstance(inner, list))):
                raise ManifestError("a map among the conditions has one key: and, or, not", path=path, hint=_HINT)
            deeper += [inner] if key == "not" else cast("list[Any]", inner)
        if leaves > _MAX_LEAVES:
            raise ManifestError(f"more than {_MAX_LEAVES} conditions", path=path)
        if not deeper:
            return
        level = deeper
    raise ManifestError(f"conditions nested deeper than {_MAX_DEPTH} levels", path=path)


def _check_leaf(node: Any, path: str) -> None:
    try:
        _, operator, value = msgspec.convert(node, _Leaf)
    except msgspec.ValidationError as error:
        raise ManifestError(f"not a condition: {error}", path=path, hint=_HINT) from error
    if isinstance(value, list) != (operator == "in"):
        raise ManifestError(f"`{operator}` takes {'a list' if operator == 'in' else 'one value'}", path=path)
