"""Deliveries by their numbers, the latest first.

An index has either what has ended or what stands at one place, in that order; most rows are then written into each
index once, when they have ended. So the first of all are the first of each of these parts.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Subquery, and_, select, union_all

from jackfield.jobs.holding import place
from jackfield.jobs.models import Delivery, OutboxEvent
from jackfield.jobs.selecting import ENDED

__all__ = ["goes_nowhere", "latest", "whole"]

_PLACES: Final = ("ready", "waiting", "running", "settled", "blocked")


def whole(query: Select[*tuple[Any, ...]]) -> Subquery:
    """All that a query finds, of what has ended and of what is open, at one moment."""
    return union_all(query.where(Delivery.place.is_(None)), query.where(Delivery.place.is_not(None))).subquery()


def latest(
    query: Select[*tuple[Any, ...]],
    limit: int,
    *,
    state: str | None = None,
    of_installations: bool = False,
    offset: int = 0,
) -> Select[*tuple[Any, ...]]:
    """The latest of those that a query finds, without an order of its own.

    Args:
        query: Has a column `sequence`, and says whose: a tenant's, or some installations'.
        state: As the query has it.
        of_installations: It says which installations.
        offset: So many are passed over.
    """
    parts = [
        query.where(part).order_by(Delivery.sequence.desc()).limit(limit + offset).subquery()
        for part in _parts(state, of_installations)
    ]
    found = union_all(*(select(part) for part in parts)).subquery()
    return select(found).order_by(found.c.sequence.desc()).limit(limit).offset(offset or None)


def goes_nowhere(*counted: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether an event of the outbox has no delivery.

    Args:
        counted: Which deliveries count; all, when there are none.
    """
    is_it = Delivery.event_id == OutboxEvent.id
    # With an offset PostgreSQL looks for each in the index, and what is open it reads once, as a list. Joined it reads
    # all that has ever ended, or all that is open for each event: policies make it expect few rows.
    ended = select(Delivery.sequence).where(is_it, Delivery.place.is_(None), *counted).offset(0).exists()
    open_ = select(Delivery.event_id).where(Delivery.place.is_not(None), *counted)
    return and_(~ended, OutboxEvent.id.not_in(open_))


def _parts(state: str | None, of_installations: bool) -> list[ColumnElement[bool]]:
    ended = [] if state is not None and state not in ENDED else [Delivery.place.is_(None)]
    # The end of what is settled is written down, and it is open all the same.
    places = ("settled",) if state in ENDED else _PLACES
    open_ = [Delivery.place == place(each) for each in places]
    if of_installations:
        open_ = [part & Delivery.ordered.is_(ordered) for part in open_ for ordered in (True, False)]
    return [*ended, *open_]
