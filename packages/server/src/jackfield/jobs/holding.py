"""What statements on deliveries share: the tables, which places keep a lane busy, and whose a delivery is."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Table, bindparam

from jackfield.jobs.models import Delivery, OutboxEvent

__all__ = ["ACTIVE", "DELIVERIES", "LEASED", "OUTBOX", "RELEASED", "this_attempt"]

OUTBOX: Final[Table] = OutboxEvent.__table__  # type: ignore[assignment]  # declared as FromClause
DELIVERIES: Final[Table] = Delivery.__table__  # type: ignore[assignment]  # declared as FromClause
ACTIVE: Final = ("ready", "waiting", "running", "settled")
"""Places of an ordered delivery that the next one of its installation waits for."""
LEASED: Final[dict[str, Any]] = {
    "state": "running", "place": "running", "attempt": DELIVERIES.c.attempt + 1, "next_attempt_at": None,
    "lease_owner": bindparam("owner"), "lease_until": bindparam("until"),
}  # fmt: skip
"""What a node that takes a delivery writes into it."""
RELEASED: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": None}


def this_attempt(place: Literal["running", "settled"]) -> tuple[ColumnElement[bool], ...]:
    """Where a delivery is still held by the owner and for the attempt of `this`, `this_owner` and `this_attempt`."""
    rows = DELIVERIES.c
    return (
        rows.sequence == bindparam("this"),
        rows.lease_owner == bindparam("this_owner"),
        rows.attempt == bindparam("this_attempt"),
        rows.place == place,
    )
