"""A sliding minute out of two counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.quotas.windows import refilled_at, used, wait_s

amounts = st.integers(0, 10_000)
moments = st.floats(6_000, 12_000, allow_nan=False)


def test_last_minutes_use_fades_while_this_minute_goes_on() -> None:
    assert [used(10, 60, 600 + second) for second in (0, 15, 30, 60 - 1e-9)] == pytest.approx([70, 55, 40, 10])


def test_nothing_used_is_nothing_to_wait_for() -> None:
    assert refilled_at(0, 0, 600) is None
    assert wait_s(0, 0, 600, 1) < 1


def test_what_was_used_just_now_is_there_again_when_its_minute_has_passed_by() -> None:
    assert refilled_at(1, 0, 610) == 720
    assert refilled_at(0, 5, 610) == 660


@given(amounts, amounts, moments, st.integers(1, 5_000))
def test_whoever_waits_as_told_is_let_in(current: int, before: int, now: float, limit: int) -> None:
    later = now + wait_s(current, before, now, limit) + 1e-6
    ages = int(later // 60) - int(now // 60)
    shifted = {0: (current, before), 1: (0, current)}.get(ages, (0, 0))
    assert used(*shifted, later) <= limit - 1 + 1e-3


def test_what_can_never_fit_is_not_worth_a_retry_soon() -> None:
    assert wait_s(0, 0, 600, 0) == 120
