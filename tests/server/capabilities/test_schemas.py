"""A publisher's schema is input: it reaches nothing, and cannot make the node work for long."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.capabilities.errors import SchemaRefusedError
from jackfield.capabilities.schemas import Checked


def doubling(levels: int, spelling: str = "d") -> dict[str, Any]:
    """Each definition refers twice to the one below it; by another spelling of its name, if one is given."""
    definitions: dict[str, Any] = {"d0": {"type": "object"}}
    for level in range(1, levels):
        reference = {"$ref": f"#/$defs/{spelling}{level - 1}"}
        definitions[f"d{level}"] = {"anyOf": [reference, reference]}
        definitions.setdefault(f"{spelling}{level - 1}", {})
    return {"$ref": f"#/$defs/{spelling}{levels - 1}", "$defs": {f"{spelling}{levels - 1}": {}, **definitions}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "other.json#/x"}}},
        {"$ref": 5},
        {"$ref": "#"},
        {"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}},
        {"$ref": "#/$defs/none"},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"$dynamicRef": "#meta"},
        {"$schema": "http://127.0.0.1:9/meta"},
        {"not": {"$id": "urn:x", "$ref": "#/$defs/a", "$defs": {"a": {}}}},
        {"type": "nonsense"},
        {"pattern": "("},
        {"minimum": "low"},
        doubling(25),
        doubling(25, "%64"),
        nested(60),
        {"anyOf": [{"const": number} for number in range(5_000)]},
    ],
    ids=str,
)
def test_what_reaches_out_is_broken_or_costs_too_much_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaRefusedError):
        Checked(schema)


def test_what_authors_write_is_accepted() -> None:
    schema = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}, "size": {"$ref": "#/$defs/a~1b"}},
        "$defs": {"Item": {"type": "object", "required": ["id"]}, "a/b": {"type": "integer", "minimum": 1}},
    }
    checked = Checked(schema)
    assert checked.problems({"items": [{"id": 1}], "size": 2}) == []
    assert len(checked.problems({"items": [{}], "size": 0}, "row")) == 2
    assert checked.problems({"size": 0}, "row")[0].startswith("row.size: ")


def test_a_pattern_cannot_run_for_long() -> None:
    checked = Checked({"type": "string", "pattern": "^(a+)+$(?!x)"})
    assert checked.problems("a" * 30_000 + "b")


def test_a_value_that_is_too_much_for_its_schema_is_refused() -> None:
    schema = {"items": {"anyOf": [{"const": number} for number in range(1_500)]}}
    assert Checked(schema).problems([2_000] * 30_000) == ["is too large for its schema"]


def test_the_number_of_problems_and_their_length_are_bounded() -> None:
    checked = Checked({"additionalProperties": {"type": "integer"}})
    problems = checked.problems({"x" * 500 + str(number): "a" for number in range(500)})
    assert len(problems) == 5
    assert all(len(problem) < 400 for problem in problems)
