"""Events enter here, in the transaction of the change that they tell of: both are committed, or neither."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import event, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from jackfield import ids
from jackfield.db.joint import drawn
from jackfield.db.notices import tell_in
from jackfield.jobs.errors import EventNameInvalidError, EventPayloadInvalidError
from jackfield.jobs.models import OutboxEvent
from jackfield_sdk.errors import WireError
from jackfield_sdk.wire import check_depth

__all__ = ["JOBS", "PAYLOAD_DEPTH", "PAYLOAD_LIMIT_BYTES", "add", "on_commit", "wake_after_commit"]

PAYLOAD_LIMIT_BYTES = 256 * 1024
"""The largest payload, as JSON."""
PAYLOAD_DEPTH = 64
"""The deepest nesting; what reads a payload back must not run out of stack."""

JOBS = "jobs"
"""Topic of notices: there is something to deliver."""
_WAKE = "jackfield_wake"

# Dispatchers of this process. One that runs on another database wakes for nothing, which is cheaper than to find out.
_wakers: set[Callable[[], None]] = set()


def add(
    session: AsyncSession | Session,
    tenant_id: str,
    name: str,
    payload: Any,
    source: str = "host",
    *,
    cause: str | None = None,
) -> str:
    """Add an event to the session's transaction; the caller commits.

    The session may be the host's own, on the same database. The payload is taken as it is now.

    Args:
        payload: Plain data, structs or dataclasses.
        cause: Comes with each delivery; whoever reads it there knows what it means.

    Returns:
        The event's id.

    Raises:
        EventNameInvalidError: The name cannot be one.
        EventPayloadInvalidError: The payload is no plain data, or too large.
    """
    if not 1 <= len(name) <= 128 or not name.isprintable() or " " in name:
        raise EventNameInvalidError(f"{name!r} cannot name an event.")
    try:
        encoded = msgspec.json.encode(payload).decode()
        plain = msgspec.json.decode(encoded)
        check_depth(plain, PAYLOAD_DEPTH)
        msgspec.msgpack.encode(plain)  # as it will travel to an isolate: no integer over 64 bits
    except (TypeError, ValueError, RecursionError, OverflowError, WireError) as error:
        raise EventPayloadInvalidError(f"The payload of {name} is no plain data: {error}") from error
    if len(encoded) > PAYLOAD_LIMIT_BYTES:
        raise EventPayloadInvalidError(
            f"The payload of {name} is over {PAYLOAD_LIMIT_BYTES} bytes.", limit_bytes=PAYLOAD_LIMIT_BYTES
        )
    event_id = drawn("event", lambda: ids.new_id("evt"))
    session.add(
        OutboxEvent(
            id=event_id,
            tenant_id=tenant_id,
            name=name,
            payload=encoded,
            source=source,
            cause=cause,
            created_at=datetime.now(UTC),
            fanned_out_at=None,
        )
    )
    wake_after_commit(session)
    return event_id


def wake_after_commit(session: AsyncSession | Session) -> None:
    """When the session's transaction is committed, the dispatchers of this process look for work."""
    sync = session.sync_session if isinstance(session, AsyncSession) else session
    sync.info[_WAKE] = True


def on_commit(waker: Callable[[], None]) -> Callable[[], None]:
    """Call `waker` after each commit that brings work, from whatever thread commits.

    Returns:
        What ends it.
    """
    _wakers.add(waker)
    return lambda: _wakers.discard(waker)


@event.listens_for(Session, "before_commit")
def _committing(session: Session) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    """Where nobody dispatches, another process has to be told; a dispatcher of ours tells them itself what is too much
    for it. A notice makes those who commit wait for one another, so that it is sent for each event only here."""
    if session.info.get(_WAKE) and not _wakers and not session.in_nested_transaction():
        tell_in(session, JOBS, mapper=inspect(OutboxEvent))


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    # The end of a savepoint comes here too, when nobody else can see the event yet.
    if session.info.get(_WAKE) and not session.in_nested_transaction():
        del session.info[_WAKE]
        for waker in tuple(_wakers):
            waker()
