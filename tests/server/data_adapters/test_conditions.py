"""Condition trees: read strictly, written back as they were, and the same in Python as in SQL."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.data_adapters import (
    And,
    ComparisonInvalidError,
    Condition,
    Not,
    Or,
    Where,
    holds,
    nodes_of,
    parse_where,
    plain_where,
)

LEAF = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["eq", "ne", "gt", "lte"]), st.integers(0, 3)
).map(list)  # fmt: skip
NODE = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda nodes: {"and": nodes})
        | st.lists(inner, max_size=3).map(lambda nodes: {"or": nodes})
        | inner.map(lambda node: {"not": node})
    ),
    max_leaves=10,
)


def depth(node: Any) -> int:
    if isinstance(node, list):
        return 0
    ((word, inner),) = node.items()
    return 1 + max((depth(item) for item in ([inner] if word == "not" else inner)), default=0)


def expected(node: Any, row: dict[str, Any]) -> bool:
    """What a tree means, written down once more."""
    if isinstance(node, list):
        field, operator, value = node
        held = row[field]
        return {
            "eq": held == value, "ne": held != value,
            "gt": held is not None and held > value, "lte": held is not None and held <= value,
        }[operator]  # fmt: skip
    ((word, inner),) = node.items()
    if word == "not":
        return not expected(inner, row)
    found = [expected(item, row) for item in inner]
    return all(found) if word == "and" else any(found)


@given(NODE, st.fixed_dictionaries({name: st.none() | st.integers(0, 3) for name in ("a", "b")}))
def test_a_tree_means_the_same_when_it_was_read_and_written(node: Any, row: dict[str, Any]) -> None:
    if depth(node) > 8:
        return
    nodes = parse_where([node])
    assert plain_where(nodes) == [node]
    assert parse_where(plain_where(nodes)) == nodes
    assert holds(nodes, row) == expected(node, row)
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode([node]), type=Where)
    assert nodes_of(wire) == nodes


def test_the_typed_form() -> None:
    nodes = parse_where([["a", "eq", 1], {"or": [{"not": ["b", "in", [1, None]]}, {"and": []}]}])
    assert nodes == (
        Condition("a", "eq", 1), Or((Not(Condition("b", "in", [1, None])), And(()))),
    )  # fmt: skip


@pytest.mark.parametrize(
    "where",
    [
        None, 5, {}, [[]], [["a", "eq"]], [["a", "eq", 1, 2]], [["", "eq", 1]], [["a" * 66, "eq", 1]],
        [["a", "near", 1]], [["a", "eq", {}]], [["a", "eq", [[1]]]], [["a", "in", 1]], [["a", "eq", [1]]],
        [["a", "eq", 2**63]], [["a", "eq", float("nan")]], [["a", "in", [float("inf")]]], [["a", "eq", "\0"]],
        [["a", "gt", True]], [["a", "gt", None]], [["a", "like", "\\"]], [["a", "like", "x" * 101]],
        [["a", "in", list(range(501))]],
        [{}], [{"and": [], "or": []}], [{"nor": []}], [{"not": []}], [{"not": [["a", "eq", 1]]}],
        [{"and": ["a", "eq", 1]}],
        [["a", "eq", 1]] * 65, [{"or": [["a", "eq", 1]] * 65}], [{"or": [{"and": []}] * 65}],
        [{"or": [["a", "eq", 1]] * 40}, {"not": {"or": [["a", "eq", 1]] * 40}}],
    ],
)  # fmt: skip
def test_what_is_no_tree_is_refused(where: Any) -> None:
    with pytest.raises(ComparisonInvalidError):
        parse_where(where)


@pytest.mark.parametrize(("levels", "fits"), [(8, True), (9, False), (5_000, False)])
def test_a_tree_has_its_depth(levels: int, fits: bool) -> None:
    node: Any = ["a", "eq", 1]
    for _ in range(levels):
        node = {"not": node}
    if fits:
        assert parse_where([node])
        return
    with pytest.raises(ComparisonInvalidError):
        parse_where([node])


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("", "", True), ("", "a", False), ("%", "", True), ("a%", "Abc", True), ("%c", "abC", True),
        ("a_c", "abc", True),
        ("a_c", "ac", False), ("a\\_c", "a_c", True), ("a\\_c", "abc", False), ("100\\%", "100%", True),
        ("100\\%", "1000", False), ("%b%d%", "abcde", True), ("%b%b%", "abc", False), ("\\\\", "\\", True),
        ("a%\nb", "a\n\nb", True), ("%%%", "x", True), ("_%_", "a", False), (".*", "ab", False), ("[a]", "a", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, text: str, fits: bool) -> None:
    assert holds(parse_where([["a", "like", pattern]]), {"a": text}) is fits


def test_no_pattern_takes_for_ever() -> None:
    where = parse_where([["a", "like", "%a" * 50]])
    start = perf_counter()
    assert not holds(where, {"a": "a" * 20_000 + "b"})
    assert perf_counter() - start < 5
