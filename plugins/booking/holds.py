"""Holds: who may have a provider or an operatory in which five minutes.

Where the appointments are kept is not ours: another system perhaps, without locks and transactions. So a time is
taken here first. `(resource, unit)` is unique, and all rows of an appointment are inserted together or not at all: of
two that want the same five minutes one gets them, whatever node they run on. What was taken by a call that died on the
way is free again after a minute.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from times import UNIT_MINUTES, unit_of

import jackfield_sdk as jf

PENDING_S = 60
"""For how long a hold waits for its appointment."""


def take(ctx: jf.Context, owner: str, resources: list[str], start: dt.datetime, minutes: int) -> None:
    """Take resources for a time.

    Args:
        owner: A name of this attempt; `settle` gives the hold to its appointment.

    Raises:
        UserError: `slot-taken`.
    """
    rows = _rows(ctx, owner, resources, start, minutes)
    for attempt in range(2):
        try:
            ctx.tables["holds"].insert_many(rows)
        except jf.CapabilityError as error:
            if error.code != "unique-violation":
                raise
            if attempt or not _drop_stale(ctx, resources, start, minutes):
                raise taken() from error
        else:
            return


def settle(ctx: jf.Context, owner: str, appointment_id: str) -> None:
    """The appointment is there: the hold is its."""
    ctx.tables["holds"].update_many({"owner": owner}, appointment_id=appointment_id)


def release(ctx: jf.Context, owner: str) -> None:
    """Nothing came of it."""
    ctx.tables["holds"].delete_many({"owner": owner})


def release_appointment(ctx: jf.Context, appointment_id: str, *, but: str = "") -> None:
    """Free what an appointment holds, except for one attempt's."""
    ctx.tables["holds"].delete_many([("appointment_id", "eq", appointment_id), ("owner", "ne", but)])


def release_part(ctx: jf.Context, appointment_id: str, resources: list[str], start: dt.datetime, minutes: int) -> None:
    """Free what an appointment holds of resources within a time."""
    units = _units(start, minutes)
    ctx.tables["holds"].delete_many(
        [
            ("appointment_id", "eq", appointment_id), ("resource", "in", resources),
            ("unit", "gte", units.start), ("unit", "lt", units.stop),
        ]
    )  # fmt: skip


def held(ctx: jf.Context, resources: list[str], start: dt.datetime, end: dt.datetime) -> set[tuple[str, int]]:
    """Which resources are held in which units."""
    found: set[tuple[str, int]] = set()
    now = ctx.now.timestamp()
    cursor: str | None = None
    while True:
        page = ctx.tables["holds"].page(
            [("resource", "in", resources), ("unit", "gte", unit_of(start)), ("unit", "lt", unit_of(end))],
            limit=1000, cursor=cursor,
        )  # fmt: skip
        found.update((row["resource"], row["unit"]) for row in page.rows if not _is_stale(row, now))
        cursor = page.cursor
        if cursor is None:
            return found


def taken() -> jf.UserError:
    """What whoever comes second is told."""
    return jf.UserError(
        "this time is not free any more", code="slot-taken", hint="Ask for free slots (`FindAvailableSlots`)."
    )


def _rows(ctx: jf.Context, owner: str, resources: list[str], start: dt.datetime, minutes: int) -> list[dict[str, Any]]:
    return [
        {"resource": resource, "unit": unit, "owner": owner, "taken_at": ctx.now.timestamp()}
        for resource in resources
        for unit in _units(start, minutes)
    ]


def _units(start: dt.datetime, minutes: int) -> range:
    """The five minutes that a time touches."""
    first = unit_of(start)
    return range(first, first + -(-minutes // UNIT_MINUTES))


def _drop_stale(ctx: jf.Context, resources: list[str], start: dt.datetime, minutes: int) -> bool:
    """Free what dead attempts hold in this time; whether there was any."""
    units = _units(start, minutes)
    rows = ctx.tables["holds"].find(
        [
            ("resource", "in", resources), ("unit", "gte", units.start), ("unit", "lt", units.stop),
            ("appointment_id", "eq", None),
        ],
        limit=1000,
    )  # fmt: skip
    owners = {row["owner"] for row in rows if _is_stale(row, ctx.now.timestamp())}
    for owner in owners:
        release(ctx, owner)
    return bool(owners)


def _is_stale(row: dict[str, Any], now: float) -> bool:
    return row["appointment_id"] is None and row["taken_at"] < now - PENDING_S
