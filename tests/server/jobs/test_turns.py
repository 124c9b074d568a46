"""Whose turn it is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jackfield import ids
from jackfield.jobs.deals import NewEvent
from jackfield.jobs.turns import of_few, shares

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def events(tenants: str) -> list[NewEvent]:
    return [
        NewEvent(position, ids.new_id("evt"), tenant, "sale.created", "{}", "host", NOW, None)
        for position, tenant in enumerate(tenants, 1)
    ]


@pytest.mark.parametrize(
    ("tenants", "first"),
    [
        ("hhhh", []), ("hhhhq", [5]), ("qhhhhq", [1, 6]), ("hhhhgggg", []), ("abc", []), ("", []),
        ("hhhhabb", [5, 6, 7]),
    ],
)  # fmt: skip
def test_who_has_few_events_comes_before_who_has_as_many_as_are_looked_for(tenants: str, first: list[int]) -> None:
    assert [event.position for event in of_few(events(tenants), 4)] == first


def test_slots_are_dealt_out_one_by_one_and_a_tenant_has_no_more_than_its_limit() -> None:
    assert shares(["a", "b", "c"], 4, {"a": 1}, 3) == {"a": 2, "b": 1, "c": 1}
    assert shares(["a", "b"], 9, {"a": 3}, 3) == {"b": 3}
    assert shares(["a"], 0, {}, 3) == {}


def test_ids_that_are_drawn_together_are_as_those_that_are_drawn_alone() -> None:
    drawn = ids.new_ids("dlv", 1000)
    assert len(set(drawn)) == 1000
    alone = ids.new_id("dlv")
    assert {len(each) for each in drawn} == {len(alone)}
    assert drawn[0][:12] <= alone[:12]
    assert ids.new_ids("dlv", 0) == []
