"""The difference of two values, as RFC 6902 has it; applied by a few lines of our own, it makes one of the other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.extension_points.json_patch import difference

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("a/~0é", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("a/~1", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def applied(value: Any, patch: list[dict[str, Any]]) -> Any:
    value = copy.deepcopy(value)
    for operation in patch:
        steps = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        if not steps:
            value = operation["value"]
            continue
        place = value
        for step in steps[:-1]:
            place = place[int(step)] if isinstance(place, list) else place[step]
        last: Any = steps[-1]
        if isinstance(place, list):
            last = len(place) if last == "-" else int(last)
        if operation["op"] == "remove":
            del place[last]
        elif operation["op"] == "add" and isinstance(place, list):
            place.insert(last, operation["value"])
        else:
            place[last] = operation["value"]
    return value


@given(_json, _json)
def test_a_patch_makes_one_value_of_the_other(before: Any, after: Any) -> None:
    assert applied(before, difference(before, after)) == after


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"b": 3}, [{"op": "remove", "path": "/a"}, {"op": "replace", "path": "/b", "value": 3}]),
        ({}, {"a/b~c": [1]}, [{"op": "add", "path": "/a~1b~0c", "value": [1]}]),
        ([1, 2, 3], [1], [{"op": "remove", "path": "/2"}, {"op": "remove", "path": "/1"}]),
        ({"n": 1}, {"n": True}, [{"op": "replace", "path": "/n", "value": True}]),
        (7, {"a": 1}, [{"op": "replace", "path": "", "value": {"a": 1}}]),
    ],
)
def test_it_is_told_as_the_standard_says(before: Any, after: Any, patch: list[dict[str, Any]]) -> None:
    assert difference(before, after) == patch


def test_what_would_take_too_many_operations_is_told_as_one() -> None:
    after = list(range(1000))
    assert difference([], after) == [{"op": "replace", "path": "", "value": after}]
