"""Conditions over rows, in the form the broker takes: a list of `[field, operator, value]`, all of which must hold."""

from __future__ import annotations

from typing import Any

__all__ = ["Where", "conditions"]

Where = dict[str, Any] | list[tuple[str, str, Any]] | None
"""`{"customer_id": "c1"}` for equality, or `[("points", "gt", 0)]` with eq, ne, gt, gte, lt, lte, in, like."""


def conditions(where: Where) -> list[list[Any]]:
    """Both spellings as a list of triples."""
    if where is None:
        return []
    if isinstance(where, dict):
        return [[field, "eq", value] for field, value in where.items()]
    return [list(condition) for condition in where]
