"""The dispatcher's statements. All of them run on SQLite, and all but those of `postgresql` on PostgreSQL.

Lists of tenants are read by skipping from one to the next in an index, so that a tenant with a million rows costs what
a tenant with one row costs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    RowMapping,
    Select,
    String,
    Update,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.orm import Session

from jackfield import ids
from jackfield.db import Database
from jackfield.jobs import postgresql
from jackfield.jobs.holding import ACTIVE, DELIVERIES, LEASED, OUTBOX, RELEASED, this_attempt
from jackfield.jobs.interfaces import DeliverySnapshot, Subscription
from jackfield.jobs.outcomes import INTERRUPTION_LIMIT, Verdict

__all__ = [
    "Claimed",
    "Ended",
    "NewEvent",
    "claim",
    "extend",
    "fan_out",
    "finish",
    "give_back",
    "has_work",
    "lock",
    "new_events",
    "next_due",
    "open_lanes",
    "promote",
    "prune",
    "ready_tenants",
    "release",
    "wake_due",
]

_D = DELIVERIES.c
# Any number will do, as long as no other program locks the same one.
_POSTGRESQL_LOCK = 0x6A6A6F62
_PRUNE_BATCH = 2_000
_TENANTS_PER_ROUND = 50
"""SQLite takes a union of a limited number of parts; who is left out comes first in the next round."""
_CLAIMED_COLUMNS = (
    "sequence", "id", "event_id", "event", "tenant_id", "installation_id", "handler", "ordered", "attempt", "failures",
    "max_attempts", "created_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event of which no deliveries have been made."""

    position: int
    id: str
    tenant_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this node runs now.

    Attributes:
        payload: JSON, still to be read into the snapshot; None when the event is gone.
    """

    sequence: int
    failures: int
    max_attempts: int
    snapshot: DeliverySnapshot
    payload: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A claimed delivery and what became of it.

    Attributes:
        may_be_settled: Its end may have been committed with what it wrote; then that holds, and not the verdict.
    """

    claimed: Claimed
    verdict: Verdict
    may_be_settled: bool = False


def lock(session: Session) -> None:
    """Only one node at a time changes who stands where; handlers run outside, on all nodes at once.

    On SQLite a write transaction is alone anyway.
    """
    if _takes_arrays(session):
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRESQL_LOCK})


def _takes_arrays(session: Session) -> bool:
    return session.get_bind().dialect.name != "sqlite"


@cache
def _tenants(kind: Literal["new", "ready"]) -> Select[str]:
    """Distinct tenants with rows of a kind, from behind `after` on and round to it again."""
    source = OUTBOX if kind == "new" else DELIVERIES

    def where(alias: Any) -> ColumnElement[bool]:
        return alias.c.fanned_out_at.is_(None) if kind == "new" else alias.c.place == "ready"

    def chain(name: str, start: Callable[[Any], ColumnElement[bool]]) -> CTE:
        first, further = source.alias(f"{name}_first"), source.alias(f"{name}_further")
        found = select(func.min(first.c.tenant_id).label("tenant")).where(where(first), start(first.c.tenant_id))
        links = found.cte(name, recursive=True)
        step = select(func.min(further.c.tenant_id)).where(where(further), further.c.tenant_id > links.c.tenant)
        return links.union_all(select(step.scalar_subquery()).where(links.c.tenant.is_not(None)))

    after = bindparam("after", type_=String)
    rest = chain("rest", lambda tenant: tenant > after)
    round_again = chain("round_again", lambda tenant: tenant <= after)
    both = union_all(
        select(rest.c.tenant).where(rest.c.tenant.is_not(None)),
        select(round_again.c.tenant).where(round_again.c.tenant <= after),
    )
    return select(both.limit(bindparam("count", type_=Integer)).subquery().c.tenant)


@cache
def _of_tenants(kind: Literal["new", "ready"], count: int) -> Any:
    """The oldest rows of a kind of so many tenants: `share_0` of `tenant_0`, and so on."""
    table, order = (OUTBOX, OUTBOX.c.position) if kind == "new" else (DELIVERIES, _D.sequence)
    columns = (order, table.c.id, table.c.tenant_id, table.c.name) if kind == "new" else (order,)
    condition = table.c.fanned_out_at.is_(None) if kind == "new" else table.c.place == "ready"
    return union_all(
        *(
            select(
                select(*columns)
                .where(table.c.tenant_id == bindparam(f"tenant_{number}"), condition)
                .order_by(order)
                .limit(bindparam(f"share_{number}", type_=Integer))
                .subquery()
            )
            for number in range(count)
        )
    )


def _parameters(shares: Mapping[str, int]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for number, (tenant, share) in enumerate(shares.items()):
        parameters[f"tenant_{number}"] = tenant
        parameters[f"share_{number}"] = share
    return parameters


def new_events(session: Session, after: str, limit: int, leave_out: Iterable[str] = ()) -> tuple[list[NewEvent], str]:
    """Events without deliveries, in order per tenant, about the same number from each tenant.

    Args:
        after: The tenant who came last.
        leave_out: Tenants who cannot be served now.

    Returns:
        The events, and the tenant who came last.
    """
    skipped = set(leave_out)
    wanted = min(limit, _TENANTS_PER_ROUND)
    tenants = session.scalars(_tenants("new"), {"after": after, "count": wanted + len(skipped)}).all()
    tenants = [tenant for tenant in tenants if tenant not in skipped][:wanted]
    if not tenants:
        return [], after
    each = -(-limit // len(tenants))
    if _takes_arrays(session):
        asked = {"tenant_list": tenants, "share_list": [each] * len(tenants)}
        rows = session.execute(postgresql.NEW_OF_TENANTS, asked)
    else:
        rows = session.execute(_of_tenants("new", len(tenants)), _parameters(dict.fromkeys(tenants, each)))
    return sorted((NewEvent(*row) for row in rows), key=lambda event: event.position), tenants[-1]


_MARK_FANNED_OUT = (
    update(OUTBOX)
    .where(OUTBOX.c.position.in_(bindparam("positions", expanding=True)), OUTBOX.c.fanned_out_at.is_(None))
    .values(fanned_out_at=bindparam("moment"))
    .returning(OUTBOX.c.position)
)


def fan_out(
    session: Session,
    events: Sequence[NewEvent],
    subscriptions: Mapping[tuple[str, str], Sequence[Subscription]],
    now: datetime,
) -> set[str]:
    """Make deliveries of events that nobody else has made deliveries of meanwhile.

    Returns:
        Installations whose ordered deliveries have grown.
    """
    positions = [event.position for event in events]
    mark = postgresql.MARK_FANNED_OUT if _takes_arrays(session) else _MARK_FANNED_OUT
    mine = set(session.scalars(mark, {"positions": positions, "moment": now}))
    rows: list[dict[str, Any]] = [
        {
            "id": ids.new_id("dlv"),
            "event_id": event.id,
            "event": event.name,
            "tenant_id": event.tenant_id,
            "installation_id": subscription.installation_id,
            "handler": subscription.handler,
            "ordered": subscription.ordered,
            "state": "pending",
            "place": "blocked" if subscription.ordered else "ready",
            "attempt": 0,
            "failures": 0,
            "interruptions": 0,
            "max_attempts": subscription.max_attempts,
            "created_at": now,
        }
        for event in events
        if event.position in mine
        # Once per handler, whatever the subscribers say: a row that is refused would hold up all.
        for subscription in {
            (wanted.installation_id, wanted.handler): wanted
            for wanted in subscriptions.get((event.tenant_id, event.name), ())
        }.values()
    ]
    if rows:
        session.connection().execute(insert(DELIVERIES), rows)
    return {row["installation_id"] for row in rows if row["ordered"]}


def _promotion() -> Update:
    head, other = DELIVERIES.alias("head"), DELIVERIES.alias("other")
    lane = bindparam("lane", type_=_D.installation_id.type)
    first = select(func.min(head.c.sequence)).where(
        head.c.installation_id == lane, head.c.ordered.is_(True), head.c.place == "blocked"
    )
    is_active = exists().where(
        other.c.installation_id == lane,
        other.c.ordered.is_(True),
        or_(*(other.c.place == place for place in ACTIVE)),
    )
    return update(DELIVERIES).where(_D.sequence == first.scalar_subquery(), ~is_active).values(place="ready")


_PROMOTE = _promotion()


def promote(session: Session, installations: Iterable[str]) -> None:
    """Where no ordered delivery of an installation is active, the first of the blocked ones becomes ready."""
    lanes = sorted(set(installations))
    if not lanes:
        return
    if _takes_arrays(session):
        session.execute(postgresql.PROMOTE, {"lane_list": lanes})
    else:
        session.connection().execute(_PROMOTE, [{"lane": installation_id} for installation_id in lanes])


def open_lanes(session: Session) -> list[str]:
    """Installations with blocked deliveries."""
    return list(session.scalars(select(_D.installation_id).where(_D.place == "blocked").distinct()))


_VERDICT: dict[str, Any] = {name: bindparam(f"new_{name}") for name in Verdict.__dataclass_fields__}
_FINISH = update(DELIVERIES).where(*this_attempt("running")).values(**_VERDICT, **RELEASED)
_GONE: dict[str, Any] = {"place": None, **RELEASED}
_FINISH_SETTLED = update(DELIVERIES).where(*this_attempt("settled")).values(**_GONE)


def finish(session: Session, owner: str, ended: Sequence[Ended]) -> None:
    """Write down verdicts. A delivery that was taken from this node meanwhile is left alone."""
    if not ended:
        return
    may_be_settled = [item for item in ended if item.may_be_settled]
    if _takes_arrays(session):
        session.execute(postgresql.FINISH, _told(owner, ended))
        if may_be_settled:
            session.execute(postgresql.FINISH_SETTLED, _told_attempts(owner, may_be_settled))
        return
    session.connection().execute(_FINISH, [{**_this(owner, item), **_written(item)} for item in ended])
    if may_be_settled:
        session.connection().execute(_FINISH_SETTLED, [_this(owner, item) for item in may_be_settled])


def _this(owner: str, item: Ended) -> dict[str, Any]:
    return {"this": item.claimed.sequence, "this_owner": owner, "this_attempt": item.claimed.snapshot.attempt}


def _written(item: Ended) -> dict[str, Any]:
    verdict = item.verdict
    return {
        "new_state": verdict.state,
        "new_place": verdict.place,
        "new_failures": verdict.failures,
        "new_next_attempt_at": verdict.next_attempt_at,
        "new_finished_at": verdict.finished_at,
        "new_error_code": _text(verdict.error_code, 128),
        "new_error_message": _text(verdict.error_message, 4096),
        "new_duration_ms": verdict.duration_ms,
    }


def _told_attempts(owner: str, ended: Sequence[Ended]) -> dict[str, Any]:
    return {
        "owner": owner,
        "sequence_list": [item.claimed.sequence for item in ended],
        "attempt_list": [item.claimed.snapshot.attempt for item in ended],
    }


def _told(owner: str, ended: Sequence[Ended]) -> dict[str, Any]:
    verdicts = [item.verdict for item in ended]
    return {
        **_told_attempts(owner, ended),
        "state_list": [verdict.state for verdict in verdicts],
        "place_list": [verdict.place for verdict in verdicts],
        "failures_list": [verdict.failures for verdict in verdicts],
        "next_attempt_at_list": [verdict.next_attempt_at for verdict in verdicts],
        "finished_at_list": [verdict.finished_at for verdict in verdicts],
        "error_code_list": [_text(verdict.error_code, 128) for verdict in verdicts],
        "error_message_list": [_text(verdict.error_message, 4096) for verdict in verdicts],
        "duration_ms_list": [verdict.duration_ms for verdict in verdicts],
    }


_WAKE_DUE = (
    update(DELIVERIES)
    .where(_D.place == "waiting", _D.next_attempt_at <= bindparam("moment", type_=_D.next_attempt_at.type))
    .values(place="ready")
)


def wake_due(session: Session, now: datetime) -> None:
    """Deliveries whose next attempt is due become ready."""
    session.execute(_WAKE_DUE, {"moment": now})


_NEXT_DUE = select(_D.next_attempt_at).where(_D.place == "waiting").order_by(_D.next_attempt_at).limit(1)


def next_due(session: Session) -> datetime | None:
    """When the next waiting delivery is due."""
    return session.scalar(_NEXT_DUE)


def release(
    session: Session,
    now: datetime,
    *,
    owner: str,
    running: Sequence[int],
    at_once: bool,
    dead_owners: Collection[str] = (),
) -> set[str]:
    """Take deliveries over from nodes that died, and from this one what it does not run.

    Args:
        running: Sequences that this node does run.
        at_once: Do not wait for leases to expire: there are no other nodes.
        dead_owners: Nodes whose leases are not waited for either.

    Returns:
        Installations of ordered deliveries that are at their end by this.
    """
    gone = [owner, *dead_owners]
    is_abandoned = true() if at_once else or_(_D.lease_until < now, _D.lease_owner.in_(gone))
    settled = session.execute(
        update(DELIVERIES)
        .where(_D.place == "settled", is_abandoned, _D.sequence.not_in(running))
        .values(**_GONE)
        .returning(_D.installation_id, _D.ordered)
    )
    ended = {installation_id for installation_id, ordered in settled if ordered}
    statement = update(DELIVERIES).where(_D.place == "running", is_abandoned, _D.sequence.not_in(running))
    is_last = _D.interruptions + 1 >= INTERRUPTION_LIMIT
    given_up = session.execute(
        statement.values(
            state=case((is_last, "dead"), else_="pending"),
            place=case((is_last, None), else_="ready"),
            finished_at=case((is_last, now), else_=None),
            error_code="delivery-interrupted",
            error_message="The platform ended while this ran.",
            interruptions=_D.interruptions + 1,
            lease_owner=None,
            lease_until=None,
        ).returning(_D.installation_id, _D.ordered, _D.place)
    )
    return ended | {installation_id for installation_id, ordered, place in given_up if ordered and place is None}


def give_back(session: Session, owner: str) -> set[str]:
    """What this node had claimed and was told not to finish is ready again, as if it had not begun.

    Returns:
        Installations of ordered deliveries whose end was committed all the same.
    """
    settled = session.execute(
        update(DELIVERIES)
        .where(_D.place == "settled", _D.lease_owner == owner)
        .values(**_GONE)
        .returning(_D.installation_id, _D.ordered)
    )
    ended = {installation_id for installation_id, ordered in settled if ordered}
    session.execute(
        update(DELIVERIES)
        .where(_D.place == "running", _D.lease_owner == owner)
        .values(state="pending", place="ready", **RELEASED)
    )
    return ended


def extend(session: Session, owner: str, running: Sequence[int], until: datetime) -> None:
    """Renew the leases of what this node runs."""
    session.execute(
        update(DELIVERIES)
        .where(_D.sequence.in_(running), _D.lease_owner == owner, _D.place == "running")
        .values(lease_until=until)
    )


_HAS_WORK = select(
    or_(
        exists().where(_D.place == "ready"),
        exists().where(_D.place == "waiting", _D.next_attempt_at <= bindparam("moment", type_=_D.next_attempt_at.type)),
    )
)


def has_work(session: Session, now: datetime) -> bool:
    """Whether a claim would find something: a few looks into indexes."""
    return bool(session.scalar(_HAS_WORK, {"moment": now}))


def ready_tenants(session: Session, after: str, limit: int) -> list[str]:
    """Tenants with ready deliveries, beginning behind the one who came last."""
    return list(session.scalars(_tenants("ready"), {"after": after, "count": limit}))


@cache
def _claiming(tenants: int) -> Any:
    return (
        update(DELIVERIES)
        .where(_D.sequence.in_(_of_tenants("ready", tenants)), _D.place == "ready")
        .values(LEASED)
        .returning(*(_D[name] for name in _CLAIMED_COLUMNS))
    )


_CLAIM_ARRAY = postgresql.claiming(_CLAIMED_COLUMNS)
_EVENTS = select(OUTBOX.c.id, OUTBOX.c.payload, OUTBOX.c.source, OUTBOX.c.created_at, OUTBOX.c.cause).where(
    OUTBOX.c.id.in_(bindparam("events", expanding=True))
)


def claim(session: Session, shares: Mapping[str, int], owner: str, until: datetime) -> list[Claimed]:
    """Lease up to so many ready deliveries of each tenant, the oldest first."""
    if not shares:
        return []
    if _takes_arrays(session):
        asked = {"tenant_list": list(shares), "share_list": list(shares.values())}
        ready = list(session.scalars(postgresql.READY_OF_TENANTS, asked))
        taken = {"sequences": ready, "owner": owner, "until": until}
        rows = session.execute(_CLAIM_ARRAY, taken).mappings().all()
        by_id = postgresql.EVENTS_BY_ID
    else:
        parameters = {**_parameters(shares), "owner": owner, "until": until}
        rows = session.execute(_claiming(len(shares)), parameters).mappings().all()
        by_id = _EVENTS
    if not rows:
        return []
    wanted = list({row["event_id"] for row in rows})
    events = {row["id"]: row for row in session.execute(by_id, {"events": wanted}).mappings()}
    claimed = [_claimed(row, events.get(row["event_id"])) for row in rows]
    return sorted(claimed, key=lambda item: item.sequence)


def _claimed(row: RowMapping, event: RowMapping | None) -> Claimed:
    return Claimed(
        sequence=row["sequence"],
        failures=row["failures"],
        max_attempts=row["max_attempts"],
        snapshot=DeliverySnapshot(
            id=row["id"],
            event_id=row["event_id"],
            event=row["event"],
            tenant_id=row["tenant_id"],
            installation_id=row["installation_id"],
            handler=row["handler"],
            ordered=row["ordered"],
            attempt=row["attempt"],
            payload=None,
            source=event["source"] if event else "",
            emitted_at=event["created_at"] if event else row["created_at"],
            cause=event["cause"] if event else None,
            failures=row["failures"],
        ),
        payload=event["payload"] if event else None,
    )


async def prune(database: Database, before: datetime) -> int:
    """Drop deliveries that ended long ago, then events that have none left, in short transactions.

    Returns:
        How many rows went.
    """
    old_deliveries = select(_D.sequence).where(_D.finished_at < before).limit(_PRUNE_BATCH)
    old_events = (
        select(OUTBOX.c.position)
        .where(
            OUTBOX.c.fanned_out_at < before,
            ~exists().where(_D.event_id == OUTBOX.c.id),
        )
        .limit(_PRUNE_BATCH)
    )
    dropped = 0
    for column, old in ((_D.sequence, old_deliveries), (OUTBOX.c.position, old_events)):
        while True:
            async with database.write(None) as session:
                gone = await session.scalars(delete(column.table).where(column.in_(old)).returning(column))
                count = len(gone.all())
            dropped += count
            if count < _PRUNE_BATCH:
                break
    return dropped


def _text(value: str | None, limit: int) -> str | None:
    """Text that any database takes: PostgreSQL refuses NUL and what is too long for its column."""
    if value is None:
        return None
    return value[:limit].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
