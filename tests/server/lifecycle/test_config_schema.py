"""A publisher's schema is input: it cannot reach out, cannot burn the node's time, cannot make it repeat a secret."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.lifecycle.config_schema import SchemaRefusedError, problems, validator


def doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(1, levels):
        reference = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = {"anyOf": [reference, reference]}
    return {"$ref": f"#/$defs/d{levels - 1}", "$defs": definitions}


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
        {"$schema": "http://127.0.0.1:9/meta", "type": "object"},
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"$dynamicRef": "#meta"},
        {"$defs": {"a": {}}, "not": {"$id": "urn:x", "$ref": "#/$defs/a", "$defs": {"a": doubling(30)}}},
        {"$ref": "#/$defs/none"},
        {"type": "nonsense"},
        {"properties": {"a": {"pattern": "("}}},
        {"properties": {"a": {"pattern": r"(\w{1000}){1000}"}}},
        doubling(30),
        nested(3_000),
        nested(60),
    ],
    ids=lambda schema: str(next(iter(schema))),
)
def test_what_reaches_out_or_costs_too_much_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaRefusedError):
        validator(schema)


def test_a_reference_within_is_followed() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/short"}}, "$defs": {"short": {"type": "string", "maxLength": 2}}}
    assert problems(schema, {"a": "ab"}) == []
    assert [error["path"] for error in problems(schema, {"a": "abc"})] == ["a"]


def test_a_value_is_never_part_of_a_message() -> None:
    schema = {
        "properties": {
            "key": {"type": "string", "minLength": 50},
            "n": {"enum": [1]},
            "any": {"anyOf": [{"type": "null"}]},
        }
    }
    told = problems(schema, {"key": "hunter2-secret", "n": "hunter2-secret", "any": ["hunter2-secret"]})
    assert {error["path"] for error in told} == {"key", "n", "any"}
    assert "hunter2" not in str(told)


def test_a_pattern_that_backtracks_for_ever_is_cut_short() -> None:
    schema = {"properties": {"a": {"pattern": r"^(?=(a+)+$)(?!b)x"}}}
    assert problems(schema, {"a": "a" * 2_000 + "b"}) != []


def test_a_large_value_under_a_large_schema_is_refused_unread() -> None:
    schema = {"items": {"anyOf": [{"const": number} for number in range(1_000)]}}
    assert problems(schema, [-1] * 20_000) == [{"path": "", "message": "is too large for its schema"}]
