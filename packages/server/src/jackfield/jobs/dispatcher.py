"""Brings committed events to their subscribers: at least once, in order per installation, tenants in turns.

One loop per node does all the database work, in one transaction per round: it makes deliveries of new events, writes
down what has ended, and claims what comes next. Handlers run outside, as tasks. So a round costs one sync of the disk
however much happens in it, and a delivery begins only after the end of the one before it is on disk: a crash repeats,
it never reorders.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import msgspec
import structlog
from sqlalchemy.orm import Session

from jackfield import ids
from jackfield.clock import Clock, SystemClock
from jackfield.db import DATABASE_FAILURES, Database
from jackfield.jobs import outbox, repository
from jackfield.jobs.attempts import Attempt
from jackfield.jobs.interfaces import Deliver, DeliveryResult, Subscribers, Subscription
from jackfield.jobs.outcomes import RetryPolicy, decide
from jackfield.jobs.repository import Claimed, Ended, NewEvent
from jackfield.jobs.transactions import Transactions
from jackfield.jobs.turns import shares

__all__ = ["DispatchSettings", "Dispatcher"]

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)

_PRUNE_EVERY_S = 3600.0
_DEFER_S = 5.0
"""For how long a tenant whose subscribers cannot be told is left out."""
_LONGEST_BACKOFF_S = 5.0
_CONFLICTS = 5
"""How often a handler whose writes met others' runs again at once."""
_CONFLICTED_CLAIMS = 20
"""After how many rounds of these it counts as a failure after all."""
_CONFLICT_WAIT_S = 0.2
_QUICK_S = 0.02
"""When all that a round claimed has ended within this, the next round may claim twice as many."""
_MOST_AHEAD = 4
"""Up to so many times `concurrency`, so that more share a round's sync."""
_SLOT_WAIT_S = 1.0
"""What is claimed and cannot begin within this, because others were not quick after all, is left to any node again."""


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
        keep_for: For how long finished deliveries are kept; None where somebody else drops them.
        has_other_nodes: Whether other processes dispatch from the same database; None: on PostgreSQL yes, on SQLite no.
            Alone, a start takes over at once what an earlier process left running.
    """

    concurrency: int = 32
    per_tenant: int = 16
    batch_size: int = 200
    lease_s: float = 60.0
    give_up_s: float = 300.0
    poll_s: float = 1.0
    keep_for: timedelta | None = timedelta(days=14)
    has_other_nodes: bool | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)


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
        self._deliver = deliver
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
        self._running: dict[int, Claimed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[Ended] = []
        self._may_hold = self._settings.concurrency
        """Deliveries that may be claimed by this node at a time. More than may run only while all of them are quick."""
        self._slots = asyncio.Semaphore(self._settings.concurrency)
        self._claimed_at = 0.0
        self._ended_at = 0.0
        self._deferred: dict[str, float] = {}
        self._lanes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._last_fanned_out = ""
        self._last_served = ""
        self._leases_seen_at = 0.0
        self._prune_at = 0.0
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
        forget = outbox.on_commit(self.wake)
        try:
            async with asyncio.TaskGroup() as group:
                await self._patiently(self._take_over)
                while self._stop_at is None or (self._running and self._loop.time() < self._stop_at):
                    await self._turn(group)
                await self._hand_back()
        finally:
            forget()
            self._running.clear()
            self._ended.clear()
            self._loop = self._task = None
            self._transactions.close()
            await self._answer(self._asked)

    async def stop(self, grace_s: float = 10.0) -> None:
        """End `run`: claim nothing more, give what runs `grace_s` seconds, leave the rest ready for another start."""
        task, loop = self._task, self._loop
        if task is None or loop is None:
            return
        self._stop_at = loop.time() + grace_s
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
        if not self._running and not self._ended:
            await self._answer(asked)
        rest_s = await self._patiently(self._rest_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await self._wake.wait()

    async def _round(self, group: asyncio.TaskGroup) -> bool:
        """Make deliveries, write down ends, claim.

        Returns:
            Whether there may be more to do at once.
        """
        now = self._clock.now()
        free = 0 if self._stop_at is not None else max(0, self._may_hold - len(self._running))
        events = [] if self._stop_at is not None else await self._new_events()
        subscriptions, events = await self._subscriptions(events)
        ended = list(self._ended)
        self._look_ahead(len(ended))
        if not events and not ended and not (free and await self._has_work(now)):
            return False

        def work(session: Session) -> tuple[list[Claimed], str, int]:
            repository.lock(session)
            lanes = {item.claimed.snapshot.installation_id for item in ended if item.claimed.snapshot.ordered}
            if events:
                lanes |= repository.fan_out(session, events, subscriptions, now)
            repository.finish(session, self._owner, ended)
            repository.wake_due(session, now)
            repository.promote(session, lanes)
            if not free:
                return [], self._last_served, 0
            running = Counter(item.snapshot.tenant_id for item in self._running.values())
            tenants = repository.ready_tenants(session, self._last_served, free + len(running))
            dealt = shares(tenants, free, running, self._settings.per_tenant)
            until = now + timedelta(seconds=self._settings.lease_s)
            claimed = repository.claim(session, dealt, self._owner, until)
            return claimed, next(reversed(dealt), self._last_served), sum(dealt.values())

        claimed, self._last_served, wanted = await self._transactions.write(work)
        del self._ended[: len(ended)]
        self._claimed_at = self._clock.monotonic()
        for item in claimed:
            self._running[item.sequence] = item
            task = group.create_task(self._carry_out(item))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._tell_others is not None and len(claimed) >= wanted and (claimed or events):
            self._tell_others()
        return bool(events or claimed)

    def _look_ahead(self, ended: int) -> None:
        """How many to hold from the next claim on."""
        if self._running:
            if self._clock.monotonic() - self._claimed_at > _QUICK_S:
                self._may_hold = self._settings.concurrency
        elif ended >= self._may_hold and self._ended_at - self._claimed_at < _QUICK_S:
            self._may_hold = min(self._may_hold * 2, self._settings.concurrency * _MOST_AHEAD)

    async def _has_work(self, now: datetime) -> bool:
        return await self._transactions.read(lambda session: repository.has_work(session, now))

    async def _new_events(self) -> list[NewEvent]:
        now = self._clock.monotonic()
        self._deferred = {tenant: until for tenant, until in self._deferred.items() if until > now}
        events, self._last_fanned_out = await self._transactions.read(
            lambda session: repository.new_events(
                session, self._last_fanned_out, self._settings.batch_size, self._deferred
            )
        )
        return events

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

    async def _carry_out(self, claimed: Claimed) -> None:
        attempt = Attempt(claimed.sequence, self._owner, claimed.snapshot.attempt, self._clock)
        try:
            # Read here, where a payload that cannot be read harms its own delivery alone.
            payload = msgspec.json.decode(claimed.payload or "")
            result = await self._in_a_slot(claimed, attempt, payload)
        except msgspec.DecodeError as error:
            result = DeliveryResult("dead", "event-payload-invalid", str(error))
        except Exception as error:
            _log.error("delivery-failed", delivery_id=claimed.snapshot.id, exc_info=error)
            code = "delivery-timeout" if isinstance(error, TimeoutError) else "delivery-failed"
            result = DeliveryResult("retry", code, str(error) or type(error).__name__)
        if attempt.is_settled:
            # Whatever became of the attempt after that: its effect is there, once.
            result = DeliveryResult("done", duration_ms=result.duration_ms)
        verdict = decide(
            result,
            failures=claimed.failures,
            max_attempts=claimed.max_attempts,
            policy=self._settings.retry,
            now=self._clock.now(),
        )
        # Taken over by another node and claimed here again meanwhile, it is not this attempt that runs.
        if self._running.get(claimed.sequence) is claimed:
            del self._running[claimed.sequence]
        self._ended_at = self._clock.monotonic()
        self._ended.append(Ended(claimed, verdict, attempt.is_tried))
        self._wake.set()

    async def _in_a_slot(self, claimed: Claimed, attempt: Attempt, payload: Any) -> DeliveryResult:
        try:
            async with asyncio.timeout(_SLOT_WAIT_S):
                await self._slots.acquire()
        except TimeoutError:
            return DeliveryResult("deferred", "delivery-waited", "no place became free on this node", retry_after_s=0.0)
        try:
            async with asyncio.timeout(self._settings.give_up_s):
                result = await self._deliver.deliver(replace(claimed.snapshot, payload=payload, settling=attempt))
                return await self._again(claimed, attempt, payload) if attempt.has_conflict else result
        finally:
            self._slots.release()

    async def _again(self, claimed: Claimed, attempt: Attempt, payload: Any) -> DeliveryResult:
        """Run once more what met others' writes, one at a time for each installation."""
        lane = self._lanes.setdefault(claimed.snapshot.installation_id, asyncio.Lock())
        async with lane:
            for _ in range(_CONFLICTS):
                attempt.has_conflict = False
                again = replace(claimed.snapshot, payload=payload, settling=attempt)
                result = await self._deliver.deliver(again)
                if not attempt.has_conflict:
                    return result
        is_hopeless = claimed.snapshot.attempt - claimed.failures > _CONFLICTED_CLAIMS
        return DeliveryResult(
            "retry" if is_hopeless else "deferred",
            "delivery-conflict",
            "what the handler read or wrote was changed by others each time that it ran",
            retry_after_s=_CONFLICT_WAIT_S,
        )

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
            ours = [*self._running, *(item.claimed.sequence for item in self._ended)]

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
            self._dead -= dead
            self._leases_seen_at = now
            self._wake.set()
        if self._settings.keep_for is not None and now >= self._prune_at:
            await repository.prune(self._database, self._clock.now() - self._settings.keep_for)
            self._prune_at = now + _PRUNE_EVERY_S

    async def _hand_back(self) -> None:
        """At a stop: end what still runs, write down what ended, make the rest ready for another start."""
        late = list(self._tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

        def work(session: Session) -> None:
            repository.lock(session)
            repository.finish(session, self._owner, self._ended)
            lanes = repository.give_back(session, self._owner)
            repository.promote(session, lanes | {item.claimed.snapshot.installation_id for item in self._ended})

        try:
            await self._transactions.write(work)
        except DATABASE_FAILURES as error:
            _log.warning("deliveries-not-handed-back", error=str(error))

    async def _rest_s(self) -> float:
        """Seconds until something is due."""
        if self._stop_at is not None:
            return max(0.0, self._stop_at - asyncio.get_running_loop().time())
        if len(self._running) >= self._may_hold:
            return self._settings.poll_s  # whatever is due has to wait for an end, and that wakes us
        due = await self._transactions.read(repository.next_due)
        if due is None:
            return self._settings.poll_s
        return min(self._settings.poll_s, max(0.001, (due - self._clock.now()).total_seconds()))

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
