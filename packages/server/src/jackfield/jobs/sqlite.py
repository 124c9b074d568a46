"""The dispatcher's statements as SQLite takes them best; `postgresql` has the same names.

A list is one parameter, JSON, so that each statement is prepared once. Rows are written one by one by a prepared
statement without SQLAlchemy's work on each value: what it would do to times is done here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, column, func, select, text, update
from sqlalchemy.orm import Session

from jackfield.jobs.deals import Candidate, NewEvent
from jackfield.jobs.holding import (
    DELIVERIES,
    HAS_DUE,
    HAS_READY,
    OUTBOX,
    claiming,
    events_of,
    extending,
    first_place,
    is_lane_active,
    place,
    short_payload,
    tenants_of,
)
from jackfield.jobs.outcomes import Verdict, stored_text

if TYPE_CHECKING:
    from jackfield.jobs.repository import Claimed

__all__ = [
    "CLAIM_BEHIND",
    "CLAIM_HEADS",
    "EVENTS_BY_ID",
    "EXTEND",
    "READY_TENANTS",
    "array",
    "blocked_of_lanes",
    "finish",
    "finish_settled",
    "insert_deliveries",
    "look",
    "mark_fanned_out",
    "promote",
    "put_back",
    "ready_of_tenants",
]

_D = DELIVERIES.c


def array(values: Sequence[Any]) -> Any:
    """A list as a parameter."""
    return json.dumps(list(values))


def _listed(name: str) -> Any:
    """What is in a list, for `IN`."""
    each = func.json_each(bindparam(name, type_=String())).table_valued(column("value"))
    return select(each.c.value)


def _first_of(source: Any, key: Any, order: Any, condition: Callable[[Any], Any], columns: Sequence[Any]) -> Any:
    """The first `each` rows of each of the values in the list `asked`."""
    asked = func.json_each(bindparam("asked", type_=String())).table_valued(column("value"), name="asked")
    inner = source.alias("inner_rows")
    first = (
        select(inner.c[order.name])
        .where(inner.c[key.name] == asked.c.value, condition(inner.c))
        .order_by(inner.c[order.name])
        .limit(bindparam("each", type_=Integer()))
    )
    return select(*columns).select_from(asked.join(source, order.in_(first.scalar_subquery())))


NEW_TENANTS = tenants_of("new")
READY_TENANTS = tenants_of("ready")
_FLAGS = select(HAS_READY, HAS_DUE)
_o = OUTBOX.c
_NEW = _first_of(
    OUTBOX,
    _o.tenant_id,
    _o.position,
    lambda inner: inner.fanned_out_at.is_(None),
    (_o.position, _o.id, _o.tenant_id, _o.name, short_payload(), _o.source, _o.created_at, _o.cause),
)


def look(
    session: Session, now: datetime, after: str, count: int, each: int, limit: int
) -> tuple[list[NewEvent], bool, bool]:
    """Events without deliveries, whether something is ready, and whether something is due."""
    has_ready, has_due = session.execute(_FLAGS, {"moment": now}).one()
    tenants = session.scalars(NEW_TENANTS, {"after": after, "count": count}).all()
    if not tenants:
        return [], has_ready, has_due
    rows = session.execute(_NEW, {"asked": array(tenants), "each": each})
    return [NewEvent(*row) for row in rows.fetchmany(limit)], has_ready, has_due


_MARK = (
    update(OUTBOX)
    .where(OUTBOX.c.position.in_(_listed("positions")), OUTBOX.c.fanned_out_at.is_(None))
    .values(fanned_out_at=bindparam("moment"))
    .returning(OUTBOX.c.position)
)


def _busy() -> Any:
    asked = func.json_each(bindparam("lane_list", type_=String())).table_valued(column("value"), name="asked")
    other = DELIVERIES.alias("other")
    is_busy = first_place(asked.c.value, other, other.c.place.is_not(None)).is_not(None)
    return select(asked.c.value).where(is_busy)


_BUSY = _busy()


def mark_fanned_out(
    session: Session, positions: Sequence[int], lanes: Sequence[str], now: datetime
) -> tuple[set[int], set[str]]:
    """Those of the events that were still new, and those of the installations that are at work."""
    mine = set(session.scalars(_MARK, {"positions": array(positions), "moment": now}))
    return mine, set(session.scalars(_BUSY, {"lane_list": array(lanes)})) if lanes else set[str]()


_INSERT = """
INSERT INTO jf_deliveries (id, event_id, event, tenant_id, installation_id, handler, ordered, state, place, attempt,
 failures, interruptions, max_attempts, created_at, lease_owner, lease_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?)
"""
_LAST = text("SELECT seq FROM sqlite_sequence WHERE name = 'jf_deliveries'")


def insert_deliveries(
    session: Session, rows: Sequence[Candidate], now: datetime, owner: str, until: datetime
) -> list[int]:
    """New rows; their sequences."""
    made, leased = _stored(now), _stored(until)
    values: list[tuple[Any, ...]] = []
    for row in rows:
        event, subscription = row.event, row.subscription
        is_held, has_begun = row.place == "running", row.has_begun
        values.append(
            (
                row.id, event.id, event.name, event.tenant_id, subscription.installation_id, subscription.handler,
                subscription.ordered, "running" if has_begun else "pending", row.place, int(has_begun),
                subscription.max_attempts, made, owner if is_held else None, leased if is_held else None,
            )
        )  # fmt: skip
    connection = session.connection()
    connection.exec_driver_sql(_INSERT, values)
    # Nobody else writes, and each is one more than the largest that there ever was.
    last: int = connection.execute(_LAST).scalar_one()
    return list(range(last - len(rows) + 1, last + 1))


_READY = _first_of(
    DELIVERIES,
    _D.tenant_id,
    _D.sequence,
    lambda inner: inner.place == place("ready"),
    (_D.sequence, _D.tenant_id, _D.installation_id, _D.ordered, _D.attempt),
)
_BLOCKED = _first_of(
    DELIVERIES,
    _D.installation_id,
    _D.sequence,
    lambda inner: (inner.place == place("blocked")) & inner.ordered.is_(True),
    (_D.sequence, _D.installation_id, _D.attempt),
)


def ready_of_tenants(session: Session, shares: Mapping[str, int]) -> Sequence[Any]:
    """Sequence, tenant, installation, whether ordered, and attempts, of the first of each tenant."""
    found: Any = session.execute(_READY, {"asked": array(list(shares)), "each": max(shares.values())})
    return sorted(found)


def blocked_of_lanes(session: Session, lanes: Mapping[str, int]) -> Sequence[Any]:
    """Sequence, installation and attempts of the first that are blocked of each installation, in order."""
    rows: Any = session.execute(_BLOCKED, {"asked": array(list(lanes)), "each": max(lanes.values())})
    left = dict(lanes)
    found: list[Any] = []
    for row in sorted(rows):
        if left[row[1]] > 0:
            left[row[1]] -= 1
            found.append(row)
    return found


_LISTED = _D.sequence.in_(_listed("sequences"))
CLAIM_HEADS = claiming(_LISTED, "ready", state="running", attempt=_D.attempt + 1)
CLAIM_BEHIND = claiming(_LISTED, "blocked")
EXTEND = extending(_LISTED)
EVENTS_BY_ID = events_of(OUTBOX.c.id.in_(_listed("events")))

_FINISH = """
UPDATE jf_deliveries SET attempt=?, state=?, place=?, failures=?, next_attempt_at=?, finished_at=?, error_code=?,
 error_message=?, duration_ms=?, lease_owner=NULL, lease_until=NULL
WHERE sequence = ? AND attempt = ? AND lease_owner = ? AND place = 'running'
"""
_FINISH_SETTLED = """
UPDATE jf_deliveries SET place=NULL, lease_owner=NULL, lease_until=NULL
WHERE sequence = ? AND attempt = ? AND lease_owner = ? AND place = 'settled'
"""
_PUT_BACK = """
UPDATE jf_deliveries SET place=CASE WHEN ordered THEN 'blocked' ELSE 'ready' END, state='pending', lease_owner=NULL,
 lease_until=NULL
WHERE sequence = ? AND attempt = ? AND lease_owner = ? AND place = 'running'
"""


def finish(session: Session, owner: str, told: Sequence[tuple[Claimed, Verdict]]) -> None:
    """Write down what became of these."""
    values = [
        (
            claimed.attempt, verdict.state, verdict.place, verdict.failures, _stored(verdict.next_attempt_at),
            _stored(verdict.finished_at), stored_text(verdict.error_code, 128),
            stored_text(verdict.error_message, 4096), verdict.duration_ms, claimed.sequence, claimed.held, owner,
        )
        for claimed, verdict in told
    ]  # fmt: skip
    session.connection().exec_driver_sql(_FINISH, values)


def finish_settled(session: Session, owner: str, held: Sequence[Claimed]) -> None:
    """Let go those whose end was committed with what they wrote."""
    values = [(claimed.sequence, claimed.attempt, owner) for claimed in held]
    session.connection().exec_driver_sql(_FINISH_SETTLED, values)


def put_back(session: Session, owner: str, held: Sequence[Claimed]) -> None:
    """Let go those that have not begun."""
    session.connection().exec_driver_sql(_PUT_BACK, [(claimed.sequence, claimed.held, owner) for claimed in held])


def _promotion() -> Any:
    asked = func.json_each(bindparam("lane_list", type_=String())).table_valued(column("value"), name="asked")
    head, other = DELIVERIES.alias("head"), DELIVERIES.alias("other")
    first = select(func.min(head.c.sequence)).where(
        head.c.installation_id == asked.c.value, head.c.ordered.is_(True), head.c.place == place("blocked")
    )
    return select(first.scalar_subquery()).select_from(asked).where(~is_lane_active(asked.c.value, other))


_PROMOTE = update(DELIVERIES).where(_D.sequence.in_(_promotion())).values(place="ready")


def promote(session: Session, lanes: Sequence[str]) -> int:
    """The first of each that is blocked by nobody; how many."""
    return session.connection().execute(_PROMOTE, {"lane_list": array(lanes)}).rowcount


def _stored(moment: datetime | None) -> str | None:
    """As the database's type for times writes it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
