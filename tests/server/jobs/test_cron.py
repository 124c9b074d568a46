"""When a schedule is due: cron expressions, time zones, daylight saving, spread."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.jobs.cron import Cron, jitter
from jackfield.jobs.errors import CronInvalidError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "moment", "due"),
    [
        ("*/5 * * * *", "UTC", "2026-03-01T12:03", "2026-03-01T12:05"),
        ("*/5 * * * *", "UTC", "2026-03-01T12:05", "2026-03-01T12:10"),
        ("30 8 * * MON-FRI", "Europe/Vienna", "2026-03-06T08:00", "2026-03-09T07:30"),
        ("0 0 1 * *", "America/New_York", "2026-03-15T00:00", "2026-04-01T04:00"),
        ("0 9 29 2 *", "UTC", "2026-01-01T00:00", "2028-02-29T09:00"),
        # 2:30 does not exist on 29 March in Vienna: it runs at the end of the gap, 3:00 there.
        ("30 2 * * *", "Europe/Vienna", "2026-03-28T12:00", "2026-03-29T01:00"),
    ],
)
def test_it_is_due_on_the_clock_of_its_time_zone(cron: str, zone: str, moment: str, due: str) -> None:
    assert Cron(cron, zone).after(at(moment)) == at(due)


def test_an_hour_that_comes_twice_runs_a_daily_schedule_once() -> None:
    cron = Cron("30 2 * * *", "Europe/Vienna")
    first = cron.after(at("2026-10-24T12:00"))
    assert cron.after(first) - first >= timedelta(hours=23)
    assert first.astimezone(ZoneInfo("Europe/Vienna")).date().isoformat() == "2026-10-25"


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("", "UTC"), ("* * * *", "UTC"), ("* * * * * *", "UTC"), ("61 * * * *", "UTC"), ("0 0 31 2 *", "UTC"),
        ("@daily", "UTC"), ("0 0 * * *", "Europe/Nowhere"), ("0 0 * * *", "../../etc/passwd"), ("0 0 * * *", ""),
    ],
)  # fmt: skip
def test_what_is_no_expression_or_zone_is_refused(cron: str, zone: str) -> None:
    with pytest.raises(CronInvalidError) as caught:
        Cron(cron, zone)
    assert caught.value.hint


@given(
    st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2035-01-01")),
    st.sampled_from(["UTC", "Europe/Vienna", "Asia/Kolkata"]),
)
def test_the_next_time_is_always_later_and_the_last_one_before_leads_to_it(naive: datetime, zone: str) -> None:
    cron, moment = Cron("*/20 */3 * * *", zone), naive.replace(tzinfo=UTC)
    due = cron.after(moment)
    assert due > moment
    last, count = cron.last_before(due, moment)
    assert (last, count) == (due, 1)


def test_what_was_missed_is_counted_up_to_a_bound() -> None:
    cron = Cron("* * * * *")
    assert cron.last_before(at("2026-03-01T12:10"), at("2026-03-01T12:00")) == (at("2026-03-01T12:10"), 10)
    last, count = cron.last_before(at("2026-06-01T12:10"), at("2026-03-01T12:00"))
    assert count == 1000
    assert last is not None
    assert at("2026-06-01T12:08") < last <= at("2026-06-01T12:10")
    assert cron.last_before(at("2026-03-01T12:00"), at("2026-03-01T12:00")) == (None, 0)


def test_jitter_spreads_installations_and_is_always_the_same() -> None:
    spread = {jitter(f"inst_{number}", "nightly", 600) for number in range(200)}
    assert len(spread) > 100
    assert all(timedelta(0) <= each <= timedelta(seconds=600) for each in spread)
    assert jitter("inst_1", "nightly", 600) == jitter("inst_1", "nightly", 600)
    assert jitter("inst_1", "nightly", 0) == timedelta(0)
