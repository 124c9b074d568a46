"""Channel analytics: how much is said on the tenant's channels, and by how many people."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from counting import count, day_of, forget_before, forget_people, mark_of, totals

import jackfield_sdk as jf

plugin = jf.Plugin(
    "channel-analytics",
    version="1.0.0",
    name="Channel analytics",
    summary="Counts what is said on your channels, and by how many people.",
    category="analytics",
    tags=["analytics", "telegram", "channels"],
    licence="MIT",
    author="Jackfield",
    permissions=["channels:telegram"],
    optional_permissions=["channels:web-chat", "channels:http", "channels:voice-agent"],
    permission_reasons={
        "channels:telegram": "Counts messages. Their texts are not kept.",
        "channels:web-chat": "Counts messages of web chats as well.",
        "channels:http": "Counts messages of HTTP channels as well.",
        "channels:voice-agent": "Counts what is said to voice agents as well.",
    },
    gateways=["telegram"],
)


@plugin.config
class Config:
    track_users: Annotated[
        bool, jf.Meta(title="Count people", description="Keeps a mark for each person, from which nobody can tell whom")
    ] = True
    retention: Annotated[
        int, jf.Meta(ge=1, le=3650, title="Days to keep", description="What is older is removed once a day")
    ] = 30


@plugin.table("messages", unique=[["channel", "direction", "message"]], indexes=[["day", "direction"]])
class Message:
    channel: str
    direction: Literal["received", "sent"]
    message: str
    day: str


@plugin.table("visits", unique=[["day", "user"]])
class Visit:
    day: str
    user: str


@plugin.table("users", unique=[["user"]], indexes=[["last_day"]])
class User:
    user: str
    last_day: str


class Day(jf.Struct, frozen=True):
    """One day's figures."""

    day: str
    received: int
    sent: int
    users: int


class Figures(jf.Struct, frozen=True):
    """What was counted. `week` begins on Monday; `users` is null when people are not counted."""

    total: int
    received: int
    sent: int
    today: int
    week: int
    users: int | None
    days: list[Day]


@plugin.on("channel.message")
def received(ctx: jf.Context, message: jf.hooks.ChannelMessage) -> None:
    """Count a message that came in; one that was changed is counted already."""
    if message.is_edited:
        return
    user = mark_of(ctx, message.kind, message.user_id) if ctx.config.track_users and message.user_id else None
    count(ctx, "received", message.channel, message.id, day_of(ctx, message.sent_at).isoformat(), user)
    ctx.widgets.refresh("panel")


@plugin.on("channel.sent")
def sent(ctx: jf.Context, message: jf.hooks.ChannelSent) -> None:
    """Count a message that a plugin wrote."""
    count(ctx, "sent", message.channel, message.id, day_of(ctx, message.sent_at).isoformat(), None)
    ctx.widgets.refresh("panel")


@plugin.function("GetFigures", read_only=True, public=True)
def figures(ctx: jf.Context) -> Figures:
    """Messages and people: in all, today, this week, and for each of the last seven days."""
    found: dict[str, Any] = totals(ctx, day_of(ctx, ctx.now))
    return Figures(**{**found, "days": [Day(**day) for day in found["days"]]})


@plugin.schedule("17 3 * * *", name="purge", jitter_s=600, catch_up="once")
def purge(ctx: jf.Context) -> None:
    """Remove what is older than the tenant wants it kept."""
    first = day_of(ctx, ctx.now) - timedelta(days=ctx.config.retention - 1)
    removed = forget_before(ctx, first.isoformat())
    if removed:
        ctx.log.info("old messages removed", messages=removed)
        ctx.widgets.refresh("panel")


@plugin.on_configure
def configured(ctx: jf.Context) -> None:
    """Whoever counts people no more keeps nothing of them either."""
    if not ctx.config.track_users:
        forget_people(ctx)


@plugin.widget("Dashboard.Widgets", title="Channel analytics")
def panel(ctx: jf.Context, _context: dict[str, Any]) -> jf.ui.Card:
    """Totals, today, this week, people, and a chart of seven days."""
    found = totals(ctx, day_of(ctx, ctx.now))
    figures: list[jf.ui.Node] = [
        jf.ui.Stat("Messages", found["total"], id="total"),
        jf.ui.Stat("Today", found["today"], id="today"),
        jf.ui.Stat("This week", found["week"], id="week"),
    ]
    if found["users"] is not None:
        figures.append(jf.ui.Stat("People", found["users"], id="users"))
    chart = jf.ui.Chart(
        kind="bar",
        data=[{"day": day["day"][5:], "messages": day["received"] + day["sent"]} for day in found["days"]],
        x="day",
        y=["messages"],
        label="Messages of the last seven days",
        id="week-chart",
    )
    return jf.ui.Card(title="Channels", children=[jf.ui.Grid(figures, columns=len(figures)), chart])
