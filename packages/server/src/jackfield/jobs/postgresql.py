"""The dispatcher's statements as PostgreSQL takes them best; `sqlite` has the same names.

A list is one parameter, an array, so a statement reads the same whatever its number of rows: the driver prepares each
once, and the server plans each once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Float,
    Integer,
    String,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    insert,
    literal,
    null,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.types import TypeEngine

from jackfield.jobs.deals import Candidate, NewEvent
from jackfield.jobs.holding import (
    DELIVERIES,
    HAS_DUE,
    HAS_READY,
    OUTBOX,
    RELEASED,
    claiming,
    events_of,
    extending,
    first_place,
    is_at,
    is_lane_active,
    place,
    short_payload,
    stands,
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
_MOMENT = DateTime(timezone=True)


def array(values: Sequence[Any]) -> Any:
    """A list as a parameter: as its text, since the driver would look closely at each value of it.

    Args:
        values: Texts; or numbers, booleans and nulls.
    """
    if values and isinstance(values[0], str):
        between = '","'
        joined = between.join(values)
        if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
            joined = between.join(value.replace("\\", r"\\").replace('"', r"\"") for value in values)
        return f'{{"{joined}"}}'
    return f"{{{','.join(map(str, values))}}}".replace("None", "NULL")


def _array(name: str, of: TypeEngine[Any]) -> Any:
    return cast(bindparam(name, type_=Text()), ARRAY(of))


def _array_once(name: str, of: TypeEngine[Any]) -> Any:
    """The same for use with each row: read once."""
    return cast(select(_array(name, of)).scalar_subquery(), ARRAY(of))


def _rows(name: str, **columns: TypeEngine[Any]) -> Any:
    """Arrays of one length as a table: the parameters are named as its columns, with `_list` behind."""
    arrays = [_array(f"{key}_list", of) for key, of in columns.items()]
    return (
        func.unnest(*arrays).table_valued(*(column(key, of) for key, of in columns.items())).render_derived(name=name)
    )


def _first_of(table: Table, key: Any, asked: Any, order: Any, condition: Any, limit: Any, *columns: Any) -> Any:
    """The first rows of each of those asked for."""
    found = select(*columns).where(key == asked[0], condition).order_by(*order).limit(limit).lateral("found")
    return select(*found.c).select_from(asked[1].join(found, true()))


def _looking() -> Any:
    tenants = tenants_of("new").cte("tenants")
    o = OUTBOX.c
    columns = (o.position, o.id, o.tenant_id, o.name, short_payload(), o.source, o.created_at, o.cause)
    each = bindparam("each", type_=Integer)
    first = _first_of(
        OUTBOX, o.tenant_id, (tenants.c.tenant, tenants), (o.position,), o.fanned_out_at.is_(None), each, *columns
    )
    events = first.limit(bindparam("most", type_=Integer)).subquery("events")
    flags = select(HAS_READY.label("has_ready"), HAS_DUE.label("has_due")).subquery("flags")
    return select(flags.c.has_ready, flags.c.has_due, *events.c).select_from(flags.outerjoin(events, true()))


_LOOK = _looking()


def look(
    session: Session, now: datetime, after: str, count: int, each: int, limit: int
) -> tuple[list[NewEvent], bool, bool]:
    """Events without deliveries, whether something is ready, and whether something is due."""
    asked = {"moment": now, "after": after, "count": count, "each": each, "most": limit}
    rows: Any = session.execute(_LOOK, asked).all()
    first = rows[0]
    return [NewEvent(*row[2:]) for row in rows if row[2] is not None], first[0], first[1]


def _marking() -> Any:
    """Both at once: it saves a round trip before a handler begins."""
    marked = (
        update(OUTBOX)
        .where(
            OUTBOX.c.position == any_(_array_once("positions", BigInteger())),
            # Is null, but not to be looked for: through the index of what is new all of that would be read.
            func.num_nulls(OUTBOX.c.fanned_out_at) == 1,
        )
        .values(fanned_out_at=bindparam("moment"))
        .returning(OUTBOX.c.position)
        .cte("marked")
    )  # fmt: skip
    asked, other = _rows("asked", lane=String()), DELIVERIES.alias("other")
    is_busy = first_place(asked.c.lane, other, other.c.place.is_not(None)).is_not(None)
    return union_all(
        select(marked.c.position, null().label("lane")), select(null().label("position"), asked.c.lane).where(is_busy)
    )


_MARK = _marking()


def mark_fanned_out(
    session: Session, positions: Sequence[int], lanes: Sequence[str], now: datetime
) -> tuple[set[int], set[str]]:
    """Those of the events that were still new, and those of the installations that are at work."""
    told = {"positions": array(positions), "lane_list": array(lanes), "moment": now}
    rows: Any = session.execute(_MARK, told).all()
    return {row[0] for row in rows if row[0] is not None}, {row[1] for row in rows if row[1] is not None}


def _inserting() -> Any:
    told = _rows(
        "told",
        id=String(),
        event_id=String(),
        event=String(),
        tenant_id=String(),
        installation_id=String(),
        handler=String(),
        ordered=Boolean(),
        place=String(),
        has_begun=Boolean(),
        max_attempts=Integer(),
    ).c
    is_held = told.place == place("running")
    columns: dict[str, Any] = {
        **{name: told[name] for name in ("id", "event_id", "event", "tenant_id", "installation_id", "handler")},
        "ordered": told.ordered,
        "state": case((told.has_begun, place("running")), else_=place("pending")),
        "place": told.place,
        "attempt": case((told.has_begun, 1), else_=0),
        "failures": literal(0),
        "interruptions": literal(0),
        "max_attempts": told.max_attempts,
        "created_at": bindparam("moment", type_=_MOMENT),
        "lease_owner": case((is_held, bindparam("owner", type_=String())), else_=None),
        "lease_until": case((is_held, bindparam("until", type_=_MOMENT)), else_=None),
    }
    return insert(DELIVERIES).from_select(list(columns), select(*columns.values())).returning(_D.id, _D.sequence)


_INSERT = _inserting()


def insert_deliveries(
    session: Session, rows: Sequence[Candidate], now: datetime, owner: str, until: datetime
) -> list[int]:
    """New rows; their sequences."""
    told = {
        "id_list": array([row.id for row in rows]),
        "event_id_list": array([row.event.id for row in rows]),
        "event_list": array([row.event.name for row in rows]),
        "tenant_id_list": array([row.event.tenant_id for row in rows]),
        "installation_id_list": array([row.subscription.installation_id for row in rows]),
        "handler_list": array([row.subscription.handler for row in rows]),
        "ordered_list": array([row.subscription.ordered for row in rows]),
        "place_list": array([row.place for row in rows]),
        "has_begun_list": array([row.has_begun for row in rows]),
        "max_attempts_list": array([row.subscription.max_attempts for row in rows]),
        "moment": now,
        "owner": owner,
        "until": until,
    }
    found: Any = session.execute(_INSERT, told).all()
    made: dict[str, int] = dict(found)
    return [made[row.id] for row in rows]


READY_TENANTS = tenants_of("ready")


def _ready() -> Any:
    asked = _rows("asked", tenant=String(), share=Integer())
    columns = (_D.sequence, _D.tenant_id, _D.installation_id, _D.ordered, _D.attempt)
    order = (_D.place, _D.sequence)
    condition = is_at(DELIVERIES, "ready")
    return _first_of(DELIVERIES, _D.tenant_id, (asked.c.tenant, asked), order, condition, asked.c.share, *columns)


def _blocked() -> Any:
    asked = _rows("asked", lane=String(), share=Integer())
    columns = (_D.sequence, _D.installation_id, _D.attempt)
    order = (_D.place, _D.sequence)
    condition = is_at(DELIVERIES, "blocked") & _D.ordered.is_(True)
    return _first_of(DELIVERIES, _D.installation_id, (asked.c.lane, asked), order, condition, asked.c.share, *columns)


_READY = _ready()
_BLOCKED = _blocked()


def ready_of_tenants(session: Session, shares: Mapping[str, int]) -> Sequence[Any]:
    """Sequence, tenant, installation, whether ordered, and attempts, of the first of each tenant."""
    return session.execute(
        _READY, {"tenant_list": array(list(shares)), "share_list": array(list(shares.values()))}
    ).all()


def blocked_of_lanes(session: Session, lanes: Mapping[str, int]) -> Sequence[Any]:
    """Sequence, installation and attempts of the first that are blocked of each installation, in order."""
    asked = {"lane_list": array(list(lanes)), "share_list": array(list(lanes.values()))}
    return session.execute(_BLOCKED, asked).all()


_LISTED = _D.sequence == any_(_array_once("sequences", BigInteger()))
CLAIM_HEADS = claiming(_LISTED, "ready", state="running", attempt=_D.attempt + 1)
CLAIM_BEHIND = claiming(_LISTED, "blocked")
EXTEND = extending(_LISTED)
EVENTS_BY_ID = events_of(OUTBOX.c.id == any_(_array_once("events", String())))
_SEQUENCES = _array_once("sequence_list", BigInteger())


def _told_of(name: str, of: TypeEngine[Any]) -> Any:
    """What a list says of the row at hand; `sequence_list` has the rows, in ascending order."""
    listed = Grouping(_array_once(f"{name}_list", of))
    # A binary search. A join would be planned by how many rows the table had at that time, and by how many of them
    # the policies might let through: it then reads the whole table, or pairs each row with each.
    return listed[func.width_bucket(_D.sequence, _SEQUENCES)]


def _still_held(where: str) -> tuple[Any, ...]:
    """As `this_attempt`, for each row of a list."""
    return (
        _D.sequence == any_(_SEQUENCES),
        _D.attempt == _told_of("held", Integer()),
        _D.lease_owner == bindparam("owner"),
        stands(where),
    )


_TOLD_OF_ALL: dict[str, Any] = {
    "attempt": _told_of("attempt", Integer()),
    "finished_at": func.to_timestamp(_told_of("ended", Float())),
    "duration_ms": _told_of("duration_ms", Float()),
}
_FINISH_DONE = (
    update(DELIVERIES)
    .where(*_still_held("running"))
    .values(state="done", place=None, next_attempt_at=None, error_code=None, error_message=None, **_TOLD_OF_ALL,
            **RELEASED)
)  # fmt: skip


def _finishing() -> Any:
    """For what did not go well: it is seldom, and much is to be told of it."""
    columns: dict[str, TypeEngine[Any]] = {
        "state": String(),
        "place": String(),
        "failures": Integer(),
        "next_attempt_at": _MOMENT,
        "error_code": String(),
        "error_message": Text(),
    }
    arrays = [bindparam("row_list", type_=ARRAY(BigInteger()))]
    arrays += [bindparam(f"{name}_list", type_=ARRAY(of)) for name, of in columns.items()]
    told = func.unnest(*arrays).table_valued(
        column("row", BigInteger()), *(column(name, of) for name, of in columns.items())
    ).render_derived(name="told")  # fmt: skip
    return (
        update(DELIVERIES)
        .where(_D.sequence == told.c.row, *_still_held("running"))
        .values(**{name: told.c[name] for name in columns}, **_TOLD_OF_ALL, **RELEASED)
    )


_FINISH = _finishing()


def finish(session: Session, owner: str, told: Sequence[tuple[Claimed, Verdict]]) -> None:
    """Write down what became of these."""
    told = sorted(told, key=lambda item: item[0].sequence)
    done = [item for item in told if item[1].state == "done"]
    if done:
        session.execute(_FINISH_DONE, _told(owner, done))
    if len(done) == len(told):
        return
    others = [item for item in told if item[1].state != "done"]
    verdicts = [verdict for _, verdict in others]
    session.execute(
        _FINISH,
        {
            **_told(owner, others),
            "row_list": [claimed.sequence for claimed, _ in others],
            "state_list": [verdict.state for verdict in verdicts],
            "place_list": [verdict.place for verdict in verdicts],
            "failures_list": [verdict.failures for verdict in verdicts],
            "next_attempt_at_list": [verdict.next_attempt_at for verdict in verdicts],
            "error_code_list": [stored_text(verdict.error_code, 128) for verdict in verdicts],
            "error_message_list": [stored_text(verdict.error_message, 4096) for verdict in verdicts],
        },
    )


def _told(owner: str, ended: Sequence[tuple[Claimed, Verdict]]) -> dict[str, Any]:
    return {
        **_held(owner, [(claimed.sequence, claimed.held) for claimed, _ in ended]),
        "attempt_list": array([claimed.attempt for claimed, _ in ended]),
        "ended_list": array([_seconds(verdict.finished_at) for _, verdict in ended]),
        "duration_ms_list": array([verdict.duration_ms for _, verdict in ended]),
    }


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


_FINISH_SETTLED = update(DELIVERIES).where(*_still_held("settled")).values(place=None, **RELEASED)
_PUT_BACK = (
    update(DELIVERIES)
    .where(*_still_held("running"))
    .values(
        place=case((_D.ordered.is_(True), place("blocked")), else_=place("ready")), state=place("pending"), **RELEASED
    )
)


def finish_settled(session: Session, owner: str, held: Sequence[Claimed]) -> None:
    """Let go those whose end was committed with what they wrote."""
    told = sorted((claimed.sequence, claimed.attempt) for claimed in held)
    session.execute(_FINISH_SETTLED, _held(owner, told))


def put_back(session: Session, owner: str, held: Sequence[Claimed]) -> None:
    """Let go those that have not begun."""
    told = sorted((claimed.sequence, claimed.held) for claimed in held)
    session.execute(_PUT_BACK, _held(owner, told))


def _held(owner: str, told: Sequence[tuple[int, int]]) -> dict[str, Any]:
    return {
        "owner": owner,
        "sequence_list": array([sequence for sequence, _ in told]),
        "held_list": array([held for _, held in told]),
    }


def _promotion() -> Any:
    asked = _rows("asked", lane=String())
    head, other = DELIVERIES.alias("head"), DELIVERIES.alias("other")
    first = (
        select(head.c.sequence)
        .where(head.c.installation_id == asked.c.lane, head.c.ordered.is_(True), is_at(head, "blocked"))
        .order_by(head.c.place, head.c.sequence)
        .limit(1)
        .lateral("first")
    )
    firsts = select(first.c.sequence).select_from(asked.join(first, true())).where(~is_lane_active(asked.c.lane, other))
    return (
        update(DELIVERIES)
        # As an array: the heads are found first, then looked up by key, whatever the planner believes of the table.
        .where(_D.sequence == any_(func.array(firsts.scalar_subquery(), type_=ARRAY(BigInteger()))))
        .values(place="ready")
    )


_PROMOTE = _promotion()


def promote(session: Session, lanes: Sequence[str]) -> int:
    """The first of each that is blocked by nobody; how many."""
    return session.connection().execute(_PROMOTE, {"lane_list": array(lanes)}).rowcount
