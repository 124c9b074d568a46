"""What the analytics count, what they keep of people, and that nothing is counted twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield_sdk.testing import FakePlatform, load_plugin
from tools.committed import ROOT

PLUGIN = load_plugin(ROOT / "plugins" / "channel-analytics")
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday


def start(**config: Any) -> FakePlatform:
    return FakePlatform(PLUGIN, config=config, now=NOW).start()


def sent(platform: FakePlatform, id: str, at: datetime = NOW) -> None:
    message = jf.hooks.ChannelSent(
        channel="chn_telegram", kind="telegram", id=id, chat_id="42", sent_at=at.isoformat(), plugin="bot"
    )
    platform.channel_event("channel.sent", message)


def test_messages_and_people_are_counted_by_day() -> None:
    platform = start()
    platform.channel_message("today", user_id="1", id="a")
    platform.channel_message("today", user_id="1", id="b")
    platform.channel_message("today", user_id="2", id="c")
    platform.channel_message("Monday", user_id="3", id="d", sent_at="2026-03-02T08:00:00+00:00")
    platform.channel_message("Sunday", user_id="3", id="e", sent_at="2026-03-01T08:00:00+00:00")
    platform.channel_message("long ago", user_id="4", id="f", sent_at="2026-02-20T08:00:00+00:00")
    sent(platform, "42:1")
    assert set(platform.refreshed) == {"panel"}
    figures = platform.call("GetFigures")
    counted = {name: figures[name] for name in ("total", "received", "sent", "today", "week", "users")}
    assert counted == {"total": 7, "received": 6, "sent": 1, "today": 4, "week": 5, "users": 4}
    assert [day["day"] for day in figures["days"]] == [f"2026-0{m}-{d}" for m, d in
        ((2, "26"), (2, "27"), (2, "28"), (3, "01"), (3, "02"), (3, "03"), (3, "04"))]  # fmt: skip
    assert figures["days"][-1] == {"day": "2026-03-04", "received": 3, "sent": 1, "users": 2}


def test_what_comes_again_changes_no_figure() -> None:
    platform = start()
    for _ in range(2):
        platform.channel_message("hi", user_id="1", id="a", attempts=3)
        platform.channel_message("hi", user_id="2", id="b", sent_at="2026-03-01T08:00:00+00:00", attempts=2)
        sent(platform, "42:1")
    figures = platform.call("GetFigures")
    assert (figures["received"], figures["sent"], figures["users"]) == (2, 1, 2)


def test_a_message_that_was_changed_is_not_another_one() -> None:
    platform = start()
    message = jf.hooks.ChannelMessage(
        channel="chn_telegram", kind="telegram", id="42:1", chat_id="42", sent_at=NOW.isoformat(), is_edited=True
    )
    platform.channel_event("channel.message", message)
    assert platform.call("GetFigures")["total"] == 0


def test_nothing_that_is_kept_says_who_wrote_what() -> None:
    platform = start()
    platform.channel_message("a secret", user_id="987654321", chat_id="42", id="a")
    kept = str([platform.rows(table) for table in ("messages", "visits", "users")])
    assert "987654321" not in kept
    assert "a secret" not in kept
    other = start()
    other.channel_message("a secret", user_id="987654321", id="a")
    assert other.rows("users")[0]["user"] != platform.rows("users")[0]["user"]


def test_who_does_not_count_people_keeps_nothing_of_them() -> None:
    platform = start()
    platform.channel_message("hi", user_id="1", id="a")
    platform.configure(track_users=False)
    assert (platform.rows("users"), platform.rows("visits"), platform.storage) == ([], [], {})
    platform.channel_message("hi", user_id="1", id="b")
    assert platform.rows("users") == []
    assert platform.call("GetFigures")["users"] is None


def test_what_is_older_than_the_retention_is_removed_once_a_day() -> None:
    platform = start(retention=7)
    for back in (0, 6, 7, 30):
        at = (NOW - timedelta(days=back)).isoformat()
        platform.channel_message("hi", user_id=str(back), id=f"m{back}", sent_at=at)
    platform.fire("purge")
    assert sorted(row["message"] for row in platform.rows("messages")) == ["m0", "m6"]
    assert (len(platform.rows("users")), len(platform.rows("visits"))) == (2, 2)


def test_the_widget_shows_figures_and_a_chart_of_seven_days() -> None:
    platform = start()
    platform.channel_message("hi", user_id="1", id="a")
    tree = platform.widget("Dashboard.Widgets", {})
    assert tree is not None
    grid, chart = tree["children"]
    assert {node["id"]: node["value"] for node in grid["children"]} == {"total": 1, "today": 1, "week": 1, "users": 1}
    assert (chart["type"], len(chart["data"]), chart["data"][-1]) == ("Chart", 7, {"day": "03-04", "messages": 1})


def test_without_the_grant_nothing_is_heard() -> None:
    platform = FakePlatform(PLUGIN, withhold=["channels:web-chat"], now=NOW).start()
    assert platform.channel_message("hi", kind="web-chat") == []
    assert platform.call("GetFigures")["total"] == 0


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_a_day_is_the_tenants_day(zone: str) -> None:
    platform = start()
    platform._broker.people.tenant["timezone"] = zone
    platform.channel_message("hi", user_id="1", id="a", sent_at="2026-03-03T23:30:00+00:00")
    assert platform.rows("messages")[0]["day"] == ("2026-03-04" if "Auckland" in zone else "2026-03-03")
