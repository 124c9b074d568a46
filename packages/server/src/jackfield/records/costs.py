"""What calls cost, added up: by handler since the installation was made, and by installation and hour.

It is done for every call, in the event loop, so it is written for speed: a call is a few additions, and only the sums
of a batch, which are few, go through the database's layers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.records import histogram
from jackfield.records.models import CostColumns, HandlerCost, HourCost
from jackfield.records.record import InvocationRecord

__all__ = ["HOUR_S", "Cost", "add_costs"]

HOUR_S = 3600

Place = tuple[Any, ...]
"""A row's primary key, which begins with the installation."""


@dataclass(slots=True)
class Cost:
    """A sum over calls. Sums can be added in any order, and give the same.

    Attributes:
        durations: Bucket of `histogram` → calls.
        capabilities: Capability → calls.
        called_cpu_us: Processor time of other plugins' functions that were called.
        metrics: What handlers counted of their own; at most 200 names.
    """

    calls: int = 0
    failures: int = 0
    wall_us: int = 0
    maximum_us: int = 0
    cpu_us: int = 0
    peak_kb: int = 0
    host_calls: int = 0
    queries: int = 0
    egress_bytes: int = 0
    payload_bytes: int = 0
    result_bytes: int = 0
    cold_starts: int = 0
    secret_leaks: int = 0
    durations: dict[str, int] = field(default_factory=dict[str, int])
    capabilities: dict[str, int] = field(default_factory=dict[str, int])
    called_cpu_us: int = 0
    metrics: dict[str, int] = field(default_factory=dict[str, int])

    def count(self, record: InvocationRecord) -> None:
        """Add one call."""
        self.calls += 1
        if record.is_failure:
            self.failures += 1
        duration_us = record.duration_us
        self.wall_us += duration_us
        if duration_us > self.maximum_us:
            self.maximum_us = duration_us
        self.cpu_us += record.cpu_us
        if record.memory_kb > self.peak_kb:
            self.peak_kb = record.memory_kb
        self.payload_bytes += record.payload_bytes
        self.result_bytes += record.result_bytes
        self.secret_leaks += record.secret_leaks
        if record.is_cold:
            self.cold_starts += 1
        if record.host_calls:
            self.host_calls += record.host_calls
            self.queries += record.queries
            self.egress_bytes += record.egress_bytes
            self.called_cpu_us += record.called_cpu_us
            for name, count in record.capabilities.items():
                self.capabilities[name] = self.capabilities.get(name, 0) + count
        if record.metrics is not None:
            self._count_metrics(record.metrics)
        number = _BUCKETS[histogram.bucket(duration_us)]
        self.durations[number] = self.durations.get(number, 0) + 1

    def add(self, other: Cost | CostColumns) -> None:
        """Add another sum to this one."""
        self.calls += other.calls
        self.failures += other.failures
        self.wall_us += other.wall_us
        self.maximum_us = max(self.maximum_us, other.maximum_us)
        self.cpu_us += other.cpu_us
        self.peak_kb = max(self.peak_kb, other.peak_kb)
        self.host_calls += other.host_calls
        self.queries += other.queries
        self.egress_bytes += other.egress_bytes
        self.payload_bytes += other.payload_bytes
        self.result_bytes += other.result_bytes
        self.cold_starts += other.cold_starts
        self.secret_leaks += other.secret_leaks
        for number, count in other.durations.items():
            self.durations[number] = self.durations.get(number, 0) + count
        self.called_cpu_us += other.called_cpu_us
        for name, count in other.capabilities.items():
            self.capabilities[name] = self.capabilities.get(name, 0) + count
        if other.metrics:
            self._count_metrics(other.metrics)

    def _count_metrics(self, metrics: Mapping[str, int]) -> None:
        mine = self.metrics
        for name, count in metrics.items():
            # A plugin that makes names up must not make rows grow without end.
            if name in mine or len(mine) < _METRICS:
                mine[name] = min(mine.get(name, 0) + count, _MOST)

    def quantile_ms(self, share: float) -> float:
        """The duration that this share of the calls did not exceed."""
        counts = {int(number): count for number, count in self.durations.items()}
        return histogram.quantile_us(counts, share, self.maximum_us) / 1000

    def columns(self) -> dict[str, Any]:
        """As the tables have it."""
        return dict(zip(_COLUMNS, _values(self), strict=True))


_PAUSE = 100
_METRICS = 200
_MOST = 2**63 - 1
_COLUMNS = tuple(each.name for each in fields(Cost))
_values = attrgetter(*_COLUMNS)
_BUCKETS = tuple(map(str, range(len(histogram.BOUNDS_US) + 1)))


async def add_costs(session: AsyncSession, database: Database, records: Sequence[InvocationRecord]) -> None:
    """Add new records to the sums, in the transaction that stores them: both are there, or neither."""
    groups: dict[tuple[str, int, str, str, str], Cost] = {}
    about: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(records):
        if number % _PAUSE == _PAUSE - 1:
            # Calls are answered on the same thread.
            await asyncio.sleep(0)
        hour = int(record.started_at // HOUR_S)
        group = (record.installation_id, hour, record.kind, record.name, record.handler)
        cost = groups.get(group)
        if cost is None:
            cost = groups[group] = Cost()
            about[record.installation_id] = {"tenant_id": record.tenant_id, "plugin": record.plugin[:128]}
        cost.count(record)
    handlers: dict[Place, Cost] = {}
    hours: dict[Place, Cost] = {}
    for (installation_id, hour, kind, name, handler), cost in groups.items():
        hours.setdefault((installation_id, datetime.fromtimestamp(hour * HOUR_S, UTC)), Cost()).add(cost)
        place = (installation_id, kind, name[:255], handler[:255])
        if place in handlers:
            handlers[place].add(cost)
        else:
            handlers[place] = cost
    await _add(session, database, HandlerCost, handlers, about)
    await _add(session, database, HourCost, hours, about)


async def _add(
    session: AsyncSession,
    database: Database,
    model: type[HandlerCost] | type[HourCost],
    sums: Mapping[Place, Cost],
    about: Mapping[str, Mapping[str, Any]],
) -> None:
    table: Any = model.__table__
    key: list[Any] = list(table.primary_key.columns)
    names: list[str] = [column.name for column in key]
    others = [name for name in ("tenant_id", "plugin") if name in table.c]
    known: list[Place] = []
    # In one order on all nodes, so that two of them never wait for each other.
    missing = sorted(sums)
    while missing:
        for row in await _locked(session, table, missing):
            place = tuple(row)[: len(key)]
            sums[place].add(row)
            known.append(place)
        found = set(known)
        missing = [place for place in missing if place not in found]
        if missing:
            made = _making(table, is_sqlite=database.is_sqlite)
            new = [
                {
                    **dict(zip(names, place, strict=True)),
                    **{name: about[place[0]][name] for name in others},
                    **sums[place].columns(),
                }
                for place in missing
            ]
            added: set[Place] = {tuple(row) for row in (await session.execute(made, new)).all()}
            # Another node was quicker with the rest: those are there now, to be added to.
            missing = [place for place in missing if place not in added]
    if known:
        await session.execute(
            _changing(table),
            [
                {**{f"at_{name}": part for name, part in zip(names, place, strict=True)}, **sums[place].columns()}
                for place in known
            ],
            execution_options={"synchronize_session": False},
        )


async def _locked(session: AsyncSession, table: Any, places: list[Place]) -> Sequence[Any]:
    """The rows that are there, and nobody else's until the end of the transaction."""
    return (await session.execute(_locking(table), {"places": places})).all()


@cache
def _locking(table: Any) -> Any:
    """Built once, which takes longer than to run it; so are the statements below."""
    key: list[Any] = list(table.primary_key.columns)
    columns: list[Any] = [*key, *(table.c[name] for name in _COLUMNS)]
    query: Any = select(*columns)
    among: Any = tuple_(*key).in_(bindparam("places", expanding=True))  # pyright: ignore[reportUnknownArgumentType]  # a list of tuples has no type there
    return query.where(among).order_by(*key).with_for_update()


@cache
def _making(table: Any, *, is_sqlite: bool) -> Any:
    made: Any = (sqlite if is_sqlite else postgresql).insert(table).on_conflict_do_nothing()
    return made.returning(*table.primary_key.columns)


@cache
def _changing(table: Any) -> Any:
    return update(table).where(*(column == bindparam(f"at_{column.name}") for column in table.primary_key.columns))
