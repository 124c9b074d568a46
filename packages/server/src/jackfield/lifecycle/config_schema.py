"""Validating with a stranger's JSON Schema, in the node's own process.

A schema is written by a publisher, so it is input like any other. It may not fetch anything (`$ref` to a URL or a file), nor
cost without bound: references that fan out double the work at each step, and 25 such lines keep a core busy for an hour.
What a schema expands to is therefore counted before it is used. Regular expressions run with a small backtracking limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import jsonschema_rs

__all__ = ["SchemaRefusedError", "problems", "validator"]

MAX_EXPANDED = 4_000
"""Subschemas after all references are followed."""
MAX_WORK = 2_000_000
"""Subschemas times values: about a tenth of a second."""
_BACKTRACKS = 10_000
_MAX_DEPTH = 40
# They give a reference another meaning than the pointer from the root that is counted here.
_REFUSED = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$schema")


class SchemaRefusedError(ValueError):
    """The schema is broken or costs too much; the text says which."""


class Checked:
    """A schema that may be used, with the number of subschemas it expands to."""

    __slots__ = ("_size", "_validator")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._size = _expanded(schema)
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                dict(schema),
                offline=True,
                # Values may be secrets, and messages end in logs.
                mask="the value",
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
            )
        except (jsonschema_rs.ValidationError, ValueError) as error:
            raise SchemaRefusedError(_first_line(error)) from error

    def errors(self, value: Any) -> list[dict[str, str]]:
        """What is wrong with a value: `{path, message}` each; none when it fits."""
        if self._size * _count(value) > MAX_WORK:
            return [{"path": "", "message": "is too large for its schema"}]
        return [
            {"path": ".".join(str(part) for part in error.instance_path), "message": _sentence(error.message)}
            for error in self._validator.iter_errors(value)
        ]


def validator(schema: Mapping[str, Any]) -> Checked:
    """A validator.

    Raises:
        SchemaRefusedError: The schema is broken or costs too much.
    """
    return Checked(schema)


def problems(schema: Mapping[str, Any], value: Any) -> list[dict[str, str]]:
    """What is wrong with a value, in one go.

    Raises:
        SchemaRefusedError: The schema is broken or costs too much.
    """
    return validator(schema).errors(value)


def _expanded(schema: Mapping[str, Any]) -> int:
    """Subschemas that a validator may visit, each reference counted as often as it is reached."""
    sizes: dict[str, int] = {}

    def size(node: Any, depth: int, trail: frozenset[str]) -> int:
        if depth > _MAX_DEPTH:
            raise SchemaRefusedError("it is nested too deeply")
        total = 1
        if isinstance(node, Mapping):
            mapping = cast("Mapping[str, Any]", node)
            for keyword in _REFUSED:
                if keyword in mapping:
                    raise SchemaRefusedError(f"`{keyword}` is not supported")
            if "$ref" in mapping:
                total += referred(mapping["$ref"], depth, trail)
            children: Iterator[Any] = iter(mapping.values())
        elif isinstance(node, list):
            children = iter(cast("list[Any]", node))
        else:
            return 1
        for child in children:
            total += size(child, depth + 1, trail) if isinstance(child, (Mapping, list)) else 0
            if total > MAX_EXPANDED:
                raise SchemaRefusedError(f"it expands to more than {MAX_EXPANDED} subschemas")
        return total

    def referred(reference: Any, depth: int, trail: frozenset[str]) -> int:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaRefusedError("a reference leads out of it")
        if reference in trail:
            raise SchemaRefusedError(f"{reference} refers to itself")
        if reference not in sizes:
            sizes[reference] = size(_at(schema, reference), depth + 1, trail | {reference})
        return sizes[reference]

    return size(schema, 0, frozenset({"#"}))


def _at(schema: Mapping[str, Any], reference: str) -> Any:
    """What a reference within the schema points at (a JSON pointer; anchors are not supported)."""
    here: Any = schema
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(here, Mapping) or name not in here:
            raise SchemaRefusedError(f"{reference[:80]} leads nowhere")
        here = cast("Mapping[str, Any]", here)[name]
    return here


def _count(value: Any) -> int:
    """Number of values in a value, without recursion."""
    total, level = 0, [value]
    while level:
        item = level.pop()
        total += 1
        if isinstance(item, dict):
            level.extend(cast("dict[str, Any]", item).values())
        elif isinstance(item, list):
            level.extend(cast("list[Any]", item))
    return total


def _sentence(message: str) -> str:
    return message[:300]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
