"""Puts records into the tables: rows, log lines and totals in one transaction, each record once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import msgspec
import structlog
from sqlalchemy import case, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database, is_unavailable
from jackfield.records.costs import add_costs
from jackfield.records.models import Counter, InvocationRow, LogRow
from jackfield.records.record import InvocationRecord
from jackfield.records.uses import add_uses

__all__ = ["store"]

_log = structlog.stdlib.get_logger(__name__)

_CHUNK = 500
"""Records per transaction; SQLite's writer is not held longer than a few milliseconds."""
_SLICE = 25
"""Records that are turned into rows before calls have their turn."""
_PAUSE = 100
_TEXT_LIMIT = 64 * 1024
T = TypeVar("T")


async def store(database: Database, records: Sequence[InvocationRecord]) -> None:
    """Insert what is not there yet.

    A record that the database refuses for its content is logged and left out, so that one plugin's odd text cannot
    hold up the records of all.

    Raises:
        SQLAlchemyError, OSError: The database cannot be written now.
    """
    for start in range(0, len(records), _CHUNK):
        await _store(database, records[start : start + _CHUNK])


async def _store(database: Database, records: Sequence[InvocationRecord]) -> None:
    try:
        async with database.write(None) as session:
            await _insert(session, database, records)
    except (SQLAlchemyError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, OperationalError | InterfaceError) or is_unavailable(error):
            raise
        if len(records) == 1:
            _log.error("record-refused", invocation_id=records[0].id, exc_info=error)
            return
        half = len(records) // 2
        await _store(database, records[:half])
        await _store(database, records[half:])


async def _insert(session: AsyncSession, database: Database, records: Sequence[InvocationRecord]) -> None:
    unique = {record.id: record for record in records}
    known, write_rows = (_known_raw, _write_raw) if database.is_sqlite else (_known, _write)
    for invocation_id in await known(session, list(unique)):
        del unique[invocation_id]
    if not unique:
        return
    new = list(unique.values())
    # Calls are answered on the same thread. All at once, 500 records would hold them up for ten milliseconds.
    for some in _slices(new):
        await write_rows(session, [_row(record) for record in some])
        lines = [line for record in some for line in _lines(record)]
        if lines:
            await session.execute(insert(LogRow), lines)
    await add_costs(session, database, new)
    await add_uses(session, database, new)
    totals = await _totals(new)
    await session.execute(
        _adding(is_sqlite=database.is_sqlite),
        # In one order on all nodes, so that two of them never wait for each other.
        sorted(totals.values(), key=lambda total: total["installation_id"]),
    )


@cache
def _adding(*, is_sqlite: bool) -> Any:
    """The statement that adds totals; built once, which takes longer than to run it."""
    dialect = sqlite if is_sqlite else postgresql
    added = dialect.insert(Counter)
    has_error = added.excluded.last_error_at.is_not(None)
    return added.on_conflict_do_update(
        index_elements=[Counter.installation_id],
        set_={
            **{
                column.name: column + added.excluded[column.name]
                for column in (
                    Counter.__table__.c.calls,
                    Counter.__table__.c.failures,
                    Counter.__table__.c.total_us,
                    Counter.__table__.c.cpu_us,
                )
            },
            **{
                name: case((added.excluded[name] > column, added.excluded[name]), else_=column)
                for name, column in (("maximum_us", Counter.maximum_us), ("last_run_at", Counter.last_run_at))
            },
            **{
                name: case((has_error, added.excluded[name]), else_=column)
                for name, column in (
                    ("last_error_at", Counter.last_error_at),
                    ("last_error_code", Counter.last_error_code),
                    ("last_error_message", Counter.last_error_message),
                )
            },
        },
    )


async def _known(session: AsyncSession, ids: list[str]) -> Iterable[str]:
    """Which of these are there already."""
    return (await session.scalars(select(InvocationRow.id).where(InvocationRow.id.in_(ids)))).all()


async def _write(session: AsyncSession, rows: list[dict[str, Any]]) -> None:
    await session.execute(insert(InvocationRow), rows)


# The same in the driver's own words: a fifth of the time on the thread that answers calls. One node has one SQLite, and
# all its calls.
_COLUMNS = tuple(column.name for column in InvocationRow.__table__.columns)
_INSERT = f"INSERT INTO {InvocationRow.__tablename__} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # names of ours
_SELECT = f"SELECT id FROM {InvocationRow.__tablename__} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608  # the same


async def _known_raw(session: AsyncSession, ids: list[str]) -> Iterable[str]:
    connection = await session.connection()
    found = await connection.exec_driver_sql(_SELECT, (msgspec.json.encode(ids).decode(),))
    return [row[0] for row in found]


async def _write_raw(session: AsyncSession, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        # As the column's type has it.
        row["started_at"] = row["started_at"].strftime("%Y-%m-%d %H:%M:%S.%f")
        if row["metrics"] is not None:
            row["metrics"] = msgspec.json.encode(row["metrics"]).decode()
    connection = await session.connection()
    await connection.exec_driver_sql(_INSERT, [tuple(map(row.__getitem__, _COLUMNS)) for row in rows])


def _slices(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), _SLICE):
        yield things[start : start + _SLICE]


async def _totals(records: Iterable[InvocationRecord]) -> dict[str, dict[str, Any]]:
    """Per installation, what these records add to its counter."""
    totals: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(sorted(records, key=lambda record: record.started_at)):
        if number % _PAUSE == _PAUSE - 1:
            await asyncio.sleep(0)
        total = totals.get(record.installation_id)
        if total is None:
            total = totals[record.installation_id] = {
                "installation_id": record.installation_id,
                "tenant_id": record.tenant_id,
                "calls": 0,
                "failures": 0,
                "total_us": 0,
                "maximum_us": 0,
                "cpu_us": 0,
                "last_error_at": None,
                "last_error_code": None,
                "last_error_message": None,
            }
        total["calls"] += 1
        total["total_us"] += record.duration_us
        total["cpu_us"] += record.cpu_us
        total["maximum_us"] = max(total["maximum_us"], record.duration_us)
        total["last_run_at"] = _moment(record)
        if record.is_failure:
            total["failures"] += 1
            total["last_error_at"] = _moment(record)
            total["last_error_code"] = _text(record.error_code or record.status, 128)
            total["last_error_message"] = _text(record.error_message)
    return totals


def _row(record: InvocationRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant_id": record.tenant_id,
        "installation_id": record.installation_id,
        "plugin": _text(record.plugin, 128),
        "version": _text(record.version, 64),
        "kind": record.kind,
        "name": _text(record.name, 255),
        "handler": _text(record.handler, 255),
        "caller_id": _text(record.caller_id, 64),
        "caller_role": _text(record.caller_role, 16),
        "started_at": _moment(record),
        "duration_us": record.duration_us,
        "cpu_us": record.cpu_us,
        "host_calls": record.host_calls,
        "memory_kb": record.memory_kb,
        "status": record.status,
        "is_failure": record.is_failure,
        "error_code": _text(record.error_code, 128),
        "error_message": _text(record.error_message),
        "error_trace": _text(record.error_trace),
        "delivery_id": record.delivery_id,
        "payload_bytes": record.payload_bytes,
        "result_bytes": record.result_bytes,
        "queries": record.queries,
        "egress_bytes": record.egress_bytes,
        "secret_leaks": record.secret_leaks,
        "trace_id": record.trace_id,
        "parent_id": record.parent_id,
        "chain": None if record.chain is None else " ".join(record.chain),
        "metrics": record.metrics,
    }


def _lines(record: InvocationRecord) -> list[dict[str, Any]]:
    return [
        {
            "tenant_id": record.tenant_id,
            "invocation_id": record.id,
            "installation_id": record.installation_id,
            "plugin": _text(record.plugin, 128),
            "logged_at": _moment(record),
            "level": _text(level, 16),
            "message": _text(message),
            "fields": {key: _field(value) for key, value in fields.items()},
            "trace_id": record.trace_id,
        }
        for level, message, fields in record.log
    ]


def _moment(record: InvocationRecord) -> datetime:
    return datetime.fromtimestamp(record.started_at, UTC)


def _text(value: str | None, limit: int = _TEXT_LIMIT) -> str | None:
    """Text that any database takes: PostgreSQL refuses NUL and what is too long for its column."""
    return None if value is None else value[:limit].replace("\0", "\ufffd")


def _field(value: str | int | float | bool | None) -> str | int | float | bool | None:
    """JSON has neither NaN nor infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
