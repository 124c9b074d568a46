"""The dispatcher's statements. All of them run on SQLite and on PostgreSQL.

Lists of tenants are read by skipping from one to the next in an index, so that a tenant with a million rows costs what
a tenant with one row costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    RowMapping,
    Table,
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
from jackfield.jobs.interfaces import DeliverySnapshot, Subscription
from jackfield.jobs.models import Delivery, OutboxEvent
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

_OUTBOX: Table = OutboxEvent.__table__  # type: ignore[assignment]  # declared as FromClause
_DELIVERIES: Table = Delivery.__table__  # type: ignore[assignment]  # declared as FromClause
_D = _DELIVERIES.c
# Any number will do, as long as no other program locks the same one.
_POSTGRESQL_LOCK = 0x6A6A6F62
_ACTIVE = ("ready", "waiting", "running")
_PRUNE_BATCH = 2_000


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
    """A claimed delivery and what became of it."""

    claimed: Claimed
    verdict: Verdict


def lock(session: Session) -> None:
    """Only one node at a time changes who stands where; handlers run outside, on all nodes at once.

    On SQLite a write transaction is alone anyway.
    """
    if session.get_bind().dialect.name != "sqlite":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRESQL_LOCK})


def _tenants(session: Session, table: Table, condition: str, after: str, limit: int) -> list[str]:
    """Distinct tenants of the rows for which the condition holds, from behind `after` on and round to it again."""

    def where(alias: Any) -> ColumnElement[bool]:
        return alias.c.fanned_out_at.is_(None) if condition == "new" else alias.c.place == condition

    def chain(name: str, start: Callable[[Any], ColumnElement[bool]]) -> CTE:
        first, further = table.alias(f"{name}_first"), table.alias(f"{name}_further")
        found = select(func.min(first.c.tenant_id).label("tenant")).where(where(first), start(first.c.tenant_id))
        links = found.cte(name, recursive=True)
        step = select(func.min(further.c.tenant_id)).where(where(further), further.c.tenant_id > links.c.tenant)
        return links.union_all(select(step.scalar_subquery()).where(links.c.tenant.is_not(None)))

    rest = chain("rest", lambda tenant: tenant > after)
    round_again = chain("round_again", lambda tenant: tenant <= after)
    query = union_all(
        select(rest.c.tenant).where(rest.c.tenant.is_not(None)),
        select(round_again.c.tenant).where(round_again.c.tenant <= after),
    ).limit(limit)
    return list(session.scalars(query))


def new_events(session: Session, after: str, limit: int, leave_out: Iterable[str] = ()) -> tuple[list[NewEvent], str]:
    """Events without deliveries, in order per tenant, about the same number from each tenant.

    Args:
        after: The tenant who came last.
        leave_out: Tenants who cannot be served now.

    Returns:
        The events, and the tenant who came last.
    """
    skipped = set(leave_out)
    tenants = _tenants(session, _OUTBOX, "new", after, limit + len(skipped))
    tenants = [tenant for tenant in tenants if tenant not in skipped][:limit]
    if not tenants:
        return [], after
    each = -(-limit // len(tenants))
    parts = [
        select(
            select(_OUTBOX.c.position, _OUTBOX.c.id, _OUTBOX.c.tenant_id, _OUTBOX.c.name)
            .where(_OUTBOX.c.tenant_id == tenant, _OUTBOX.c.fanned_out_at.is_(None))
            .order_by(_OUTBOX.c.position)
            .limit(each)
            .subquery()
        )
        for tenant in tenants
    ]
    events = [NewEvent(*row) for row in session.execute(union_all(*parts))]
    return sorted(events, key=lambda event: event.position), tenants[-1]


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
    mine = set(
        session.scalars(
            update(_OUTBOX)
            .where(_OUTBOX.c.position.in_([event.position for event in events]), _OUTBOX.c.fanned_out_at.is_(None))
            .values(fanned_out_at=now)
            .returning(_OUTBOX.c.position)
        )
    )
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
        session.connection().execute(insert(_DELIVERIES), rows)
    return {row["installation_id"] for row in rows if row["ordered"]}


def promote(session: Session, installations: Iterable[str]) -> None:
    """Where no ordered delivery of an installation is active, the first of the blocked ones becomes ready."""
    lanes = [{"lane": installation_id} for installation_id in sorted(set(installations))]
    if not lanes:
        return
    other = _DELIVERIES.alias("other")
    head = _DELIVERIES.alias("head")
    lane = bindparam("lane", type_=_D.installation_id.type)
    statement = (
        update(_DELIVERIES)
        .where(
            _D.sequence
            == select(func.min(head.c.sequence))
            .where(head.c.installation_id == lane, head.c.ordered.is_(True), head.c.place == "blocked")
            .scalar_subquery(),
            ~exists().where(
                other.c.installation_id == lane,
                other.c.ordered.is_(True),
                or_(*(other.c.place == place for place in _ACTIVE)),
            ),
        )
        .values(place="ready")
    )
    session.connection().execute(statement, lanes)


def open_lanes(session: Session) -> list[str]:
    """Installations with blocked deliveries."""
    query = select(_D.installation_id).where(_D.place == "blocked").distinct()
    return list(session.scalars(query))


def finish(session: Session, owner: str, ended: Sequence[Ended]) -> None:
    """Write down verdicts. A delivery that was taken from this node meanwhile is left alone."""
    if not ended:
        return
    given: dict[str, Any] = {name: bindparam(name) for name in Verdict.__dataclass_fields__}
    statement = (
        update(_DELIVERIES)
        .where(_D.sequence == bindparam("this"), _D.lease_owner == owner, _D.attempt == bindparam("this_attempt"))
        .values(**given, lease_owner=None, lease_until=None)
    )
    rows: list[dict[str, Any]] = [
        {
            "this": item.claimed.sequence,
            "this_attempt": item.claimed.snapshot.attempt,
            "state": item.verdict.state,
            "place": item.verdict.place,
            "failures": item.verdict.failures,
            "next_attempt_at": item.verdict.next_attempt_at,
            "finished_at": item.verdict.finished_at,
            "error_code": _text(item.verdict.error_code, 128),
            "error_message": _text(item.verdict.error_message, 4096),
            "duration_ms": item.verdict.duration_ms,
        }
        for item in ended
    ]
    session.connection().execute(statement, rows)


def wake_due(session: Session, now: datetime) -> None:
    """Deliveries whose next attempt is due become ready."""
    session.execute(update(_DELIVERIES).where(_D.place == "waiting", _D.next_attempt_at <= now).values(place="ready"))


def next_due(session: Session) -> datetime | None:
    """When the next waiting delivery is due."""
    query = select(_D.next_attempt_at).where(_D.place == "waiting").order_by(_D.next_attempt_at).limit(1)
    return session.scalar(query)


def release(session: Session, now: datetime, *, owner: str, running: Sequence[int], at_once: bool) -> set[str]:
    """Take deliveries over from nodes that died, and from this one what it does not run.

    Args:
        running: Sequences that this node does run.
        at_once: Do not wait for leases to expire: there are no other nodes.

    Returns:
        Installations of ordered deliveries that were given up altogether.
    """
    is_abandoned = true() if at_once else or_(_D.lease_until < now, _D.lease_owner == owner)
    statement = update(_DELIVERIES).where(_D.place == "running", is_abandoned, _D.sequence.not_in(running))
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
    return {installation_id for installation_id, ordered, place in given_up if ordered and place is None}


def give_back(session: Session, owner: str) -> None:
    """What this node had claimed and was told not to finish is ready again, as if it had not begun."""
    session.execute(
        update(_DELIVERIES)
        .where(_D.place == "running", _D.lease_owner == owner)
        .values(state="pending", place="ready", lease_owner=None, lease_until=None)
    )


def extend(session: Session, owner: str, running: Sequence[int], until: datetime) -> None:
    """Renew the leases of what this node runs."""
    session.execute(
        update(_DELIVERIES)
        .where(_D.sequence.in_(running), _D.lease_owner == owner, _D.place == "running")
        .values(lease_until=until)
    )


def has_work(session: Session, now: datetime) -> bool:
    """Whether a claim would find something: a few looks into indexes."""
    query = select(
        or_(
            exists().where(_D.place == "ready"),
            exists().where(_D.place == "waiting", _D.next_attempt_at <= now),
        )
    )
    return bool(session.scalar(query))


def ready_tenants(session: Session, after: str, limit: int) -> list[str]:
    """Tenants with ready deliveries, beginning behind the one who came last."""
    return _tenants(session, _DELIVERIES, "ready", after, limit)


def claim(session: Session, shares: Mapping[str, int], owner: str, until: datetime) -> list[Claimed]:
    """Lease up to so many ready deliveries of each tenant, the oldest first."""
    if not shares:
        return []
    parts = [
        select(
            select(_D.sequence)
            .where(_D.place == "ready", _D.tenant_id == tenant)
            .order_by(_D.sequence)
            .limit(share)
            .subquery()
        )
        for tenant, share in shares.items()
    ]
    rows = (
        session.execute(
            update(_DELIVERIES)
            .where(_D.sequence.in_(union_all(*parts)), _D.place == "ready")
            .values(
                state="running",
                place="running",
                attempt=_D.attempt + 1,
                next_attempt_at=None,
                lease_owner=owner,
                lease_until=until,
            )
            .returning(_DELIVERIES)
        )
        .mappings()
        .all()
    )
    events = {
        row["id"]: row
        for row in session.execute(
            select(_OUTBOX.c.id, _OUTBOX.c.payload, _OUTBOX.c.source, _OUTBOX.c.created_at).where(
                _OUTBOX.c.id.in_({row["event_id"] for row in rows})
            )
        ).mappings()
    }
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
        select(_OUTBOX.c.position)
        .where(
            _OUTBOX.c.fanned_out_at < before,
            ~exists().where(_D.event_id == _OUTBOX.c.id),
        )
        .limit(_PRUNE_BATCH)
    )
    dropped = 0
    for column, old in ((_D.sequence, old_deliveries), (_OUTBOX.c.position, old_events)):
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
