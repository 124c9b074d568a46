"""What becomes of a delivery, and whose turn it is: decided by values alone."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.jobs import DeliveryResult, RetryPolicy
from jackfield.jobs.outcomes import Verdict, decide
from jackfield.jobs.turns import shares

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = RetryPolicy(random=random.Random(1))


def verdict(result: DeliveryResult, failures: int = 0, max_attempts: int = 5) -> Verdict:
    return decide(result, failures=failures, max_attempts=max_attempts, policy=POLICY, now=NOW)


@pytest.mark.parametrize("status", ["done", "skipped"])
def test_an_end_is_an_end(status: str) -> None:
    given = verdict(DeliveryResult(status, duration_ms=2.5), failures=4)  # type: ignore[arg-type]  # a literal
    assert (given.state, given.place, given.failures, given.finished_at, given.duration_ms) == (
        status, None, 4, NOW, 2.5,
    )  # fmt: skip


def test_a_failure_waits_for_its_next_attempt() -> None:
    given = verdict(DeliveryResult("retry", "plugin-error", "boom"))
    assert (given.state, given.place, given.failures, given.finished_at) == ("pending", "waiting", 1, None)
    assert (given.error_code, given.error_message) == ("plugin-error", "boom")
    assert given.next_attempt_at is not None
    assert timedelta(seconds=4) <= given.next_attempt_at - NOW <= timedelta(seconds=6)


def test_the_last_failure_is_a_dead_letter() -> None:
    assert verdict(DeliveryResult("retry"), failures=3).state == "pending"
    given = verdict(DeliveryResult("retry", "plugin-error", "boom"), failures=4)
    assert (given.state, given.place, given.failures, given.finished_at, given.error_code) == (
        "dead", None, 5, NOW, "plugin-error",
    )  # fmt: skip
    assert verdict(DeliveryResult("retry"), max_attempts=1).state == "dead"


def test_what_cannot_succeed_is_not_tried_again() -> None:
    assert verdict(DeliveryResult("dead", "gone")).state == "dead"


@pytest.mark.parametrize(("wish", "seconds"), [(0.0, 0), (7.5, 7.5), (-3.0, 0), (1e12, 86_400), (float("inf"), 86_400)])
def test_the_handler_may_say_when_within_reason(wish: float, seconds: float) -> None:
    assert verdict(DeliveryResult("retry", retry_after_s=wish)).next_attempt_at == NOW + timedelta(seconds=seconds)


def test_the_delay_grows_up_to_a_limit_and_is_never_the_same_twice() -> None:
    steady = RetryPolicy(jitter=0.0)
    assert [steady.delay_s(n) for n in range(1, 7)] == [5, 25, 125, 625, 3125, 3600]
    assert steady.delay_s(1_000_000) == 3600
    delays = {POLICY.delay_s(3) for _ in range(50)}
    assert len(delays) > 40
    assert all(100 <= delay <= 150 for delay in delays)


names = st.sampled_from("abcdefgh")


@given(st.lists(names, unique=True), st.integers(0, 40), st.dictionaries(names, st.integers(0, 20)), st.integers(1, 20))
def test_slots_are_dealt_evenly_and_never_beyond_the_limits(
    order: list[str], free: int, running: dict[str, int], limit: int
) -> None:
    dealt = shares(order, free, running, limit)
    assert sum(dealt.values()) <= free
    for tenant in order:
        assert running.get(tenant, 0) + dealt.get(tenant, 0) <= max(limit, running.get(tenant, 0))
    room = {tenant: max(0, limit - running.get(tenant, 0)) for tenant in order}
    assert sum(dealt.values()) == min(free, sum(room.values()))
    open_ended = [dealt.get(tenant, 0) for tenant in order if dealt.get(tenant, 0) < room[tenant]]
    if open_ended:
        assert max(dealt.values(), default=0) <= min(open_ended) + 1


def test_whose_turn_it_is_gets_the_odd_slot() -> None:
    assert Counter(shares(["b", "c", "a"], 4, {}, 16)) == Counter(b=2, c=1, a=1)
    assert shares(["b", "c", "a"], 2, {}, 16) == {"b": 1, "c": 1}
    assert shares(["b", "c"], 9, {"b": 16}, 16) == {"c": 9}
    assert shares([], 5, {}, 16) == {}


@pytest.mark.parametrize("failures", [0, 4])
def test_what_was_not_begun_waits_for_its_place_and_is_never_dead(failures: int) -> None:
    given = verdict(DeliveryResult("deferred", "quota-exceeded", "not now", retry_after_s=10), failures=failures)
    assert (given.state, given.place, given.failures, given.finished_at) == ("pending", "waiting", failures, None)
    assert given.next_attempt_at is not None
    assert timedelta(seconds=10) <= given.next_attempt_at - NOW <= timedelta(seconds=12)


def test_what_was_turned_away_is_never_due_at_once() -> None:
    given = verdict(DeliveryResult("deferred", retry_after_s=0.0))
    assert given.next_attempt_at is not None
    assert given.next_attempt_at > NOW
