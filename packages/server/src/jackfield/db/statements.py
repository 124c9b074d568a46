"""Counts the statements that a piece of work runs, so that they can be charged to whoever asked for it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

from sqlalchemy import Engine, event

__all__ = ["CountsQueries", "charged", "count_statements"]


class CountsQueries(Protocol):
    """Whatever has a number of queries."""

    queries: int


charged: ContextVar[CountsQueries | None] = ContextVar("jackfield_charged", default=None)
"""Who pays for the statements of this task; nobody, for work of the platform itself."""


def count_statements(engine: Engine) -> None:
    """Charge what runs on this engine. BEGIN, pragmas and limits are ours, and are not counted."""
    event.listen(engine, "before_cursor_execute", _count)


def _count(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _is_many: bool) -> None:
    payer = charged.get()
    if payer is not None and context is not None and context.compiled is not None and not statement.startswith("SET "):
        payer.queries += 1
