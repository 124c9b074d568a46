"""The dispatcher's statements that take lists, as PostgreSQL takes them best.

A list is one parameter, an array, so a statement reads the same whatever its number of rows: the driver prepares each
once, and the server plans each once. The repository has the same statements in the form that SQLite knows.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    DateTime,
    Float,
    Integer,
    String,
    Table,
    Text,
    any_,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from jackfield.jobs.holding import ACTIVE, DELIVERIES, LEASED, OUTBOX, RELEASED

__all__ = [
    "EVENTS_BY_ID",
    "FINISH",
    "FINISH_SETTLED",
    "MARK_FANNED_OUT",
    "NEW_OF_TENANTS",
    "PROMOTE",
    "READY_OF_TENANTS",
    "claiming",
]

_D = DELIVERIES.c
_MOMENT = DateTime(timezone=True)


def _array(name: str, of: TypeEngine[Any]) -> BindParameter[Any]:
    return bindparam(name, type_=ARRAY(of))


def _rows(name: str, **columns: TypeEngine[Any]) -> Any:
    """Arrays of one length as a table: the parameters are named as its columns, with `_list` behind."""
    arrays = [_array(f"{key}_list", of) for key, of in columns.items()]
    return (
        func.unnest(*arrays).table_valued(*(column(key, of) for key, of in columns.items())).render_derived(name=name)
    )


def _place(value: str) -> Any:
    """Spelled out, so that a plan made for all parameters still fits the partial indexes."""
    return literal_column(f"'{value}'", String())


def _of_tenants(table: Table, order: Any, condition: Any, *columns: Any) -> Any:
    asked = _rows("asked", tenant=String(), share=Integer())
    found = (
        select(*columns)
        .where(table.c.tenant_id == asked.c.tenant, condition)
        .order_by(order)
        .limit(asked.c.share)
        .lateral("found")
    )
    return select(*found.c).select_from(asked.join(found, true()))


NEW_OF_TENANTS = _of_tenants(
    OUTBOX,
    OUTBOX.c.position,
    OUTBOX.c.fanned_out_at.is_(None),
    OUTBOX.c.position,
    OUTBOX.c.id,
    OUTBOX.c.tenant_id,
    OUTBOX.c.name,
)
READY_OF_TENANTS = _of_tenants(DELIVERIES, _D.sequence, _D.place == _place("ready"), _D.sequence)
"""For both: `tenant_list` and `share_list`."""

MARK_FANNED_OUT = (
    update(OUTBOX)
    .where(OUTBOX.c.position == any_(_array("positions", BigInteger())), OUTBOX.c.fanned_out_at.is_(None))
    .values(fanned_out_at=bindparam("moment"))
    .returning(OUTBOX.c.position)
)
EVENTS_BY_ID = select(OUTBOX.c.id, OUTBOX.c.payload, OUTBOX.c.source, OUTBOX.c.created_at, OUTBOX.c.cause).where(
    OUTBOX.c.id == any_(_array("events", String()))
)


def claiming(columns: tuple[str, ...]) -> Any:
    """Lease `sequences` to `owner` until `until`."""
    return (
        update(DELIVERIES)
        .where(_D.sequence == any_(_array("sequences", BigInteger())), _D.place == _place("ready"))
        .values(LEASED)
        .returning(*(_D[name] for name in columns))
    )


def _still_held(told: Any, place: str) -> tuple[Any, ...]:
    """As `this_attempt`, for each row of a list."""
    return (
        _D.sequence == told.c.sequence,
        _D.attempt == told.c.attempt,
        _D.lease_owner == bindparam("owner"),
        _D.place == _place(place),
    )


def _finishing() -> Any:
    told = _rows(
        "told",
        sequence=BigInteger(),
        attempt=Integer(),
        state=String(),
        place=String(),
        failures=Integer(),
        next_attempt_at=_MOMENT,
        finished_at=_MOMENT,
        error_code=String(),
        error_message=Text(),
        duration_ms=Float(),
    )
    written = [name for name in told.c.keys() if name not in ("sequence", "attempt")]  # noqa: SIM118  # not a dict
    return (
        update(DELIVERIES)
        .where(*_still_held(told, "running"))
        .values(**{name: told.c[name] for name in written}, **RELEASED)
    )


def _finishing_settled() -> Any:
    told = _rows("told", sequence=BigInteger(), attempt=Integer())
    return update(DELIVERIES).where(*_still_held(told, "settled")).values(place=None, **RELEASED)


FINISH = _finishing()
FINISH_SETTLED = _finishing_settled()


def _promotion() -> Any:
    asked = _rows("asked", lane=String())
    head, other = DELIVERIES.alias("head"), DELIVERIES.alias("other")
    first = (
        select(head.c.sequence)
        .where(head.c.installation_id == asked.c.lane, head.c.ordered.is_(True), head.c.place == _place("blocked"))
        .order_by(head.c.sequence)
        .limit(1)
        .lateral("first")
    )
    is_active = exists().where(
        other.c.installation_id == asked.c.lane,
        other.c.ordered.is_(True),
        or_(*(other.c.place == _place(place) for place in ACTIVE)),
    )
    firsts = select(first.c.sequence).select_from(asked.join(first, true())).where(~is_active)
    return (
        update(DELIVERIES)
        # As an array: the heads are found first, then looked up by key, whatever the planner believes of the table.
        .where(_D.sequence == any_(func.array(firsts.scalar_subquery(), type_=ARRAY(BigInteger()))))
        .values(place="ready")
    )


PROMOTE = _promotion()
