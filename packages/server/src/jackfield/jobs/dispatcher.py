"""Brings committed events to their subscribers: at least once, in order per installation, tenants in turns.

One loop per node does all the database work, in one transaction per round: it writes down what has ended, claims what
comes next, and makes deliveries of new events, of which this node begins at once what it has room for. Handlers run
outside, in `lanes`, while the next round is under way. So a round costs one sync of the disk however much happens in
it. A delivery whose predecessor may have changed something outside begins only after the end of that one is on disk: a
crash repeats, it never reorders.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar, cast

import structlog
from sqlalchemy.orm import Session

from jackfield import ids
from jackfield.clock import Clock, SystemClock
from jackfield.db import DATABASE_FAILURES, Database
from jackfield.jobs import outbox, repository
from jackfield.jobs.deals import Candidate, NewEvent, candidates, deal
from jackfield.jobs.errors import EventPayloadUnreadError
from jackfield.jobs.interfaces import Deliver, Subscribers, Subscription
from jackfield.jobs.lanes import FIRST_PACE, FRESH_S, Lanes, runs_by_tenant
from jackfield.jobs.outcomes import RetryPolicy
from jackfield.jobs.repository import Claimed, Ended, Found
from jackfield.jobs.transactions import Round, Transactions
from jackfield.jobs.turns import of_few, shares

__all__ = ["DispatchSettings", "Dispatcher"]

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)

_DEFER_S = 5.0
"""For how long a tenant whose subscribers cannot be told is left out."""
_LONGEST_BACKOFF_S = 5.0
_MOST_OF_ONE = 16
"""Of one tenant so many events are taken in a round at most: the round would take long, and others wait for it."""
_MOST_IN_COMPANY = 8
"""The same for `_COMPANY_S` seconds after another tenant had few events, who may well have another one soon."""
_COMPANY_S = 1.0


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """How the dispatcher works.

    Attributes:
        concurrency: Deliveries that run at the same time on this node.
        per_tenant: Of these, how many may be one tenant's.
        batch_size: Events of which deliveries are made in one round.
        lease_s: After how long without a sign of life another node takes a delivery over.
        give_up_s: After how long an attempt is ended and counts as failed; above any limit of a call.
        poll_s: How often to look for what no commit in this process told of.
        has_other_nodes: Whether other processes dispatch from the same database; None: on PostgreSQL yes, on SQLite no.
            Alone, a start takes over at once what an earlier process left running.
    """

    concurrency: int = 32
    per_tenant: int = 16
    batch_size: int = 500
    lease_s: float = 60.0
    give_up_s: float = 300.0
    poll_s: float = 1.0
    has_other_nodes: bool | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class _Done:
    """What a round wrote.

    Attributes:
        last_served: The tenant whose turn was last; empty when nobody's was.
        were_all: All that was there was claimed.
        ended: These ends are written down.
        waiting: These waited for the ends before them; of them those in `allowed` may begin.
        events: So many were dealt with.
        are_left: Some were left for when their installations are free, which is soon.
    """

    claimed: list[Claimed] = field(default_factory=list[Claimed])
    last_served: str = ""
    were_all: bool = True
    ended: list[Ended] = field(default_factory=list[Ended])
    waiting: list[int] = field(default_factory=list[int])
    allowed: Collection[int] = ()
    events: int = 0
    are_left: bool = False


class Dispatcher:
    """One per node. `run` works until `stop`; cancelling it leaves what runs to the next start.

    Args:
        tell_others: Called when there is more to do than this node takes on, so that others look for work.
        owner: Names this node in leases; made when absent.
    """

    def __init__(
        self,
        database: Database,
        subscribers: Subscribers,
        deliver: Deliver,
        clock: Clock | None = None,
        settings: DispatchSettings | None = None,
        *,
        tell_others: Callable[[], None] | None = None,
        owner: str | None = None,
    ) -> None:
        self._database = database
        self._transactions = Transactions(database)
        self._subscribers = subscribers
        self._clock = clock or SystemClock()
        self._settings = settings or DispatchSettings()
        self._tell_others = tell_others
        others = self._settings.has_other_nodes
        self._is_alone = database.is_sqlite if others is None else not others
        self._owner = owner or ids.new_id("node")
        self._dead: set[str] = set()
        self._task: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._lanes = Lanes(
            deliver, self._clock, self._owner, self._settings.concurrency, self._settings.give_up_s,
            self._settings.retry, self._payload_of, self._wake.set,
        )  # fmt: skip
        self._each = FIRST_PACE
        self._deferred: dict[str, float] = {}
        self._were_few = False
        """The last round was for tenants with few events."""
        self._few_at = -_COMPANY_S
        """When the latest such round was."""
        self._last_fanned_out = ""
        self._last_served = ""
        self._are_left = False
        self._leases_seen_at = 0.0
        self._stop_at: float | None = None
        """When a stop is wanted: the loop's time at which its patience ends."""
        self._asked = 0
        self._answered = 0
        self._has_answered = asyncio.Condition()

    def wake(self) -> None:
        """Look for work now. May be called from any thread."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed a moment ago: nobody is left to wake
                loop.call_soon_threadsafe(self._wake.set)

    def take_over(self, owners: Collection[str]) -> None:
        """These nodes are gone: what they were running is not waited for."""
        self._dead.update(owners)
        self._wake.set()

    async def run(self) -> None:
        """Dispatch until stopped. A database that is away for a while is waited for."""
        if self._task is not None:
            raise RuntimeError("the dispatcher is running")
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._stop_at = None
        self._lanes.is_stopping = False
        forget = outbox.on_commit(self.wake)
        try:
            async with asyncio.TaskGroup() as group:
                await self._patiently(self._take_over)
                while self._stop_at is None or (self._lanes.held and self._loop.time() < self._stop_at):
                    await self._turn(group)
                await self._hand_back()
        finally:
            forget()
            self._lanes.forget()
            self._loop = self._task = None
            self._transactions.close()
            await self._answer(self._asked)

    async def stop(self, grace_s: float = 10.0) -> None:
        """End `run`: claim nothing more, give what runs `grace_s` seconds, leave the rest ready for another start."""
        task, loop = self._task, self._loop
        if task is None or loop is None:
            return
        self._stop_at = loop.time() + grace_s
        self._lanes.is_stopping = True
        self._wake.set()
        _, late = await asyncio.wait([task], timeout=grace_s + _LONGEST_BACKOFF_S)
        if late:  # the database is away; the next start takes over what is running
            task.cancel()
            await asyncio.wait([task])

    async def drain(self) -> None:
        """Wait until nothing is due: no new event, no delivery ready or running. Runs the dispatcher if nobody does."""
        await asyncio.sleep(0)  # a `run` that was made a task a moment ago begins now
        if self._task is None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.run())
                await self.drain()
                await self.stop()
            return
        self._asked += 1
        mine = self._asked
        self._wake.set()
        async with self._has_answered:
            await self._has_answered.wait_for(lambda: self._answered >= mine)

    async def _turn(self, group: asyncio.TaskGroup) -> None:
        """One round, and a rest when there was nothing to do."""
        self._wake.clear()
        asked = self._asked
        is_busy = await self._patiently(lambda: self._round(group))
        await self._patiently(self._tidy)
        if is_busy or self._wake.is_set():
            return
        if not self._lanes.held and not self._lanes.ended:
            await self._answer(asked)
        rest_s = await self._patiently(self._rest_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await self._wake.wait()

    async def _round(self, group: asyncio.TaskGroup) -> bool:
        """Write down ends, claim, make deliveries.

        Returns:
            Whether there may be more to do at once.
        """
        async with self._transactions.round() as round_:
            done = await self._work(round_)
        return done is not None and self._go_on(group, done)

    async def _work(self, round_: Round) -> _Done | None:
        """What is to be written in this round, if anything."""
        now = self._clock.now()
        lanes, settings = self._lanes, self._settings
        found = None if self._stop_at is not None else await self._look(round_, now)
        events = [] if found is None else found.events
        subscriptions, events = await self._subscriptions(events)
        rows = candidates(events, subscriptions)
        # As it is now: an installation that ends its work later is still at work as far as the database knows.
        asked = {row.subscription.installation_id for row in rows}
        ended, waiting = list(lanes.ended), lanes.waiting
        if self._were_few:
            # Only what stands before these: others' can be written down in the next round, which follows at once.
            ended, waiting = [item for item in ended if item.claimed.installation_id in asked], []
        at_work = {lane for lane in asked if lanes.is_held(lane)}
        soon_free = {lane for lane in at_work if lanes.is_fresh(lane)}
        free = lanes.free
        may_claim = free > 0 and found is not None and (found.has_ready or found.has_due)
        if not events and not ended and not may_claim:
            # Those whose subscribers could not be told stood in the way of others.
            return _Done(events=len(found.events)) if found is not None and found.events else None
        until = now + timedelta(seconds=settings.lease_s)

        def work(session: Session) -> _Done:
            repository.lock(session)
            repository.finish(session, self._owner, ended)
            allowed = repository.may_begin(session, self._owner, waiting) if waiting else set[int]()
            over = {each.installation_id for item in ended if (each := item.claimed).ordered}
            promoted = repository.promote(session, [lane for lane in over if not lanes.is_held(lane)])
            claimed, last, slots = list[Claimed](), self._last_served, lanes.slots.copy()
            is_all, left = True, free
            if free and (may_claim or promoted):
                if found is not None and found.has_due:
                    repository.wake_due(session, now)
                tenants = repository.ready_tenants(session, last, free + len(slots))
                dealt = shares(tenants, free, slots, settings.per_tenant)
                claimed = repository.claim(session, dealt, lanes.paces, FIRST_PACE, self._owner, until)
                last = next(reversed(dealt), last)
                taken = runs_by_tenant(claimed)
                is_all = taken.total() < free
                left -= taken.total()
                slots.update(taken)
            soon_free.update(item.installation_id for item in claimed if item.ordered)
            new = self._worth_writing(rows, events, at_work, soon_free)
            mine = self._make(session, rows, new, left, slots, now, until)
            is_all = is_all and all(row.place != "ready" for row in rows)
            are_left = len(new) < len(events)
            return _Done([*claimed, *mine], last, is_all, ended, waiting, allowed, len(new), are_left)

        return cast(_Done, await round_.write(work))

    def _go_on(self, group: asyncio.TaskGroup, done: _Done) -> bool:
        """It is on disk."""
        lanes, claimed = self._lanes, done.claimed
        self._last_served = done.last_served or self._last_served
        self._are_left = done.are_left
        lanes.written(done.ended)
        lanes.go_on(done.waiting, done.allowed)
        if claimed:
            if not lanes.held:
                lanes.until = self._clock.monotonic() + self._settings.lease_s
            lanes.begin(group, claimed, were_all=done.were_all)
        is_more = bool(claimed) and not done.were_all
        if self._tell_others is not None and (is_more or done.events >= self._settings.batch_size):
            self._tell_others()
        # What a round for few left out is next, though nothing of theirs could be written yet.
        return bool(done.events or claimed) or self._were_few

    def _worth_writing(
        self, rows: list[Candidate], events: Sequence[NewEvent], at_work: Collection[str], soon_free: Collection[str]
    ) -> Sequence[NewEvent]:
        """Events but for those that would only be written as blocked, for a moment, behind what begins here.

        These stay as they are until then: they would be written once more.
        """
        beginning = Counter[str]()
        stays: set[int] = set()
        for row in rows:
            lane = row.subscription.installation_id
            if row.subscription.ordered:
                beginning[lane] += 1
                is_behind = lane not in at_work and beginning[lane] > self._lanes.paces.get(lane, FIRST_PACE)
                if is_behind or lane in soon_free:
                    continue
            stays.add(row.event.position)
        following = {row.event.position for row in rows} - stays
        if not following:
            return events
        rows[:] = [row for row in rows if row.event.position not in following]
        return [event for event in events if event.position not in following]

    def _make(
        self, session: Session, rows: list[Candidate], events: Sequence[NewEvent], free: int, slots: dict[str, int],
        now: datetime, until: datetime,
    ) -> list[Claimed]:  # fmt: skip
        """Make deliveries of events; those that this node begins."""
        if not events:
            return []
        ordered = {each.installation_id for row in rows if (each := row.subscription).ordered}
        mine, busy = repository.mark_fanned_out(session, [event.position for event in events], ordered, now)
        if len(mine) < len(events):
            rows[:] = [row for row in rows if row.event.position in mine]
        deal(rows, busy, self._lanes.paces, FIRST_PACE, free, slots, self._settings.per_tenant)
        sequences = repository.insert_deliveries(session, rows, now, self._owner, until)
        return [
            repository.begun(row, sequence)
            for row, sequence in zip(rows, sequences, strict=True)
            if row.place == "running"
        ]

    async def _look(self, round_: Round, now: datetime) -> Found:
        moment = self._clock.monotonic()
        self._deferred = {tenant: until for tenant, until in self._deferred.items() if until > moment}
        limit = self._settings.batch_size
        each = min(limit, self._each)
        found = cast(Found, await round_.look(
            lambda session: repository.look(session, now, self._last_fanned_out, each, limit, self._deferred)
        ))  # fmt: skip
        # Every second round at most: who has few events does not wait for the work that others' many are.
        few = [] if self._were_few else of_few(found.events, each)
        self._were_few = bool(few)
        if few:
            self._few_at = moment
        else:
            self._last_fanned_out = found.last_tenant
        if found.tenants:
            # As many of each as there is room for, going by how many there were.
            most = _MOST_OF_ONE if moment - self._few_at >= _COMPANY_S else _MOST_IN_COMPANY
            self._each = max(1, min(most, limit // found.tenants))
        return replace(found, events=few) if few else found

    async def _payload_of(self, event_id: str) -> str | None:
        try:
            return await self._transactions.read(lambda session: repository.payload_of(session, event_id))
        except DATABASE_FAILURES as error:
            raise EventPayloadUnreadError("the database did not give the payload") from error

    async def _subscriptions(
        self, events: Sequence[NewEvent]
    ) -> tuple[dict[tuple[str, str], Sequence[Subscription]], list[NewEvent]]:
        """Who wants these events, and those of the events for which that could be told."""
        found: dict[tuple[str, str], Sequence[Subscription]] = {}
        for event in events:
            key = (event.tenant_id, event.name)
            if key in found or event.tenant_id in self._deferred:
                continue
            try:
                found[key] = await self._subscribers.subscribers(*key)
            except Exception as error:  # one tenant's trouble must not hold up the others
                _log.error("subscribers-unknown", tenant_id=event.tenant_id, event_name=event.name, exc_info=error)
                self._deferred[event.tenant_id] = self._clock.monotonic() + _DEFER_S
        return found, [event for event in events if event.tenant_id not in self._deferred]

    async def _take_over(self) -> None:
        """At the start: what an earlier process left running is ready again, and every lane has a head."""

        def work(session: Session) -> None:
            repository.lock(session)
            now = self._clock.now()
            lanes = repository.release(session, now, owner=self._owner, running=[], at_once=self._is_alone)
            repository.promote(session, lanes | set(repository.open_lanes(session)))

        await self._transactions.write(work)
        self._leases_seen_at = self._clock.monotonic()

    async def _tidy(self) -> None:
        """From time to time: renew our leases, take over expired ones, drop what is old."""
        now = self._clock.monotonic()
        dead = frozenset(self._dead)
        if dead or now - self._leases_seen_at >= self._settings.lease_s / 3:
            # What ended and is not written down yet is still ours.
            ours = self._lanes.sequences

            def work(session: Session) -> None:
                moment = self._clock.now()
                until = moment + timedelta(seconds=self._settings.lease_s)
                repository.lock(session)
                repository.extend(session, self._owner, ours, until)
                lanes = repository.release(
                    session, moment, owner=self._owner, running=ours, at_once=False, dead_owners=dead
                )
                repository.promote(session, lanes)

            await self._transactions.write(work)
            self._lanes.until = now + self._settings.lease_s
            self._dead -= dead
            self._leases_seen_at = now
            self._wake.set()
        if unsaid := self._lanes.unsaid():
            await self._transactions.write(lambda session: repository.mark_running(session, self._owner, unsaid))

    async def _hand_back(self) -> None:
        """At a stop: end what still runs, write down what ended, make the rest ready for another start."""
        await self._lanes.cancel()
        ended = self._lanes.ended

        def work(session: Session) -> None:
            repository.lock(session)
            repository.finish(session, self._owner, ended)
            lanes = repository.give_back(session, self._owner)
            repository.promote(session, lanes | {item.claimed.installation_id for item in ended})

        try:
            await self._transactions.write(work)
        except DATABASE_FAILURES as error:
            _log.warning("deliveries-not-handed-back", error=str(error))

    async def _rest_s(self) -> float:
        """Seconds until something is due."""
        if self._stop_at is not None:
            return max(0.0, self._stop_at - asyncio.get_running_loop().time())
        if self._lanes.is_full:
            return self._settings.poll_s  # whatever is due has to wait for an end, and that wakes us
        poll_s = min(self._settings.poll_s, FRESH_S) if self._are_left else self._settings.poll_s
        due = await self._transactions.read(repository.next_due)
        if due is None:
            return poll_s
        return min(poll_s, max(0.001, (due - self._clock.now()).total_seconds()))

    async def _answer(self, asked: int) -> None:
        async with self._has_answered:
            self._answered = max(self._answered, asked)
            self._has_answered.notify_all()

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do it again until the database lets us."""
        delay = 0.05
        while True:
            try:
                return await action()
            except DATABASE_FAILURES as error:
                _log.error("dispatch-failed", error=str(error), again_in_s=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_BACKOFF_S)
