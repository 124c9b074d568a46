"""Happenings become rows in the transaction of what they tell of.

On PostgreSQL a later position could be committed before an earlier one, and whoever reads in between would never see
the earlier. So a transaction takes its positions last of all, under a lock of its tenant that it holds until it is
committed: the order of positions is that of commits. It waits for nothing else while it holds the lock, so that two
transactions cannot wait for each other. SQLite has one writer.

Operators hear of all tenants, among which there is no such order. So a writer first shares one more lock with all other
writers, in the same statement; whoever reads for operators takes it alone for a moment, and nobody is in between then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Table, event, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from jackfield.db.notices import tell_in
from jackfield.db.scopes import TENANT
from jackfield.live.kinds import Kind
from jackfield.live.models import LiveRow

__all__ = ["DATA_BYTES", "EVERYBODY", "LIVE", "Mark", "happened", "mark_on_commit", "on_commit", "schedule_told"]

LIVE: Final = "live"
"""Topic of the notices: a tenant's id."""
DATA_BYTES: Final = 8 * 1024
_PENDING: Final = "jackfield_live"
_COMMITTED: Final = "jackfield_live_tenants"
_LOCK: Final = 0x6A6676
"""Tells our locks of a tenant from others."""
EVERYBODY: Final = 0x6A66766C697665
"""The lock that writers share, and that no tenant's lock is likely to be."""
_TABLE: Final[Table[Any]] = LiveRow.__table__  # type: ignore[assignment]  # that of a mapped class is a table
_MARKS: Final = "jackfield_live_marks"
_wakers: set[Callable[[str], None]] = set()
_markers: set[Callable[[Mark], None]] = set()


@dataclass(frozen=True, slots=True)
class Mark:
    """A widget that shows something else by now."""

    tenant_id: str
    plugin: str
    installation_id: str
    name: str
    slot: str


def happened(
    session: AsyncSession | Session,
    kind: Kind,
    data: Mapping[str, Any],
    *,
    tenant_id: str | None = None,
    plugin: str | None = None,
    member_id: str | None = None,
) -> None:
    """Tell of something when, and only when, the session's transaction is committed.

    Args:
        data: Plain data, up to 8 KiB of JSON. What is larger is told of without its data: `{"is_cut": true}`.
        tenant_id: Whose; that of the session when absent.
        member_id: Who alone may hear of it.
    """
    sync = session.sync_session if isinstance(session, AsyncSession) else session
    tenant = tenant_id or sync.info.get(TENANT)
    if tenant is None:
        raise ValueError("a happening of no tenant")
    given = dict(data) if len(msgspec.json.encode(data)) <= DATA_BYTES else {"is_cut": True}
    row = {
        "tenant_id": tenant, "kind": kind, "plugin": plugin, "member_id": member_id, "data": given,
        "created_at": datetime.now(UTC),
    }  # fmt: skip
    sync.info.setdefault(_PENDING, []).append(row)


def schedule_told(
    session: AsyncSession | Session, tenant_id: str, installation_id: str, data: Mapping[str, Any]
) -> None:
    """Tell of a schedule. Which plugin it is of is looked up by who reads: it costs those who fire nothing."""
    happened(session, "schedule", {"installation_id": installation_id, **data}, tenant_id=tenant_id)


def mark_on_commit(session: AsyncSession | Session, mark: Mark) -> None:
    """Have a widget told of soon after the session's transaction is committed. Costs that transaction no statement."""
    sync = session.sync_session if isinstance(session, AsyncSession) else session
    sync.info.setdefault(_MARKS, {})[mark] = None


def on_commit(waker: Callable[[str], None], marker: Callable[[Mark], None]) -> Callable[[], None]:
    """Call `waker` with the tenant after each commit that tells something, from whatever thread commits; `marker`
    with each widget.

    Returns:
        What ends it.
    """
    _wakers.add(waker)
    _markers.add(marker)

    def end() -> None:
        _wakers.discard(waker)
        _markers.discard(marker)

    return end


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    if _PENDING not in session.info or session.in_nested_transaction():
        return
    # All other work first: nobody is to wait for the lock meanwhile.
    session.flush()
    rows: list[dict[str, Any]] = session.info.pop(_PENDING)
    mapper = inspect(LiveRow)
    connection = session.connection(bind_arguments={"mapper": mapper})
    tenants = sorted({row["tenant_id"] for row in rows})
    if connection.dialect.name == "postgresql":
        for tenant_id in tenants:  # in one order everywhere; the shared lock comes before the first
            own = func.pg_advisory_xact_lock(func.hashtextextended(tenant_id, _LOCK))
            is_first = tenant_id == tenants[0]
            connection.execute(select(func.pg_advisory_xact_lock_shared(EVERYBODY), own) if is_first else select(own))
    for row in rows:
        connection.execute(_TABLE.insert(), row)
    for tenant_id in tenants:
        tell_in(session, LIVE, tenant_id, mapper=mapper)
    session.info[_COMMITTED] = tenants


@event.listens_for(Session, "after_commit")
def _wake(session: Session) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    if session.in_nested_transaction():
        return
    for mark in session.info.pop(_MARKS, ()):
        for marker in tuple(_markers):
            marker(mark)
    if _COMMITTED in session.info:
        for tenant_id in session.info.pop(_COMMITTED):
            for waker in tuple(_wakers):
                waker(tenant_id)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, previous: SessionTransaction) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    # After a savepoint that failed it is better to tell of what did not happen than to be silent about what did.
    if not previous.nested:
        session.info.pop(_PENDING, None)
        session.info.pop(_COMMITTED, None)
        session.info.pop(_MARKS, None)
