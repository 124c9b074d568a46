"""Row filters: read strictly, filled in for each call, told in words, and compared without a guess."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.capabilities.errors import RowFilterInvalidError
from jackfield.capabilities.row_filters import checked, filled, is_within, words
from jackfield.data_adapters.conditions import Condition, Not, Or, holds, parse_where
from jackfield.data_adapters.errors import ComparisonInvalidError
from jackfield_sdk.wire import Caller

FIELDS = ("id", "city", "owner", "age")
ADA = Caller("mem_ada", "member")


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("city", "cannot be read"),
        ([["city", "is", "Berlin"]], "cannot be read"),
        ([["city", "eq"]], "cannot be read"),
        ([{"xor": []}], "cannot be read"),
        ([{"and": [], "or": []}], "one key"),
        ([["notes", "eq", "x"]], "no field"),
        ([{"not": {"or": [["city", "eq", "a"], ["tenant_id", "eq", "b"]]}}], "no field"),
        ([["owner", "eq", "$user.email"]], "no placeholder"),
        ([["owner", "eq", "$user"]], "no placeholder"),
        ([["owner", "in", ["a", "$tenant.name"]]], "no placeholder"),
        ([["owner", "like", "$user.id"]], "takes no placeholder"),
        ([["age", "gt", "$user.id"]], "takes no placeholder"),
        ([["age", "gt", None]], "takes a number or a text"),
        ([["city", "eq", "a"]] * 65, "cannot be read"),
    ],
)
def test_what_is_no_filter_is_refused_with_a_reason(where: Any, reason: str) -> None:
    with pytest.raises(RowFilterInvalidError, match=reason) as refused:
        checked(where, "customers", FIELDS)
    assert refused.value.code == "row-filter-invalid"
    assert refused.value.hint


def test_a_filter_is_kept_as_it_came() -> None:
    where = [["city", "in", ["Berlin", "Wien"]], {"or": [["owner", "eq", "$user.id"], {"not": ["age", "lt", 18]}]}]
    assert checked(where, "customers", FIELDS) == where


def test_placeholders_are_filled_in_everywhere() -> None:
    where = [["owner", "in", ["$user.id", "all"]], {"not": {"or": [["city", "eq", "$tenant.id"]]}}]
    assert filled(where, "acme", ADA) == [
        Condition("owner", "in", ["mem_ada", "all"]), Not(Or((Condition("city", "eq", "acme"),))),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "where",
    [
        [["owner", "eq", "$user.id"]],
        [["owner", "ne", "$user.id"]],
        [{"not": ["owner", "eq", "$user.id"]}],
        [{"or": [["city", "eq", "Berlin"], ["owner", "in", ["$user.role"]]]}],
    ],
)
def test_while_nobody_acts_a_filter_that_names_the_user_gives_nothing_whichever_way_it_is_turned(where: Any) -> None:
    assert filled(where, "acme", None) is None


def test_what_is_filled_in_is_a_value_and_never_another_placeholder() -> None:
    assert filled([["owner", "eq", "$user.id"]], "acme", Caller("$tenant.id", "member")) == [
        Condition("owner", "eq", "$tenant.id")
    ]
    with pytest.raises(ComparisonInvalidError):
        filled([["owner", "eq", "$user.id"]], "acme", Caller("a\0b", "member"))


def test_a_filter_is_within_another_when_it_has_all_of_its_conditions() -> None:
    berlin, adult = ["city", "eq", "Berlin"], ["age", "gte", 18]
    assert is_within([adult, berlin], [berlin])
    assert is_within([berlin], [])
    assert not is_within([], [berlin])
    assert not is_within([{"or": [berlin, adult]}], [berlin])


def test_what_only_python_takes_for_the_same_is_not_the_same() -> None:
    assert not is_within([["age", "eq", True]], [["age", "eq", 1]])
    assert not is_within([["age", "eq", 1.0]], [["age", "eq", 1]])


LEAVES = st.tuples(
    st.sampled_from(["city", "age"]), st.sampled_from(["eq", "ne"]), st.sampled_from([1, True, "a", None])
).map(list)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda nodes: {"and": nodes})
        | st.lists(inner, max_size=3).map(lambda nodes: {"or": nodes})
        | inner.map(lambda node: {"not": node})
    ),
    max_leaves=5,
)


@given(st.lists(TREES, max_size=3), st.lists(TREES, max_size=3), st.sampled_from([1, True, "a", None]))
def test_what_is_within_lets_through_no_row_that_the_other_does_not(inner: Any, outer: Any, value: Any) -> None:
    row = {"city": value, "age": 1}
    if is_within(inner, outer) and holds(parse_where(inner), row):
        assert holds(parse_where(outer), row)


def test_people_read_it_in_words() -> None:
    where = [["city", "eq", "Berlin"], {"or": [["owner", "eq", "$user.id"], {"not": ["age", "in", [1, None]]}]}]
    assert words(where) == ("city is “Berlin” and (owner is the acting user or not (age is one of 1, nothing))")
    assert words([]) == ""
