"""Whether a database has room: since when it has refused writes for want of it, as this process has seen.

A database that is full takes a small write now and then, where a page has a gap. So it has room again only when it
takes one, and has refused none for a while.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import ExceptionContext

from jackfield.db.engine import Database
from jackfield.db.errors import is_full

__all__ = ["full_since"]

_log = structlog.stdlib.get_logger(__name__)

QUIET_S: Final = 30.0
_WROTE: Final = "jackfield_wrote"
_WRITES: Final = ("INSERT", "UPDATE")


@dataclass(slots=True)
class _Refusal:
    since: datetime
    last_s: float


_refusals: Final[dict[str, _Refusal]] = {}
"""By the database, not by the engine: several may lead to one, and what one is refused is so for all."""


def full_since(database: Database) -> datetime | None:
    """When it began to refuse writes for want of room; None as long as it takes them."""
    refusal = _refusals.get(_key(database.engine.url))
    return refusal.since if refusal else None


def _key(url: URL) -> str:
    return str(URL.create(url.get_backend_name(), None, None, url.host, url.port, url.database, url.query))


@event.listens_for(Engine, "handle_error")
def _note(context: ExceptionContext) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    error, engine = context.sqlalchemy_exception, context.engine
    if error is None or engine is None or not is_full(error):
        return
    known = _refusals.get(_key(engine.url))
    if known is not None:
        known.last_s = time.monotonic()
        return
    _refusals[_key(engine.url)] = _Refusal(datetime.now(UTC), time.monotonic())
    _log.error("database-full", error=str(error)[:300])
    if not event.contains(Engine, "commit", _committed):
        # From the first refusal on: who never saw one pays nothing for this.
        event.listen(Engine, "after_cursor_execute", _executed)
        event.listen(Engine, "commit", _committed)


def _executed(connection: Any, cursor: Any, statement: str, *_more: Any) -> None:
    if _refusals and statement.lstrip()[:6].upper() in _WRITES and cursor.rowcount != 0:
        connection.info[_WROTE] = True


def _committed(connection: Any) -> None:
    if not _refusals or not connection.info.pop(_WROTE, False):
        return
    refusal = _refusals.get(key := _key(connection.engine.url))
    if refusal is not None and time.monotonic() - refusal.last_s >= QUIET_S:
        del _refusals[key]
        _log.warning("database-has-room", was_full_since=refusal.since.isoformat())
