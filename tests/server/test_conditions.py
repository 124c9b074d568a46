"""Conditions: what holds, what does not, and what is refused because it could hold the node."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jackfield.conditions import ConditionInvalidError, check_condition, holds, variables

SALE = {"total": 12.5, "currency": "EUR", "items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], "customer_id": None}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (None, True),
        ("sale.total > 10.0", True),
        ("payload.total > 10.0", True),
        ("sale.total > 100.0", False),
        ("sale.currency == 'EUR' && sale.items.exists(i, i.sku == 'b')", True),
        ("sale.items.all(i, i.n > 1)", False),
        ("sale.items.filter(i, i.n > 1).size() == 1", True),
        ("sale.currency == 'r.all(' || sale.currency == \"b.all(\"", False),
        ("sale.missing > 1", False),
        ("sale.missing.deeper == 1", False),
        ("sale.total > 'a text'", False),
        ("sale.total", False),
        ("1 +", False),
        ("", False),
        ("1 / 0 == 1", False),
    ],
)
def test_a_condition_holds_only_when_it_is_true(expression: str | None, expected: bool) -> None:
    assert holds(expression, variables("sale.created", SALE)) is expected


def test_a_hook_is_named_by_its_noun() -> None:
    assert variables("loyalty-points.redeemed", 1) == {"loyalty_points": 1, "payload": 1}


@pytest.mark.parametrize(
    "expression",
    [
        "a.all(x, a.all(y, x == y))",
        "a.all(x, true) && a.exists(y, true)",
        "a.map(x, a).size() > 0",
        "a . map ( x, x) == a",
        "a.all// a comment\n(x, a.all// another\n(y, x == y))",
        "[r'\\'].all(x, [r'\\'].all(y, true))",
        '[R"\\"].all(x, true)',
        "'''a'b.all(''' == 'x'",
        '"""a"b""" == "x"',
        "1 +",
        "x" * 1001,
    ],
)
def test_what_could_hold_the_node_or_be_read_in_two_ways_is_refused(expression: str) -> None:
    with pytest.raises(ConditionInvalidError) as caught:
        check_condition(expression)
    assert caught.value.code == "condition-invalid"
    assert not holds(expression, {"payload": {}, "a": [1]})


@pytest.mark.parametrize(
    "payload",
    [
        {"items": list(range(100_000))},
        {"items": ["x" * 1000] * 1000},
        {"items": [[0] * 1000] * 1000},
        {"items": [1], "text": "x" * 2_000_000, "deep": [{"a": "b" * 100}] * 5_000},
    ],
)
def test_a_payload_that_is_too_large_for_a_loop_makes_it_false_at_once(payload: dict[str, Any]) -> None:
    started = time.perf_counter()
    assert not holds("payload.items.all(x, payload.items + payload.items != [x])", {"payload": payload})
    assert time.perf_counter() - started < 2


def test_a_large_payload_is_no_matter_without_a_loop() -> None:
    assert holds("payload.n == 1", {"payload": {"n": 1, "items": list(range(10_000))}})
