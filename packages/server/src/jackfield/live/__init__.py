"""What happens to a tenant, told at once: server-sent events to whoever listens.

What happens seldom (installations, notifications, widgets) is a row, written in the transaction of what it tells of: it
is told exactly when that is committed. What happens often (deliveries) is looked up once a second for all tenants that
somebody listens to, and costs nothing while nobody does (`docs/decisions/0023-live-stream.md`).
"""

from __future__ import annotations

from jackfield.live.endpoints import router
from jackfield.live.errors import StreamLimitError, StreamPositionError
from jackfield.live.hub import Hub, Stream
from jackfield.live.kinds import KINDS, Kind
from jackfield.live.shares import latest_of_each
from jackfield.live.writing import LIVE, Mark, happened, mark_on_commit, schedule_told

__all__ = [
    "KINDS",
    "LIVE",
    "Hub",
    "Kind",
    "Mark",
    "Stream",
    "StreamLimitError",
    "StreamPositionError",
    "happened",
    "latest_of_each",
    "mark_on_commit",
    "router",
    "schedule_told",
]
