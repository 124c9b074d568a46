"""`when` is evaluated, or the test is told that it cannot be."""

from __future__ import annotations

import sys

import pytest

import jackfield_sdk as jf
from jackfield_sdk.testing.conditions import holds


def test_the_payload_is_known_by_its_noun_and_as_payload() -> None:
    assert holds("sale.total > 1.0 && payload.total < 3.0", "sale.created", {"total": 2})
    assert holds("loyalty_points.points == 5", "loyalty-points.earned", {"points": 5})


def test_what_cannot_be_evaluated_does_not_hold() -> None:
    assert not holds("sale.total > 1.0", "sale.created", {})
    assert not holds("sale.total > 1.0", "sale.created", {"total": "much"})
    assert not holds("sale.total", "sale.created", {"total": 5})


def test_what_is_no_condition_is_told() -> None:
    with pytest.raises(jf.PluginError) as caught:
        holds("sale.total >", "sale.created", {"total": 2})
    assert caught.value.code == "condition-invalid"


def test_without_the_package_a_condition_is_never_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    with pytest.raises(jf.PluginError) as caught:
        holds("true", "sale.created", {})
    assert caught.value.code == "cel-missing"
    assert "jackfield-sdk[testing]" in caught.value.hint
    assert holds(None, "sale.created", {})
