"""What statements on deliveries share: the tables, which places keep an order busy, and whose a delivery is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    select,
    union_all,
    update,
)

from jackfield.jobs.models import Delivery, OutboxEvent

__all__ = [
    "DELIVERIES",
    "HAS_DUE",
    "HAS_READY",
    "LONG_CHARS",
    "OUTBOX",
    "RELEASED",
    "claiming",
    "events_of",
    "extending",
    "first_place",
    "is_at",
    "is_lane_active",
    "place",
    "short_payload",
    "stands",
    "tenants_of",
    "this_attempt",
]

OUTBOX: Final[Table] = OutboxEvent.__table__  # type: ignore[assignment]  # declared as FromClause
DELIVERIES: Final[Table] = Delivery.__table__  # type: ignore[assignment]  # declared as FromClause
RELEASED: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": None}
LONG_CHARS: Final = 4096
"""A longer payload is read when its delivery begins: many are held at a time."""

_D = DELIVERIES.c
_CLAIMED_COLUMNS: Final = tuple(
    _D[name]
    for name in (
        "sequence", "id", "event_id", "event", "tenant_id", "installation_id", "handler", "ordered", "attempt",
        "failures", "max_attempts", "created_at", "state",
    )
)  # fmt: skip


def place(value: str) -> Any:
    """Spelled out, so that a plan made for all parameters still fits the partial indexes."""
    return literal_column(f"'{value}'", String())


def stands(value: str) -> ColumnElement[bool]:
    """Whether a row that is found by its key stands there: no index is to be tried for it, since many rows may."""
    return func.coalesce(_D.place, place("")) == place(value)


def short_payload() -> Any:
    """An event's payload, or null when it is long."""
    return case((func.length(OUTBOX.c.payload) <= LONG_CHARS, OUTBOX.c.payload), else_=None).label("payload")


HAS_READY: Final = exists().where(_D.place == place("ready"))
HAS_DUE: Final = exists().where(
    _D.place == place("waiting"), _D.next_attempt_at <= bindparam("moment", type_=_D.next_attempt_at.type)
)


def this_attempt(where: Literal["running", "settled"]) -> tuple[ColumnElement[bool], ...]:
    """Where a delivery is still held by the owner and for the attempt of `this`, `this_owner` and `this_attempt`."""
    return (
        _D.sequence == bindparam("this"),
        _D.lease_owner == bindparam("this_owner"),
        _D.attempt == bindparam("this_attempt"),
        _D.place == where,
    )


def claiming(listed: ColumnElement[bool], from_place: str, **values: Any) -> Any:
    """Those of a list that stand there become the owner's."""
    return (
        update(DELIVERIES)
        .where(listed, stands(from_place))
        .values(place="running", lease_owner=bindparam("owner"), lease_until=bindparam("until"), **values)
        .returning(*_CLAIMED_COLUMNS)
    )


def extending(listed: ColumnElement[bool]) -> Any:
    """Those of a list that are the owner's stay so until then."""
    return (
        update(DELIVERIES)
        .where(listed, _D.lease_owner == bindparam("owner"), stands("running"))
        .values(lease_until=bindparam("until"))
    )


def events_of(listed: ColumnElement[bool]) -> Any:
    """What their deliveries are told of the events of a list."""
    return select(OUTBOX.c.id, short_payload(), OUTBOX.c.source, OUTBOX.c.created_at, OUTBOX.c.cause).where(listed)


def tenants_of(kind: Literal["new", "ready"]) -> Select[str]:
    """Distinct tenants with rows of a kind, from behind `after` on and round to it again; `count` of them."""
    source = OUTBOX if kind == "new" else DELIVERIES

    def where(alias: Any) -> ColumnElement[bool]:
        return alias.c.fanned_out_at.is_(None) if kind == "new" else alias.c.place == place("ready")

    def chain(name: str, start: Callable[[Any], ColumnElement[bool]]) -> CTE:
        first, further = source.alias(f"{name}_first"), source.alias(f"{name}_further")

        def least(alias: Any, *conditions: ColumnElement[bool]) -> Any:
            # Not min(): where the planner expects few rows, it reads all of them for that.
            tenant = alias.c.tenant_id
            return select(tenant).where(where(alias), *conditions).order_by(tenant).limit(1).scalar_subquery()

        links = select(least(first, start(first.c.tenant_id)).label("tenant")).cte(name, recursive=True)
        step = least(further, further.c.tenant_id > links.c.tenant)
        return links.union_all(select(step).where(links.c.tenant.is_not(None)))

    after = bindparam("after", type_=String)
    rest = chain("rest", lambda tenant: tenant > after)
    round_again = chain("round_again", lambda tenant: tenant <= after)
    both = union_all(
        select(rest.c.tenant).where(rest.c.tenant.is_not(None)),
        select(round_again.c.tenant).where(round_again.c.tenant <= after),
    )
    return select(both.limit(bindparam("count", type_=Integer)).subquery().c.tenant)


def is_at(table: Any, value: str) -> ColumnElement[bool]:
    """Whether a row stands there, as a range: together with `order_by(place, sequence)`, only the indexes of what is
    open give that order. By an equality PostgreSQL may go through all that a tenant or an installation ever had."""
    return (table.c.place >= place(value)) & (table.c.place <= place(value))


def first_place(lane: Any, table: Any, condition: Any) -> Any:
    """Where an ordered delivery of an installation stands, the least by name; null if there is none.

    Args:
        table: An alias of the deliveries.
    """
    return (
        select(table.c.place)
        .where(table.c.installation_id == lane, table.c.ordered.is_(True), condition)
        .order_by(table.c.place)
        .limit(1)
        .scalar_subquery()
    )


def is_lane_active(lane: Any, table: Any) -> ColumnElement[bool]:
    """Whether an ordered delivery of an installation is ready, waiting, running or settled, so that the next one waits:
    these all come after `blocked` by name."""
    return first_place(lane, table, table.c.place > place("blocked")).is_not(None)
