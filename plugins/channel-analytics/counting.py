"""What is counted, and how: one row for each message, so that what is delivered twice is counted once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import jackfield_sdk as jf

_SALT = "salt"


def count(
    ctx: jf.Context, direction: Literal["received", "sent"], channel: str, message: str, day: str, user: str | None
) -> None:
    """Count a message. The same one again changes nothing."""
    rows = ctx.tables
    steps = [
        rows["messages"].to_upsert(
            ["channel", "direction", "message"], channel=channel, direction=direction, message=message, day=day
        )
    ]
    if user is not None:
        steps.append(rows["visits"].to_upsert(["day", "user"], day=day, user=user))
        known = rows["users"].find([["user", "eq", user]], limit=1)
        if not known or known[0]["last_day"] < day:
            # Not back: a message of last week that comes again is no new visit.
            steps.append(rows["users"].to_upsert("user", user=user, last_day=day))
    rows.transaction(steps)


def totals(ctx: jf.Context, today: date) -> dict[str, Any]:
    """All that is known: totals, today, this week from Monday on, people, and the last seven days."""
    messages = ctx.tables["messages"]
    by_direction = {row["direction"]: row["n"] for row in messages.aggregate({"n": "count"}, group_by="direction")}
    monday, first = today - timedelta(days=today.weekday()), today - timedelta(days=6)
    recent = messages.aggregate(
        {"n": "count"}, [["day", "gte", min(monday, first).isoformat()]], group_by=["day", "direction"], limit=100
    )
    days = {(today - timedelta(days=back)).isoformat(): {"received": 0, "sent": 0} for back in range(6, -1, -1)}
    week = 0
    for row in recent:
        if row["day"] in days:
            days[row["day"]][row["direction"]] = row["n"]
        if monday.isoformat() <= row["day"] <= today.isoformat():
            week += row["n"]
    people = {
        row["day"]: row["n"]
        for row in ctx.tables["visits"].aggregate(
            {"n": "count"}, [["day", "gte", first.isoformat()]], group_by="day", limit=10
        )
    }
    received, sent = by_direction.get("received", 0), by_direction.get("sent", 0)
    return {
        "total": received + sent, "received": received, "sent": sent,
        "today": sum(days[today.isoformat()].values()), "week": week,
        "users": ctx.tables["users"].count() if ctx.config.track_users else None,
        "days": [
            {"day": day, "received": figures["received"], "sent": figures["sent"], "users": people.get(day, 0)}
            for day, figures in days.items()
        ],
    }  # fmt: skip


def forget_before(ctx: jf.Context, day: str) -> int:
    """Remove what is older than a day; how many messages."""
    removed = _emptied(ctx, "messages", [["day", "lt", day]])
    _emptied(ctx, "visits", [["day", "lt", day]])
    _emptied(ctx, "users", [["last_day", "lt", day]])
    return removed


def forget_people(ctx: jf.Context) -> None:
    """Remove all that was kept of people, and the salt, without which no new mark is like an old one."""
    for table in ("visits", "users"):
        _emptied(ctx, table, None)
    ctx.storage.delete(_SALT)


def mark_of(ctx: jf.Context, kind: str, user_id: str) -> str:
    """Stands for a person: nobody who has no access to this installation's storage can tell whom."""
    salt = ctx.storage.get(_SALT)
    if salt is None:
        ctx.storage.compare_and_set(_SALT, None, secrets.token_hex(32))
        salt = ctx.storage.get(_SALT)
    return hashlib.sha256(f"{salt}:{kind}:{user_id}".encode()).hexdigest()[:32]


def day_of(ctx: jf.Context, moment: str | datetime) -> date:
    """The day that a moment falls on where the tenant is."""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    try:
        zone: Any = ZoneInfo(ctx.tenant.timezone)
    except Exception:  # a zone that this machine does not have
        zone = UTC
    return at.astimezone(zone).date()


def _emptied(ctx: jf.Context, table: str, where: Any) -> int:
    removed = 0
    while True:
        gone = ctx.tables[table].delete_many(where)
        removed += gone
        if gone < 1000:
            return removed
