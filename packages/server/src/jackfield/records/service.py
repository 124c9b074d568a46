"""Reading the records. Before a question is answered, all that was recorded up to then is put into the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.records import repository
from jackfield.records.costs import Cost
from jackfield.records.errors import LogLevelError, SinceInvalidError
from jackfield.records.models import HandlerCost, HourCost, InvocationRow, LogRow
from jackfield.records.recorder import Recorder
from jackfield.records.trail.reading import Trail
from jackfield.records.uses import Use, uses_of

__all__ = ["CostSort", "HandlerStats", "InstallationStats", "Moment", "PluginCost", "Records", "Step"]

Step = Literal["hour", "day"]
CostSort = Literal["cpu", "wall", "calls", "egress", "queries", "failures"]

_SORTED_BY = {
    "cpu": "cpu_us", "wall": "wall_us", "calls": "calls", "egress": "egress_bytes", "queries": "queries",
    "failures": "failures",
}  # fmt: skip
_STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_MOMENTS = 1_000
_USUAL_SPAN = {"hour": timedelta(hours=24), "day": timedelta(days=30)}
_HANDLERS = 200

_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class InstallationStats:
    """Totals of one installation since it was installed.

    Attributes:
        failures: Calls whose status is one of `record.FAILURES`.
        last_error_code: With its message and time: the latest failure.
        cost: All calls together.
        handlers: By handler, the dearest first; what they cost together is in `cost` even when some are left out.
        series: The latest hours or days in which it was called, the oldest first.
    """

    calls: int = 0
    failures: int = 0
    average_ms: float = 0.0
    maximum_ms: float = 0.0
    cpu_ms: float = 0.0
    last_run_at: datetime | None = None
    last_error_at: datetime | None = None
    last_error_code: str | None = None
    last_error_message: str | None = None
    cost: Cost = field(default_factory=Cost)
    handlers: Sequence[HandlerStats] = ()
    series: Sequence[Moment] = ()


@dataclass(frozen=True, slots=True)
class HandlerStats:
    """What one handler has cost. `name`: the hook, event, function, route or slot."""

    kind: str
    name: str
    handler: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Moment:
    """What an hour or a day has cost."""

    at: datetime
    cost: Cost


@dataclass(frozen=True, slots=True)
class PluginCost:
    """What one plugin has cost in all tenants together."""

    plugin: str
    installations: int
    cost: Cost


class Records:
    """What happened, for one tenant at a time.

    Args:
        trail: The audit trail; one without keys when absent.
    """

    def __init__(
        self, database: Database, recorder: Recorder, clock: Clock | None = None, *, trail: Trail | None = None
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock or SystemClock()
        self.trail = trail or Trail(database, clock=clock)

    async def uses(self, tenant_id: str, installation_id: str) -> Sequence[Use]:
        """How often each grant of an installation was used, and on whose behalf, by permission."""
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            return await uses_of(session, installation_id)

    async def stats(
        self, tenant_id: str, installation_id: str, *, since: datetime | None = None, step: Step = "hour"
    ) -> InstallationStats:
        """Totals; all zero for an installation that has never run.

        Args:
            since: Where the series begins; when absent, a day ago by the hour, 30 days ago by the day.

        Raises:
            SinceInvalidError: The series would be too long.
        """
        begin = self._begin(since, step)
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            counter = await repository.counter(session, installation_id)
            handlers = await repository.handler_costs(session, installation_id)
            hours = await repository.hour_costs(session, installation_id, begin)
        if counter is None:
            return InstallationStats()
        return InstallationStats(
            calls=counter.calls,
            failures=counter.failures,
            average_ms=counter.total_us / counter.calls / 1000,
            maximum_ms=counter.maximum_us / 1000,
            cpu_ms=counter.cpu_us / 1000,
            last_run_at=counter.last_run_at,
            last_error_at=counter.last_error_at,
            last_error_code=counter.last_error_code,
            last_error_message=counter.last_error_message,
            cost=_sum(handlers),
            handlers=[
                HandlerStats(row.kind, row.name, row.handler, _sum([row]))
                for row in sorted(handlers, key=lambda row: (-row.wall_us, row.kind, row.name, row.handler))[:_HANDLERS]
            ],
            series=_series(hours, _STEPS[step]),
        )

    async def costs(self, since: datetime | None, sort: CostSort, page: PageRequest) -> Slice[PluginCost]:
        """What each plugin cost, all tenants together, the dearest first. For operators.

        Args:
            since: From the beginning of this hour on; a day, when absent.
        """
        begin = self._begin(since, "hour", is_series=False)
        after: tuple[int, str] | None = None
        if page.cursor:
            value, plugin = decode_cursor(page.cursor, int, str)
            after = value, plugin
        await self._recorder.flush()
        column = _SORTED_BY[sort]
        async with self._database.read(None) as session:
            rows = await repository.plugin_costs(session, begin, column, after, page.limit + 1)
        found = cut(rows, page.limit, lambda row: (int(getattr(row, column)), row.plugin))
        return found.map(_plugin_cost)

    def _begin(self, since: datetime | None, step: Step, *, is_series: bool = True) -> datetime:
        now = self._clock.now()
        span = _STEPS[step]
        begin = now - _USUAL_SPAN[step] + span if since is None else _aware(since)
        if is_series and now - begin > span * _MOMENTS:
            raise SinceInvalidError(f"At most {_MOMENTS} {step}s are told at once.")
        return _floor(begin, span)

    async def errors(self, tenant_id: str, installation_id: str, limit: int = 50) -> list[InvocationRow]:
        """The latest failed invocations with their traces."""
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            return list(await repository.failures(session, installation_id, limit))

    async def invocations(self, tenant_id: str, installation_id: str, page: PageRequest) -> Slice[InvocationRow]:
        """Invocations, the latest first."""
        before: tuple[datetime, str] | None = None
        if page.cursor:
            microseconds, invocation_id = decode_cursor(page.cursor, int, str)
            before = (_EPOCH + timedelta(microseconds=microseconds), invocation_id)
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            rows = await repository.invocations_before(session, installation_id, before, page.limit + 1)
        return cut(rows, page.limit, lambda row: ((row.started_at - _EPOCH) // timedelta(microseconds=1), row.id))

    async def logs(
        self, tenant_id: str, installation_id: str, page: PageRequest, minimum_level: str | None = None
    ) -> Slice[LogRow]:
        """Log lines, the latest first.

        Raises:
            LogLevelError: No such level.
        """
        levels = None
        if minimum_level is not None:
            if minimum_level not in _LEVELS:
                raise LogLevelError(f"{minimum_level!r} is no level.", levels=list(_LEVELS))
            levels = _LEVELS[_LEVELS.index(minimum_level) :]
        before: int | None = decode_cursor(page.cursor, int)[0] if page.cursor else None
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            rows = await repository.logs_before(session, installation_id, levels, before, page.limit + 1)
        return cut(rows, page.limit, lambda row: (row.id,))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _sum(rows: Iterable[HandlerCost | HourCost]) -> Cost:
    cost = Cost()
    for row in rows:
        cost.add(row)
    return cost


def _series(hours: Iterable[HourCost], step: timedelta) -> list[Moment]:
    moments: dict[datetime, Cost] = {}
    for row in hours:
        moments.setdefault(_floor(row.at, step), Cost()).add(row)
    return [Moment(at, cost) for at, cost in moments.items()]


def _plugin_cost(row: object) -> PluginCost:
    # Sums are of type NUMERIC on PostgreSQL; durations and capabilities cannot be summed there.
    cost = Cost()
    for name in cost.columns():
        if hasattr(row, name):
            setattr(cost, name, int(getattr(row, name)))
    return PluginCost(str(getattr(row, "plugin", "")), int(getattr(row, "installations", 0)), cost)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _floor(moment: datetime, step: timedelta) -> datetime:
    """The beginning of the hour or day, in UTC."""
    return moment - (moment - _EPOCH) % step
