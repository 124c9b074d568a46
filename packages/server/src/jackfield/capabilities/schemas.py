"""Checking values with a stranger's JSON Schema, in the node's own process.

A publisher writes the schema, so it is input like any other. It may not fetch anything, nor cost without bound:
references that fan out double the work at each step. What a schema expands to is therefore counted before it is used,
and a reference is followed only in the one form that cannot be read in two ways: a JSON pointer from the root. Regular
expressions run with a small backtracking limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jsonschema_rs

from jackfield.capabilities.errors import SchemaRefusedError

__all__ = ["MAX_EXPANDED", "MAX_WORK", "Checked"]

MAX_EXPANDED = 4_000
"""Subschemas after all references are followed."""
MAX_WORK = 2_000_000
"""Subschemas times values: about a tenth of a second."""
_BACKTRACKS = 10_000
_MAX_DEPTH = 40
_PROBLEMS = 5
# They change what a reference means, or the rules that it is read by.
_REFUSED = frozenset({"$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveRef", "$schema"})


class Checked:
    """A schema that may be used.

    Raises:
        SchemaRefusedError: It is broken or costs too much.
    """

    __slots__ = ("_size", "_validator")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._size = _Expansion(schema).size(schema, 0, ())
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                dict(schema),
                offline=True,
                # Messages end in logs, where values have no business.
                mask="the value",
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
            )
        except (jsonschema_rs.ValidationError, ValueError) as error:
            raise SchemaRefusedError(f"the schema is not valid: {str(error).partition(chr(10))[0][:200]}") from error

    def problems(self, value: Any, name: str = "") -> list[str]:
        """What is wrong with a value: a sentence each, the first few; none when it fits."""
        # One value alone is the usual case, and no schema that was let in is too large for it.
        if isinstance(value, (dict, list)) and not self._is_small(value) and self._size * _count(value) > MAX_WORK:
            return [_sentence(name, (), "is too large for its schema")]
        if self._validator.is_valid(value):
            return []
        found: list[str] = []
        for error in self._validator.iter_errors(value):
            found.append(_sentence(name, error.instance_path, error.message))
            if len(found) == _PROBLEMS:
                break
        return found

    def _is_small(self, value: Any) -> bool:
        """Whether a look at the top is enough to know that it cannot be too much: the usual arguments of a call."""
        if self._size * (len(value) + 1) > MAX_WORK:
            return False
        items: Any = cast("dict[str, Any]", value).values() if isinstance(value, dict) else value
        return not any(isinstance(item, (dict, list)) for item in items)


class _Expansion:
    """Counts the subschemas that a validator may visit, each reference as often as it is reached."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._sizes: dict[str, int] = {}

    def size(self, node: Any, depth: int, trail: tuple[str, ...]) -> int:
        if depth > _MAX_DEPTH:
            raise SchemaRefusedError("the schema is nested too deeply")
        if isinstance(node, list):
            children, total = cast("list[Any]", node), 1
        elif isinstance(node, Mapping):
            mapping = cast("Mapping[str, Any]", node)
            if refused := _REFUSED & mapping.keys():
                raise SchemaRefusedError(f"`{min(refused)}` is not supported in a schema")
            children, total = list(mapping.values()), 1
            if "$ref" in mapping:
                total += self._referred(mapping["$ref"], depth, trail)
        else:
            return 1
        for child in children:
            if isinstance(child, (Mapping, list)):
                total += self.size(child, depth + 1, trail)
            if total > MAX_EXPANDED:
                raise SchemaRefusedError(f"the schema expands to more than {MAX_EXPANDED} parts")
        return total

    def _referred(self, reference: Any, depth: int, trail: tuple[str, ...]) -> int:
        # A pointer may also be spelled with %41 for A; two spellings of one place would be counted as two places.
        if not isinstance(reference, str) or not reference.startswith("#/") or "%" in reference:
            raise SchemaRefusedError("a reference in the schema is not a plain pointer within it")
        if reference in trail:
            raise SchemaRefusedError(f"in the schema, {reference[:80]} refers to itself")
        if reference not in self._sizes:
            self._sizes[reference] = self.size(self._at(reference), depth + 1, (*trail, reference))
        return self._sizes[reference]

    def _at(self, reference: str) -> Any:
        here: Any = self._root
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(here, Mapping) or name not in here:
                raise SchemaRefusedError(f"in the schema, {reference[:80]} leads nowhere")
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


def _sentence(name: str, path: Any, message: str) -> str:
    place = ".".join(str(part) for part in ((name, *path) if name else path))[:100]
    return f"{place}: {message[:200]}" if place else message[:200]
