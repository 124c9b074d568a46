"""The streams of this node, and what feeds them: one reader for all, however many listen."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.http import Caller
from jackfield.live import repository
from jackfield.live.errors import StreamLimitError
from jackfield.live.kinds import DELIVERIES, Kind
from jackfield.live.models import LiveRow
from jackfield.live.writing import Mark, happened, on_commit
from jackfield.tasks import together

__all__ = ["RETRY_MS", "Event", "Hub", "Stream", "StreamLimits", "TalkSince"]

TalkSince = Callable[[AsyncSession, Collection[str] | None, datetime, int], Awaitable[Sequence[Any]]]
"""Messages of channels of some tenants, or of all, since then, the latest first: tenant, id, channel, direction."""

RETRY_MS: Final = 2_000
"""After how long a client comes back whose stream has ended."""
HEARTBEAT_S: Final = 15.0
_log = structlog.get_logger("jackfield.live")
_BATCH: Final = 500
_TICK_S: Final = 1.0
_MARK_S: Final = 0.2
"""For so long marks of a widget are gathered: however often it changes, it costs five writes a second."""
_PRUNE_S: Final = 60.0
_KEPT: Final = timedelta(minutes=15)
_SAFE: Final = timedelta(minutes=10)
"""What is not older than this has not gone, even where clocks differ and a transaction took long."""
_OVERLAP: Final = timedelta(seconds=3)
"""A delivery is seen a moment after the time at which it says that it ended."""
_SHOWN: Final = 50
"""Deliveries that one event names; of more it says how many."""
_READ: Final = 1_000
_SEEN: Final = 10_000
_SEEN_LOOKS: Final = 10
"""For so many looks at least it is known what was told: more than what overlaps reaches back."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How many streams there may be.

    Attributes:
        queued: Events that a slow reader may be behind; then it is cut, and comes back where it was.
    """

    per_caller: int = 20
    per_tenant: int = 1_000
    per_node: int = 5_000
    queued: int = 256


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it goes out.

    Attributes:
        position: Where a client that saw it goes on; 0 when it cannot be gone on from.
        frame: As text/event-stream.
    """

    position: int
    kind: str
    plugin: str | None
    member_id: str | None
    frame: bytes


class Stream:
    """What one client listens to.

    Attributes:
        tenant_id: None for all tenants, which operators hear of.
        end: Why it has ended; None while it has not.
        ended: Set when it has.
    """

    __slots__ = ("_limit", "_member_id", "_plugin", "_queue", "caller", "end", "ended", "kinds", "tenant_id")

    def __init__(
        self,
        tenant_id: str | None,
        caller: str,
        member_id: str | None,
        kinds: frozenset[Kind],
        plugin: str | None,
        limit: int,
    ) -> None:
        self.tenant_id = tenant_id
        self.caller = caller
        self.kinds = kinds
        self.end: str | None = None
        self.ended = asyncio.Event()
        self._member_id = member_id
        self._plugin = plugin
        self._limit = limit
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def hears(self, event: Event) -> bool:
        """Whether an event is for this client."""
        return (
            event.kind in self.kinds
            and (self._plugin is None or event.plugin == self._plugin)
            and (event.member_id is None or event.member_id == self._member_id)
        )

    def offer(self, event: Event) -> None:
        """Queue an event, if it is for this client; one that reads too slowly is cut."""
        if self.end is not None or not self.hears(event):
            return
        if self._queue.qsize() >= self._limit:
            self.close("slow")
        else:
            self._queue.put_nowait(event)

    def close(self, why: str) -> None:
        """End it when what is queued was read."""
        if self.end is None:
            self.end = why
            self.ended.set()
            self._queue.put_nowait(None)

    async def next(self) -> Event | None:
        """The next event; None when there will be no more."""
        return await self._queue.get()


class Hub:
    """All streams of a node.

    Attributes:
        slugs_of: Plugins of a tenant by installation; whoever knows is there after us.
        talk_since: What was said on channels; likewise.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock | None = None,
        *,
        slugs_of: Callable[[str], Awaitable[Mapping[str, str]]] | None = None,
        limits: StreamLimits | None = None,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self.slugs_of = slugs_of
        self.talk_since: TalkSince | None = None
        self.limits = limits or StreamLimits()
        self._streams: dict[str | None, set[Stream]] = {}
        self._positions: dict[str | None, int] = {}
        self._opening: dict[str | None, asyncio.Lock] = {}
        self._dirty: set[str | None] = set()
        self._stir = asyncio.Event()
        self._marks: dict[Mark, None] = {}
        self._is_marked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._count = 0
        self._is_closed = False
        self._looked_at: datetime | None = None
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._looks = 0

    @property
    def listening(self) -> int:
        """Streams that are open."""
        return self._count

    async def open(
        self, tenant_id: str | None, caller: Caller, kinds: frozenset[Kind], plugin: str | None = None
    ) -> tuple[Stream, int]:
        """A stream from now on, and the position of now. Whoever opens it closes it with `leave`. None is for all
        tenants; whether the caller may hear of them has been asked by whoever calls.

        Raises:
            StreamLimitError: Too many are open.
        """
        self._loop = asyncio.get_running_loop()
        self._check(tenant_id, caller.subject)
        if tenant_id not in self._positions:
            try:
                async with self._opening.setdefault(tenant_id, asyncio.Lock()):
                    if tenant_id not in self._positions:
                        async with self._database.read(tenant_id) as session:
                            if tenant_id is None:
                                await repository.settle(session)
                            found = await repository.newest(session, tenant_id)
                        self._positions[tenant_id] = found
            finally:
                self._opening.pop(tenant_id, None)
        self._check(tenant_id, caller.subject)
        stream = Stream(tenant_id, caller.subject, caller.member_id, kinds, plugin, self.limits.queued)
        self._streams.setdefault(tenant_id, set()).add(stream)
        self._count += 1
        # What was committed before the stream was there has woken nobody.
        position = self._positions.setdefault(tenant_id, 0)
        self._mark(tenant_id)
        if self._is_closed:
            stream.close("shutdown")
        return stream, position

    def leave(self, stream: Stream) -> None:
        """The client is gone."""
        streams = self._streams.get(stream.tenant_id, set())
        if stream in streams:
            streams.discard(stream)
            self._count -= 1
        if not streams:
            self._streams.pop(stream.tenant_id, None)
            self._positions.pop(stream.tenant_id, None)

    async def missed(self, tenant_id: str | None, position: int) -> list[Event] | None:
        """What happened after a position that a client has seen; None when that is too long ago."""
        async with self._database.read(tenant_id) as session:
            if tenant_id is None:
                await repository.settle(session)
                is_known = not position or await repository.is_complete(session, position, datetime.now(UTC) - _SAFE)
            else:
                is_known = not position or await repository.is_there(session, tenant_id, position)
            rows = await repository.after(session, tenant_id, position, _BATCH + 1) if is_known else ()
        if not is_known or len(rows) > _BATCH or (rows and not position):
            return None
        return await self._events(rows, names_tenant=tenant_id is None)

    def wake(self, tenant_id: str) -> None:
        """Something has happened to a tenant. From whatever thread."""
        if self._loop is None:
            return
        for whose in (tenant_id, None):
            if whose in self._streams:
                with contextlib.suppress(RuntimeError):  # the loop was closed a moment ago
                    self._loop.call_soon_threadsafe(self._mark, whose)

    def mark(self, mark: Mark) -> None:
        """A widget shows something else: it is told within a moment, and once. From whatever thread. A node that dies
        in that moment tells nothing."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # as above
                self._loop.call_soon_threadsafe(self._add_mark, mark)

    def wake_all(self) -> None:
        """Notices may have been missed."""
        for tenant_id in tuple(self._streams):
            self._mark(tenant_id)

    def close(self) -> None:
        """End all streams, and open none that lasts: the node is about to stop. From whatever thread or signal."""
        self._is_closed = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # as above
                self._loop.call_soon_threadsafe(self._end_all)

    def _end_all(self) -> None:
        for streams in self._streams.values():
            for stream in streams:
                stream.close("shutdown")

    async def run(self) -> None:
        """Feed streams until cancelled."""
        self._loop = asyncio.get_running_loop()
        ends = on_commit(self.wake, self.mark)
        # After a failure: what was to be read then is not waited for until something else happens.
        self.wake_all()
        self._is_marked.set()
        try:
            await together(self._tell_rows(), self._tell_marks(), self._tick(), self._prune())
        finally:
            ends()

    async def _tell_rows(self) -> None:
        while True:
            await self._stir.wait()
            self._stir.clear()
            dirty, self._dirty = self._dirty, set()
            for tenant_id in dirty:
                await self._feed(tenant_id)

    def _add_mark(self, mark: Mark) -> None:
        self._marks[mark] = None
        self._is_marked.set()

    async def _tell_marks(self) -> None:
        while True:
            await self._is_marked.wait()
            self._is_marked.clear()
            by_tenant: dict[str, list[Mark]] = {}
            for mark in self._marks:
                by_tenant.setdefault(mark.tenant_id, []).append(mark)
            for tenant_id, of_tenant in by_tenant.items():
                for mark in of_tenant:
                    del self._marks[mark]  # one that comes while this is written is told of once more
                try:
                    async with self._database.write(tenant_id) as session:
                        for mark in of_tenant:
                            told = {"name": mark.name, "slot": mark.slot, "installation_id": mark.installation_id}
                            happened(session, "widget", told, plugin=mark.plugin)
                except BaseException:
                    self._marks.update(dict.fromkeys(of_tenant))
                    raise
            # The first is told at once; what follows is gathered.
            await asyncio.sleep(_MARK_S)

    def _mark(self, tenant_id: str | None) -> None:
        self._dirty.add(tenant_id)
        self._stir.set()

    def _check(self, tenant_id: str | None, caller: str) -> None:
        streams = self._streams.get(tenant_id, ())
        own = sum(stream.caller == caller for stream in streams)
        for scope, count, limit in (
            ("caller", own, self.limits.per_caller),
            ("tenant", len(streams), self.limits.per_tenant),
            ("node", self._count, self.limits.per_node),
        ):
            if count >= limit:
                raise StreamLimitError(
                    f"The {scope} has {limit} streams open.", scope=scope, limit=limit, retry_after_s=5
                )

    async def _feed(self, tenant_id: str | None) -> None:
        position = self._positions.get(tenant_id)
        while position is not None:
            async with self._database.read(tenant_id) as session:
                if tenant_id is None:
                    await repository.settle(session)
                rows = await repository.after(session, tenant_id, position, _BATCH)
            # Made before it is gone on from there: when a look fails, they are read once more.
            events = await self._events(rows, names_tenant=tenant_id is None)
            if rows and tenant_id in self._positions:
                position = self._positions[tenant_id] = rows[-1].position
            self._give(tenant_id, events)
            if len(rows) < _BATCH:
                return

    async def _events(self, rows: Sequence[LiveRow], *, names_tenant: bool) -> list[Event]:
        slugs = await self._slugs(
            {row.tenant_id for row in rows if row.plugin is None and "installation_id" in row.data}
        )
        return [_event(row, slugs.get(row.tenant_id, {}), names_tenant=names_tenant) for row in rows]

    async def _slugs(self, tenants: Collection[str]) -> dict[str, Mapping[str, str]]:
        """Plugins of tenants by installation."""
        if self.slugs_of is None:
            return {tenant_id: {} for tenant_id in tenants}
        return {tenant_id: await self.slugs_of(tenant_id) for tenant_id in tenants}

    def _give(self, tenant_id: str | None, events: list[Event]) -> None:
        streams = self._streams.get(tenant_id, ())
        for event in events:
            for stream in streams:
                stream.offer(event)

    async def _tick(self) -> None:
        """Once a second, for tenants that somebody listens to: which deliveries have ended."""
        # After a failure it is gone on from where that was.
        since = self._looked_at = self._looked_at or self._clock.now()
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock.now()
            deliveries, talk = self._who_hears(DELIVERIES), self._who_hears(frozenset({"channel"}))
            if deliveries:
                await self._tell_deliveries(deliveries, since - _OVERLAP)
            if talk and self.talk_since is not None:
                await self._tell_talk(talk, since - _OVERLAP, self.talk_since)
            since = self._looked_at = now
            self._looks += 1

    def _who_hears(self, kinds: frozenset[Kind]) -> set[str | None]:
        return {
            tenant_id
            for tenant_id, streams in self._streams.items()
            if any(not kinds.isdisjoint(stream.kinds) for stream in streams)
        }

    async def _tell_deliveries(self, whose: set[str | None], since: datetime) -> None:
        async with self._database.read(None) as session:
            rows = await repository.ended_since(session, _tenants(whose), since, _READ)
        slugs_by_tenant = await self._slugs({row.tenant_id for row in rows if row.id not in self._seen})
        for tenant_id, ended in self._new(rows).items():
            slugs = slugs_by_tenant[tenant_id]
            by_plugin: dict[str | None, list[Any]] = {}
            for row in ended:
                by_plugin.setdefault(slugs.get(row.installation_id), []).append(row)
            for plugin, of_plugin in by_plugin.items():
                for heard_as, more in _both(tenant_id):
                    told = [_deliveries(plugin, of_plugin, more), _stats(plugin, of_plugin, more)]
                    self._give(heard_as, told)
                await asyncio.sleep(0)  # who hears of many tenants reads meanwhile, and is not too slow

    async def _tell_talk(self, whose: set[str | None], since: datetime, talk_since: TalkSince) -> None:
        async with self._database.read(None) as session:
            rows = await talk_since(session, _tenants(whose), since, _READ)
        for tenant_id, said in self._new(rows).items():
            counts = Counter((row.channel_id, row.direction) for row in said)
            for channel_id in dict.fromkeys(row.channel_id for row in said):
                for heard_as, more in _both(tenant_id):
                    told = {
                        "id": channel_id, "change": "messages", "in": counts[channel_id, "in"],
                        "out": counts[channel_id, "out"], **more,
                    }  # fmt: skip
                    self._give(heard_as, [event_of("channel", told)])
                await asyncio.sleep(0)  # as above

    def _new(self, rows: Sequence[Any]) -> dict[str, list[Any]]:
        """By tenant, the oldest first, what was not told yet."""
        new: dict[str, list[Any]] = {}
        for row in reversed(rows):
            if row.id not in self._seen:
                self._seen[row.id] = self._looks
                new.setdefault(row.tenant_id, []).append(row)
        while len(self._seen) > _SEEN and next(iter(self._seen.values())) < self._looks - _SEEN_LOOKS:
            self._seen.popitem(last=False)
        return new

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(_PRUNE_S)
            await repository.prune(self._database, self._clock.now() - _KEPT)


def event_of(kind: str, data: Mapping[str, Any], *, position: int | None = None, plugin: str | None = None,
             member_id: str | None = None) -> Event:  # fmt: skip
    """An event with its frame. JSON has no bare line ends, so one `data` line holds it. Position 0 is that of a tenant
    to which nothing ever happened: to come back there is to hear of what did since."""
    id_ = "" if position is None else f"id: {position}\n"
    frame = f"{id_}event: {kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
    return Event(position or 0, kind, plugin, member_id, frame)


def _event(row: LiveRow, slugs: Mapping[str, str], *, names_tenant: bool) -> Event:
    plugin = row.plugin or slugs.get(row.data.get("installation_id", ""))
    data = row.data if plugin is None else {"plugin": plugin, **row.data}
    data = {**data, "at": row.created_at.isoformat()}
    if names_tenant:
        data["tenant"] = row.tenant_id
    return event_of(row.kind, data, position=row.position, plugin=plugin, member_id=row.member_id)


def _tenants(whose: set[str | None]) -> list[str] | None:
    """Whose rows are to be read; None for everybody's."""
    named = [tenant_id for tenant_id in whose if tenant_id is not None]
    return named if len(named) == len(whose) else None


def _both(tenant_id: str) -> tuple[tuple[str | None, dict[str, str]], ...]:
    """As what the tenant and the operators hear something, and what is added for each."""
    return (tenant_id, {}), (None, {"tenant": tenant_id})


def _deliveries(plugin: str | None, rows: list[Any], more: Mapping[str, str]) -> Event:
    shown = [
        {"id": row.id, "event": row.event, "state": row.state, "error_code": row.error_code,
         "duration_ms": row.duration_ms, "finished_at": row.finished_at.isoformat()}
        for row in rows[-_SHOWN:]
    ]  # fmt: skip
    return event_of("delivery", {"plugin": plugin, "deliveries": shown, "count": len(rows), **more}, plugin=plugin)


def _stats(plugin: str | None, rows: list[Any], more: Mapping[str, str]) -> Event:
    times = [row.duration_ms for row in rows if row.duration_ms is not None]
    figures = {
        "plugin": plugin, "ended": len(rows), "by_state": dict(Counter(row.state for row in rows)),
        "mean_ms": round(sum(times) / len(times), 3) if times else None, **more,
    }  # fmt: skip
    return event_of("stats", figures, plugin=plugin)
