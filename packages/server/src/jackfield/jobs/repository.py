"""The dispatcher's statements. What differs between the databases is in `sqlite` and `postgresql`.

Lists of tenants are read by skipping from one to the next in an index, so that a tenant with a million rows costs what
a tenant with one row costs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any

import msgspec
from sqlalchemy import bindparam, exists, func, or_, select, text, true, update
from sqlalchemy.orm import Session

from jackfield.jobs import postgresql, sqlite
from jackfield.jobs.deals import Candidate, NewEvent
from jackfield.jobs.holding import DELIVERIES, OUTBOX, RELEASED
from jackfield.jobs.interfaces import DeliverySnapshot
from jackfield.jobs.outcomes import INTERRUPTION_LIMIT, Verdict

__all__ = [
    "Claimed",
    "Ended",
    "Found",
    "begun",
    "claim",
    "extend",
    "finish",
    "give_back",
    "insert_deliveries",
    "lock",
    "look",
    "mark_fanned_out",
    "mark_running",
    "may_begin",
    "next_due",
    "open_lanes",
    "payload_of",
    "promote",
    "ready_tenants",
    "release",
    "wake_due",
]

_D = DELIVERIES.c
# Any number will do, as long as no other program locks the same one.
_POSTGRESQL_LOCK = 0x6A6A6F62
TENANTS_PER_ROUND = 50
"""Of so many tenants events are taken in one round; who is left out comes first in the next."""


class Claimed(msgspec.Struct, gc=False):
    """A delivery that this node holds.

    Attributes:
        held: The number of attempts that is written in its row while this node holds it.
        attempt: The number of the attempt that this node makes; the one after `held` where the row does not say yet
            that it has begun, because it stands behind others of its installation.
        payload: JSON; None when it is long or gone, and is to be asked for.
    """

    sequence: int
    id: str
    event_id: str
    event: str
    tenant_id: str
    installation_id: str
    handler: str
    ordered: bool
    held: int
    attempt: int
    failures: int
    max_attempts: int
    payload: str | None
    source: str
    emitted_at: datetime
    cause: str | None

    def snapshot(self, payload: Any, settling: Any) -> DeliverySnapshot:
        """For whoever carries it out."""
        return DeliverySnapshot(
            self.id, self.event_id, self.event, self.tenant_id, self.installation_id, self.handler, self.ordered,
            self.attempt, payload, self.source, self.emitted_at, self.cause, self.failures, settling,
        )  # fmt: skip


class Ended(msgspec.Struct, gc=False):
    """A claimed delivery and what became of it.

    Attributes:
        verdict: None when it was not begun: it stands where it stood before it was claimed.
        may_be_settled: Its end may have been committed with what it wrote; then that holds, and not the verdict.
    """

    claimed: Claimed
    verdict: Verdict | None
    may_be_settled: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to do.

    Attributes:
        events: Without deliveries, in the order of their commits.
        tenants: How many of them have any.
        last_tenant: Who came last.
        has_ready: A claim would find something.
        has_due: Something that waits for its next attempt is due.
    """

    events: list[NewEvent]
    tenants: int
    last_tenant: str
    has_ready: bool
    has_due: bool


def _own(session: Session) -> ModuleType:
    """The statements of this session's database."""
    return sqlite if session.get_bind().dialect.name == "sqlite" else postgresql


def lock(session: Session) -> None:
    """Only one node at a time changes who stands where; handlers run outside, on all nodes at once.

    On SQLite a write transaction is alone anyway.
    """
    if _own(session) is postgresql:
        session.execute(_LOCK)


_LOCK = text(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")


def look(session: Session, now: datetime, after: str, each: int, limit: int, leave_out: Collection[str] = ()) -> Found:
    """What there is to do: a few looks into indexes.

    Args:
        after: The tenant who came last.
        each: So many events of each tenant at most.
        limit: So many events in all.
        leave_out: Tenants who cannot be served now.
    """
    count = TENANTS_PER_ROUND + len(leave_out)
    events: list[NewEvent]
    events, has_ready, has_due = _own(session).look(session, now, after, count, each, limit)
    tenants = list(dict.fromkeys(event.tenant_id for event in events))  # in the order of their turns
    if leave_out:
        tenants = [tenant for tenant in tenants if tenant not in leave_out][:TENANTS_PER_ROUND]
        kept = frozenset(tenants)
        events = [event for event in events if event.tenant_id in kept]
    last = tenants[-1] if tenants else after
    events.sort(key=lambda event: event.position)
    return Found(events, len(tenants), last, bool(has_ready), bool(has_due))


def mark_fanned_out(
    session: Session, positions: Sequence[int], installations: Collection[str], now: datetime
) -> tuple[set[int], set[str]]:
    """Which of these events nobody else has made deliveries of meanwhile: that is for the caller to do now. And of
    these installations, those with an ordered delivery that has not ended."""
    return _own(session).mark_fanned_out(session, positions, list(installations), now)


def insert_deliveries(
    session: Session, rows: Sequence[Candidate], now: datetime, owner: str, until: datetime
) -> list[int]:
    """New deliveries; where they stand is in `place`. Their sequences, in the order of the rows."""
    return _own(session).insert_deliveries(session, rows, now, owner, until) if rows else []


def promote(session: Session, installations: Iterable[str]) -> int:
    """Where no ordered delivery of an installation is active, the first of the blocked ones becomes ready; how many."""
    lanes = sorted(set(installations))
    return _own(session).promote(session, lanes) if lanes else 0


def open_lanes(session: Session) -> list[str]:
    """Installations with blocked deliveries."""
    return list(session.scalars(select(_D.installation_id).where(_D.place == "blocked").distinct()))


def finish(session: Session, owner: str, ended: Sequence[Ended]) -> None:
    """Write down verdicts. A delivery that was taken from this node meanwhile is left alone."""
    if not ended:
        return
    own = _own(session)
    told = [(item.claimed, item.verdict) for item in ended if item.verdict is not None]
    if told:
        own.finish(session, owner, told)
    if settled := [item.claimed for item in ended if item.may_be_settled]:
        own.finish_settled(session, owner, settled)
    if unbegun := [item.claimed for item in ended if item.verdict is None]:
        own.put_back(session, owner, unbegun)


def may_begin(session: Session, owner: str, sequences: Sequence[int]) -> set[int]:
    """Of these, which this node holds behind others: those that are still its own and have nothing blocked before
    them, such as what is delivered once more."""
    other = DELIVERIES.alias("other")
    before = exists().where(
        other.c.installation_id == _D.installation_id,
        other.c.ordered.is_(True),
        other.c.place == "blocked",
        other.c.sequence < _D.sequence,
    )
    return set(
        session.scalars(
            select(_D.sequence).where(
                _D.sequence.in_(sequences), _D.lease_owner == owner, _D.place == "running", ~before
            )
        )
    )


def mark_running(session: Session, owner: str, sequences: Sequence[int]) -> None:
    """Say of these, which this node holds, that they have begun."""
    session.execute(
        update(DELIVERIES)
        .where(_D.sequence.in_(sequences), _D.lease_owner == owner, _D.place == "running")
        .values(state="running")
    )


_WAKE_DUE = (
    update(DELIVERIES)
    .where(_D.place == "waiting", _D.next_attempt_at <= bindparam("moment", type_=_D.next_attempt_at.type))
    .values(place="ready", next_attempt_at=None)
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
        Installations whose ordered deliveries are to be promoted.
    """
    gone = [owner, *dead_owners]
    is_abandoned = true() if at_once else or_(_D.lease_until < now, _D.lease_owner.in_(gone))
    held = frozenset(running)
    found = session.execute(
        select(_D.sequence, _D.installation_id, _D.ordered, _D.place, _D.state, _D.attempt, _D.interruptions).where(
            or_(_D.place == "running", _D.place == "settled"), is_abandoned
        )
    )
    mine = [row for row in found if row.sequence not in held]
    if not mine:
        return set()
    session.connection().execute(_RELEASE, [_released(row, now) for row in mine])
    return {row.installation_id for row in mine if row.ordered}


_RELEASE = (
    update(DELIVERIES)
    .where(_D.sequence == bindparam("this"))
    .values(
        place=bindparam("new_place", type_=_D.place.type),
        state=bindparam("new_state", type_=_D.state.type),
        finished_at=func.coalesce(bindparam("moment", type_=_D.finished_at.type), _D.finished_at),
        attempt=_D.attempt + bindparam("begun_unsaid", type_=_D.attempt.type),
        interruptions=_D.interruptions + bindparam("interrupted", type_=_D.interruptions.type),
        error_code=func.coalesce(bindparam("code", type_=_D.error_code.type), _D.error_code),
        error_message=func.coalesce(bindparam("message", type_=_D.error_message.type), _D.error_message),
        **RELEASED,
    )
)


def _released(row: Any, now: datetime) -> dict[str, Any]:
    """What becomes of an abandoned delivery. What was claimed and stood behind another had not begun."""
    if row.place == "settled":
        return _change(row, None, "done")
    waits_again = "blocked" if row.ordered else "ready"
    if row.state != "running":
        return _change(row, waits_again, "pending")
    # Where it stood behind others, its row does not count the attempt yet.
    unsaid = int(row.attempt == 0)
    told: dict[str, Any] = {
        "begun_unsaid": unsaid,
        "interrupted": 1,
        "code": "delivery-interrupted",
        "message": "The platform ended while this ran.",
    }
    if row.interruptions + 1 >= INTERRUPTION_LIMIT:
        return _change(row, None, "dead", moment=now, **told)
    return _change(row, waits_again, "pending", **told)


def _change(row: Any, place: str | None, state: str, **more: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"moment": None, "begun_unsaid": 0, "interrupted": 0, "code": None, "message": None}
    return {"this": row.sequence, "new_place": place, "new_state": state, **nothing, **more}


def give_back(session: Session, owner: str) -> set[str]:
    """What this node had claimed and was told not to finish is free again, as if it had not begun.

    Returns:
        Installations whose ordered deliveries are to be promoted.
    """
    lanes: set[str] = set()
    for statement in _GIVE_BACK:
        lanes |= {lane for lane, is_ordered in session.execute(statement, {"owner": owner}) if is_ordered}
    return lanes


_HELD_BY = _D.lease_owner == bindparam("owner", type_=_D.lease_owner.type)
_GIVE_BACK = tuple(
    statement.returning(_D.installation_id, _D.ordered)
    for statement in (
        update(DELIVERIES).where(_D.place == "settled", _HELD_BY).values(place=None, **RELEASED),
        update(DELIVERIES)
        .where(_D.place == "running", _HELD_BY, _D.ordered.is_(True))
        .values(state="pending", place="blocked", **RELEASED),
        update(DELIVERIES)
        .where(_D.place == "running", _HELD_BY, _D.ordered.is_(False))
        .values(state="pending", place="ready", **RELEASED),
    )
)


def extend(session: Session, owner: str, running: Sequence[int], until: datetime) -> None:
    """Renew the leases of what this node holds."""
    if running:
        own = _own(session)
        session.execute(own.EXTEND, {"sequences": own.array(running), "owner": owner, "until": until})


def ready_tenants(session: Session, after: str, limit: int) -> list[str]:
    """Tenants with ready deliveries, beginning behind the one who came last."""
    return list(session.scalars(_own(session).READY_TENANTS, {"after": after, "count": limit}))


def claim(
    session: Session, shares: Mapping[str, int], paces: Mapping[str, int], pace: int, owner: str, until: datetime
) -> list[Claimed]:
    """Lease up to so many ready deliveries of each tenant, the oldest first, and behind an ordered one some of those
    that are blocked by it.

    Args:
        paces: How many of an installation's ordered deliveries are taken at a time; `pace` of one that is not there.
            What has been tried before comes alone, so that a delivery that ends its node is found.
    """
    if not shares:
        return []
    own = _own(session)
    left = dict(shares)
    heads: list[int] = []
    lanes: dict[str, int] = {}
    for sequence, tenant_id, lane, is_ordered, attempt in own.ready_of_tenants(session, shares):
        if left[tenant_id] <= 0:
            continue
        left[tenant_id] -= 1
        heads.append(sequence)
        further = paces.get(lane, pace) - 1
        if is_ordered and attempt == 0 and further > 0:
            lanes[lane] = further
    behind: list[int] = []
    if lanes:
        ended: set[str] = set()
        for sequence, lane, attempt in own.blocked_of_lanes(session, lanes):
            if attempt:
                ended.add(lane)
            if lane not in ended:
                behind.append(sequence)
    held = {"owner": owner, "until": until}
    rows: list[Any] = []
    if heads:
        rows += session.execute(own.CLAIM_HEADS, {"sequences": own.array(heads), **held})
    if behind:
        rows += session.execute(own.CLAIM_BEHIND, {"sequences": own.array(behind), **held})
    wanted = list({row.event_id for row in rows})
    found: Any = session.execute(own.EVENTS_BY_ID, {"events": own.array(wanted)}) if rows else ()
    events = {row.id: row for row in found}
    claimed = [_claimed(row, events.get(row.event_id)) for row in rows]
    # Whose turn comes first begins first: who was left out of the last round does not wait behind all others of this.
    turns = {tenant_id: turn for turn, tenant_id in enumerate(shares)}
    claimed.sort(key=lambda item: (turns[item.tenant_id], item.sequence))
    return claimed


def _claimed(row: Any, event: Any) -> Claimed:
    return Claimed(
        sequence=row.sequence,
        id=row.id,
        event_id=row.event_id,
        event=row.event,
        tenant_id=row.tenant_id,
        installation_id=row.installation_id,
        handler=row.handler,
        ordered=row.ordered,
        held=row.attempt,
        attempt=row.attempt if row.state == "running" else row.attempt + 1,
        failures=row.failures,
        max_attempts=row.max_attempts,
        payload=event.payload if event else None,
        source=event.source if event else "",
        emitted_at=event.created_at if event else row.created_at,
        cause=event.cause if event else None,
    )


def begun(row: Candidate, sequence: int) -> Claimed:
    """What was just made and is this node's."""
    event, subscription = row.event, row.subscription
    return Claimed(
        sequence=sequence,
        id=row.id,
        event_id=event.id,
        event=event.name,
        tenant_id=event.tenant_id,
        installation_id=subscription.installation_id,
        handler=subscription.handler,
        ordered=subscription.ordered,
        held=int(row.has_begun),
        attempt=1,
        failures=0,
        max_attempts=subscription.max_attempts,
        payload=event.payload,
        source=event.source,
        emitted_at=event.created_at,
        cause=event.cause,
    )


def payload_of(session: Session, event_id: str) -> str | None:
    """The payload of one event; None when it is gone."""
    return session.scalar(select(OUTBOX.c.payload).where(OUTBOX.c.id == event_id))
