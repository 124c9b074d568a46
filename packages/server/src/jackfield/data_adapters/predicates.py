"""Conditions as SQL, whatever a field is there: `leaf` says what one condition becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, true

from jackfield.data_adapters.conditions import And, Condition, Node, Not, Or

__all__ = ["predicate", "predicates"]

Leaf = Callable[[Condition], ColumnElement[bool]]


def predicates(nodes: Iterable[Node], leaf: Leaf) -> list[ColumnElement[bool]]:
    """One expression for each node; all of them are to hold."""
    return [predicate(node, leaf) for node in nodes]


def predicate(node: Node, leaf: Leaf) -> ColumnElement[bool]:
    """One node. A leaf may be unknown in SQL, which counts as false, also below a `not`."""
    match node:
        case Condition():
            return leaf(node)
        case And():
            # A constant comes first, since SQLAlchemy wants at least one; it leaves it out of the SQL.
            return and_(true(), *predicates(node.nodes, leaf))
        case Or():
            return or_(false(), *predicates(node.nodes, leaf))
        case Not():
            known: ColumnElement[Any] = func.coalesce(predicate(node.node, leaf), false())
            return not_(known)
