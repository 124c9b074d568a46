"""Runs what this node holds: the ordered deliveries of an installation one after the other, all else side by side.

An installation's ordered deliveries are its lane. Several of a lane are claimed at a time, as a run, and share a slot,
so that each costs no round of the dispatcher. What a run did not come to in a moment is put back, and the lane gets
shorter ones: nothing waits here for a slow handler that another place would serve.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from jackfield.clock import Clock
from jackfield.jobs.attempts import Attempt
from jackfield.jobs.errors import EventPayloadUnreadError
from jackfield.jobs.interfaces import Deliver, DeliveryResult
from jackfield.jobs.outcomes import RetryPolicy, decide
from jackfield.jobs.repository import Claimed, Ended

__all__ = ["FIRST_PACE", "FRESH_S", "Lanes", "runs_by_tenant"]

_log = structlog.stdlib.get_logger(__name__)

FIRST_PACE = 16
"""How many of an installation's ordered deliveries are claimed at a time, when nothing is known of it."""
_LONGEST_PACE = 64
_PACES = 10_000
"""Of so many installations that is remembered."""
FRESH_S = _RUN_S = 0.1
"""A run that has taken so long begins nothing more."""
_QUICK_S = 0.02
_MOST_AHEAD = 8
"""While all are quick, so many times as many runs are held as there are slots, so that more share a round's sync."""
_SLOT_WAIT_S = 1.0
"""What is held and cannot begin within this, because others were not quick after all, is left to any node again."""
_UNSAID_S = 0.1
"""A delivery that has run so long without its row saying so is told of."""
_CONFLICTS = 5
"""How often a handler whose writes met others' runs again at once."""
_CONFLICTED_CLAIMS = 20
"""After how many rounds of these it counts as a failure after all."""
_CONFLICT_WAIT_S = 0.2


class Lanes:
    """What this node holds, until it is written down how it ended.

    Args:
        payload_of: Asks for a payload that was too long to be held ready.
        on_end: Called when there is something to write down.

    Attributes:
        held: What has not ended, by sequence.
        ended: What has, and is not written down yet.
        paces: How many of each lane are to be claimed at a time.
        slots: Runs that each tenant has.
        until: The clock's reading at which the leases end.
        is_stopping: Nothing more is to begin.
    """

    def __init__(
        self,
        deliver: Deliver,
        clock: Clock,
        owner: str,
        concurrency: int,
        give_up_s: float,
        retry: RetryPolicy,
        payload_of: Callable[[str], Awaitable[str | None]],
        on_end: Callable[[], None],
    ) -> None:
        self._deliver = deliver
        self._clock = clock
        self._owner = owner
        self._concurrency = concurrency
        self._give_up_s = give_up_s
        self._retry = retry
        self._payload_of = payload_of
        self._on_end = on_end
        self.held: dict[int, Claimed] = {}
        self.ended: list[Ended] = []
        self.paces: dict[str, int] = {}
        self.slots: Counter[str] = Counter()
        self.until = 0.0
        self.is_stopping = False
        self._may_hold = concurrency
        self._free = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lanes: Counter[str] = Counter()
        """Ordered deliveries held, by installation."""
        self._since: dict[str, float] = {}
        """When the latest of these began."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._attempts: dict[int, Attempt] = {}
        """Those that run."""
        self._unsaid: dict[int, float] = {}
        """When those began of which the rows do not say so."""
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        """Those that may begin when the end before them is written down."""

    @property
    def free(self) -> int:
        """How many more runs may be claimed."""
        return 0 if self.is_stopping else max(0, self._may_hold - len(self._tasks))

    @property
    def is_full(self) -> bool:
        """Whatever is due has to wait for an end."""
        return self.free == 0

    @property
    def sequences(self) -> list[int]:
        """All that is this node's: what ended and is not written down yet is, too."""
        return [*self.held, *(item.claimed.sequence for item in self.ended)]

    def begin(self, group: asyncio.TaskGroup, claimed: Sequence[Claimed], *, were_all: bool) -> None:
        """Run these.

        Args:
            were_all: All there was, so that it makes no sense to hold more.
        """
        now = self._clock.monotonic()
        runs: dict[str | int, list[Claimed]] = {}
        for item in claimed:
            self.held[item.sequence] = item
            if item.ordered:
                self._lanes[item.installation_id] += 1
                self._since[item.installation_id] = now
            runs.setdefault(item.installation_id if item.ordered else item.sequence, []).append(item)
        for run in runs.values():
            self.slots[run[0].tenant_id] += 1
            task = group.create_task(self._run(run, now))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not were_all:
            self._may_hold = min(self._may_hold * 2, self._concurrency * _MOST_AHEAD)

    def is_held(self, installation_id: str) -> bool:
        """Whether an ordered delivery of an installation is still to end here."""
        return self._lanes[installation_id] > 0

    def is_fresh(self, installation_id: str) -> bool:
        """Whether ordered deliveries of an installation began here a moment ago, and are still to end."""
        since = self._since.get(installation_id)
        return since is not None and self._clock.monotonic() - since < FRESH_S

    @property
    def waiting(self) -> list[int]:
        """What begins when the ends up to now are written down."""
        return list(self._waiting)

    def go_on(self, waiting: Iterable[int], allowed: Collection[int]) -> None:
        """All that had ended is on disk; of those that waited for it, these may begin."""
        for sequence in waiting:
            future = self._waiting.pop(sequence)
            if not future.done():
                future.set_result(sequence in allowed)

    def written(self, ended: Collection[Ended]) -> None:
        """These ends are on disk."""
        if len(ended) == len(self.ended):
            self.ended.clear()
        elif ended:
            told = {id(item) for item in ended}
            self.ended = [item for item in self.ended if id(item) not in told]

    def unsaid(self) -> list[int]:
        """Those that have run for a while, though their rows do not say so. Told once."""
        if not self._unsaid:
            return []
        now = self._clock.monotonic()
        found = [sequence for sequence, since in self._unsaid.items() if now - since > _UNSAID_S]
        for sequence in found:
            del self._unsaid[sequence]
        return found

    async def cancel(self) -> None:
        """End what runs; what it was is left to whoever comes next."""
        late = list(self._tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def forget(self) -> None:
        """Hold nothing any more."""
        self.held.clear()
        self.ended.clear()
        self.slots.clear()
        self._lanes.clear()
        self._since.clear()
        self._unsaid.clear()
        self._attempts.clear()
        self._waiting.clear()

    async def _run(self, run: list[Claimed], claimed_at: float) -> None:
        lane = run[0].installation_id
        done = 0
        try:
            if not await self._has_slot(claimed_at):
                waited = DeliveryResult("deferred", "delivery-waited", "no place became free on this node", 0.0)
                self._end(run[0], Attempt(run[0].sequence, self._owner, run[0].attempt, self._clock), waited)
                done = 1
                return
            began = self._clock.monotonic()
            try:
                # One for all: none begins later than that after the first.
                async with asyncio.timeout(self._give_up_s + _RUN_S):
                    for item in run:
                        if done and (self._clock.monotonic() - began > _RUN_S or self._is_over):
                            break
                        done += 1
                        goes_on = await self._carry_out(item)
                        if done < len(run) and not (
                            goes_on if goes_on is not None else await self._once_written(run[done])
                        ):
                            break
            except TimeoutError:
                self._give_up(run[done - 1])
            finally:
                self._free.release()
            if run[0].ordered:
                self._set_pace(lane, len(run), done, self._clock.monotonic() - began)
        finally:
            self._give_slot_back(run[0].tenant_id)
            for item in run[done:]:
                self._let_go(item)
                self.ended.append(Ended(item, None))
            self._on_end()

    def _give_slot_back(self, tenant_id: str) -> None:
        self.slots[tenant_id] -= 1
        if self.slots[tenant_id] <= 0:
            del self.slots[tenant_id]

    def _give_up(self, item: Claimed) -> None:
        """One that ran too long has failed; one whose end waits to be written down has not."""
        attempt = self._attempts.get(item.sequence)
        if attempt is not None:
            _log.error("delivery-failed", **_named(item), error="it did not end in time")
            self._end(item, attempt, DeliveryResult("retry", "delivery-timeout", "TimeoutError"))

    @property
    def _is_over(self) -> bool:
        """Whether nothing more may begin: because of a stop, or because what is held is not ours any more."""
        return self.is_stopping or self._clock.monotonic() > self.until

    async def _has_slot(self, claimed_at: float) -> bool:
        if not self._free.locked():
            await self._free.acquire()
            return True
        try:
            async with asyncio.timeout(_SLOT_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            self._may_hold = self._concurrency
            return False
        if self._clock.monotonic() - claimed_at > _QUICK_S:
            self._may_hold = self._concurrency
        return True

    def _set_pace(self, lane: str, claimed: int, done: int, took_s: float) -> None:
        """How many to claim of a lane from now on."""
        if done < claimed or took_s > _RUN_S:
            self.paces[lane] = max(1, done // 2) if took_s > _RUN_S else done
        elif took_s < _RUN_S / 2:
            pace = self.paces.pop(lane, FIRST_PACE)
            self.paces[lane] = min(_LONGEST_PACE, max(pace, claimed * 2))
        while len(self.paces) > _PACES:
            del self.paces[next(iter(self.paces))]

    async def _carry_out(self, item: Claimed) -> bool | None:
        """Carry out one.

        Returns:
            Whether the one behind it may begin; None: when the end of this one is on disk.
        """
        attempt = Attempt(item.sequence, self._owner, item.attempt, self._clock, item.held)
        self._attempts[item.sequence] = attempt
        if item.attempt != item.held:
            self._unsaid[item.sequence] = self._clock.monotonic()
        try:
            text = item.payload
            if text is None:
                text = await self._payload_of(item.event_id)
            # Read here, where a payload that cannot be read harms its own delivery alone.
            payload = msgspec.json.decode(text or "")
            result = await self._deliver.deliver(item.snapshot(payload, attempt))
            if attempt.has_conflict:
                result = await self._again(item, attempt, payload)
        except EventPayloadUnreadError as error:
            # The platform's own trouble: it counts against nobody.
            result = DeliveryResult("deferred", error.code, str(error), has_effects=False)
        except msgspec.DecodeError as error:
            result = DeliveryResult("dead", "event-payload-invalid", str(error), has_effects=False)
        except Exception as error:
            _log.error("delivery-failed", **_named(item), exc_info=error)
            result = DeliveryResult("retry", "delivery-failed", str(error) or type(error).__name__)
        return self._end(item, attempt, result)

    def _end(self, item: Claimed, attempt: Attempt, result: DeliveryResult) -> bool | None:
        if attempt.is_settled:
            # Whatever became of the attempt after that: its effect is there, once.
            result = DeliveryResult("done", duration_ms=result.duration_ms, has_effects=False)
        verdict = decide(
            result, failures=item.failures, max_attempts=item.max_attempts, policy=self._retry, now=self._clock.now()
        )
        self._let_go(item)
        self.ended.append(Ended(item, verdict, attempt.is_tried))
        self._on_end()
        if verdict.place is not None:
            return False
        if attempt.is_settled:
            return True
        may_have_effects = result.status != "skipped" and result.has_effects and attempt.reaches_out
        return None if may_have_effects or attempt.is_tried else True

    async def _once_written(self, following: Claimed) -> bool:
        future = self._waiting[following.sequence] = asyncio.get_running_loop().create_future()
        return await future and not self._is_over

    def _let_go(self, item: Claimed) -> None:
        self._unsaid.pop(item.sequence, None)
        self._attempts.pop(item.sequence, None)
        # Taken over by another node and claimed here again meanwhile, it is not this attempt that runs.
        if self.held.get(item.sequence) is item:
            del self.held[item.sequence]
        if item.ordered:
            self._lanes[item.installation_id] -= 1
            if self._lanes[item.installation_id] <= 0:
                del self._lanes[item.installation_id]
                self._since.pop(item.installation_id, None)

    async def _again(self, item: Claimed, attempt: Attempt, payload: Any) -> DeliveryResult:
        """Run once more what met others' writes, one at a time for each installation."""
        lane = item.installation_id
        turn = self._turns.setdefault(lane, asyncio.Lock())
        async with turn:
            for _ in range(_CONFLICTS):
                attempt.has_conflict = False
                result = await self._deliver.deliver(item.snapshot(payload, attempt))
                if not attempt.has_conflict:
                    return result
        is_hopeless = item.attempt - item.failures > _CONFLICTED_CLAIMS
        return DeliveryResult(
            "retry" if is_hopeless else "deferred",
            "delivery-conflict",
            "what the handler read or wrote was changed by others each time that it ran",
            retry_after_s=_CONFLICT_WAIT_S,
        )


def _named(item: Claimed) -> dict[str, str]:
    """Whose it is, for the log."""
    return {
        "tenant_id": item.tenant_id, "installation_id": item.installation_id, "delivery_id": item.id,
        "event_name": item.event,
    }  # fmt: skip


def runs_by_tenant(claimed: Iterable[Claimed]) -> Counter[str]:
    """How many slots these take: an installation's ordered deliveries share one."""
    runs = {item.installation_id if item.ordered else item.sequence: item.tenant_id for item in claimed}
    return Counter(runs.values())
