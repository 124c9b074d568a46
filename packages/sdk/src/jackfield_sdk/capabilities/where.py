"""Conditions over rows, in the form the broker takes: a list of nodes, all of which must hold."""

from __future__ import annotations

from typing import Any, cast

__all__ = ["Where", "conditions"]

Where = dict[str, Any] | list[Any] | None
"""`{"customer_id": "c1"}` for equality, or a list of `("points", "gt", 0)` with eq, ne, gt, gte, lt, lte, in, like.

In a list, `{"or": […]}`, `{"and": […]}` and `{"not": …}` combine conditions, to any shape of at most 64 conditions and
8 levels: `[("points", "gt", 0), {"or": [("city", "eq", "Oslo"), {"not": ("vip", "eq", True)}]}]`.
"""

_BRANCHES = ("and", "or", "not")


def conditions(where: Where) -> list[Any]:
    """Both spellings as a list of nodes."""
    if where is None:
        return []
    if isinstance(where, dict):
        return _map(where)
    return [_node(node) for node in where]


def _map(where: dict[str, Any]) -> list[Any]:
    if len(where) == 1:
        ((word, inner),) = where.items()
        # No field is equal to a list: where a list is, there can be no doubt about a field of such a name.
        if word in _BRANCHES and isinstance(inner, (list, tuple, dict)):
            if word == "not":
                return [{"not": _node(inner)}]
            return [{word: conditions(cast("list[Any]", inner))}]
    return [[field, "eq", value] for field, value in where.items()]


def _node(node: Any) -> Any:
    if not isinstance(node, dict):
        return list(node)
    nodes = _map(cast("dict[str, Any]", node))
    return nodes[0] if len(nodes) == 1 else {"and": nodes}
