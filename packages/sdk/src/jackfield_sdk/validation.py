"""Values against types and JSON Schemas, with problems that people can read.

The schemas are those that `json_schema_of` makes, and what authors write by hand in the same vocabulary (JSON Schema
2020-12 without remote references). It runs in the isolate, on the plugin's own time.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec

from jackfield_sdk.errors import ManifestError, ValidationError

__all__ = ["problems", "validate"]

_MOST = 20
_DEPTH = 64
_AT = re.compile(r"(?P<what>.*) - at `\$?\.?(?P<path>[^`]*)`", re.DOTALL)
_KNOWN = frozenset(
    {
        "$defs", "$ref", "$schema", "$id", "additionalProperties", "allOf", "anyOf", "const", "contentEncoding",
        "contentMediaType", "default", "definitions", "dependentRequired", "deprecated", "description", "enum",
        "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties",
        "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern",
        "patternProperties", "prefixItems", "properties", "propertyNames", "readOnly", "required", "title", "type",
        "uniqueItems", "writeOnly", "discriminator", "$comment",
    }
)  # fmt: skip


def validate(kind: Any, value: Any) -> Any:
    """A value of a type, or one that fits a schema.

    Raises:
        ValidationError: It does not fit.
        ManifestError: The schema uses a keyword that is not known here, or refers to nothing.
    """
    if isinstance(kind, dict):
        found = problems(cast("dict[str, Any]", kind), value)
        if found:
            raise ValidationError(found)
        return value
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        text = f"{match['path']}: {match['what']}" if match and match["path"] else str(error)
        raise ValidationError([text]) from error


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong with a value, at most 20 sentences; empty when nothing is.

    Raises:
        ManifestError: The schema uses a keyword that is not known here, or refers to nothing.
    """
    found: list[str] = []
    for path, text in _Check(schema).of(schema, value, "", 0):
        found.append(f"{path}: {text}" if path else text)
        if len(found) == _MOST:
            break
    return found


Problems = Iterator[tuple[str, str]]


class _Check:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def of(self, schema: Any, value: Any, path: str, depth: int) -> Problems:
        if schema is True:
            return
        if schema is False:
            yield path, "nothing is allowed here"
            return
        if depth > _DEPTH:
            yield path, f"nested deeper than {_DEPTH} levels"
            return
        if not isinstance(schema, dict):
            raise ManifestError(f"{schema!r} is no schema", path=path)
        rules = cast("dict[str, Any]", schema)
        if unknown := sorted(rules.keys() - _KNOWN):
            raise ManifestError(f"the keyword `{unknown[0]}` is not known here", path=path)
        if "$ref" in rules:
            yield from self.of(self._referred(rules["$ref"]), value, path, depth + 1)
        yield from _plain(rules, value, path)
        yield from self._combined(rules, value, path, depth)
        if isinstance(value, dict):
            yield from self._object(rules, cast("dict[str, Any]", value), path, depth)
        elif isinstance(value, (list, tuple)):
            yield from self._array(rules, list(cast("list[Any]", value)), path, depth)

    def _fits(self, schema: Any, value: Any, depth: int) -> bool:
        return next(self.of(schema, value, "", depth + 1), None) is None

    def _combined(self, rules: dict[str, Any], value: Any, path: str, depth: int) -> Problems:
        for part in rules.get("allOf", ()):
            yield from self.of(part, value, path, depth + 1)
        if "anyOf" in rules and not any(self._fits(part, value, depth) for part in rules["anyOf"]):
            yield path, self._none_of(rules["anyOf"], value)
        if "oneOf" in rules:
            count = sum(self._fits(part, value, depth) for part in rules["oneOf"])
            if count != 1:
                yield path, self._none_of(rules["oneOf"], value) if not count else "fits more than one of the choices"
        if "not" in rules and self._fits(rules["not"], value, depth):
            yield path, "must not be like this"

    def _none_of(self, choices: list[Any], value: Any) -> str:
        schemas = [cast("dict[str, Any]", one) for one in choices if isinstance(one, dict)]
        kinds = [str(one["type"]) for one in schemas if isinstance(one.get("type"), str)]
        if len(kinds) == len(choices):
            return f"{_told(value)} is not of type {' or '.join(kinds)}"
        return f"{_told(value)} fits none of the choices"

    def _object(self, rules: dict[str, Any], value: dict[str, Any], path: str, depth: int) -> Problems:
        for name in rules.get("required", ()):
            if name not in value:
                yield _below(path, name), "is missing"
        for name, others in rules.get("dependentRequired", {}).items():
            for other in others if name in value else ():
                if other not in value:
                    yield _below(path, other), f"is missing, and `{name}` is there"
        yield from _between(rules, "Properties", len(value), path, "entries")
        properties: dict[str, Any] = rules.get("properties", {})
        patterns: dict[str, Any] = rules.get("patternProperties", {})
        rest: Any = rules.get("additionalProperties", True)
        for name, item in value.items():
            if "propertyNames" in rules:
                yield from self.of(rules["propertyNames"], name, _below(path, name), depth + 1)
            wanted = [properties[name]] if name in properties else []
            wanted += [part for pattern, part in patterns.items() if re.search(pattern, name)]
            if not wanted:
                if rest is False:
                    yield _below(path, name), "is not known"
                    continue
                wanted = [rest]
            for part in wanted:
                yield from self.of(part, item, _below(path, name), depth + 1)

    def _array(self, rules: dict[str, Any], value: list[Any], path: str, depth: int) -> Problems:
        yield from _between(rules, "Items", len(value), path, "items")
        if rules.get("uniqueItems"):
            seen: list[Any] = []
            for item in value:
                if any(_same(item, other) for other in seen):
                    yield path, f"{_told(item)} is there twice"
                    break
                seen.append(item)
        first: list[Any] = rules.get("prefixItems", [])
        for index, item in enumerate(value):
            part = first[index] if index < len(first) else rules.get("items", True)
            yield from self.of(part, item, f"{path}[{index}]", depth + 1)

    def _referred(self, reference: Any) -> Any:
        here: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise ManifestError("a schema refers to itself alone", hint="Put it under `$defs`.")
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(here, dict) or name not in here:
                raise ManifestError(f"the schema has nothing at `{reference[:80]}`")
            here = cast("dict[str, Any]", here)[name]
        return here


def _plain(rules: dict[str, Any], value: Any, path: str) -> Problems:
    """What can be said of a value without looking into it."""
    kinds: Any = rules.get("type")
    if kinds is not None:
        wanted = [kinds] if isinstance(kinds, str) else cast("list[str]", kinds)
        if not any(_TYPES.get(kind, _never)(value) for kind in wanted):
            yield path, f"{_told(value)} is not of type {' or '.join(wanted)}"
            return
    if "const" in rules and not _same(value, rules["const"]):
        yield path, f"must be {_told(rules['const'])}"
    if "enum" in rules and not any(_same(value, choice) for choice in rules["enum"]):
        yield path, f"{_told(value)} is not one of {', '.join(map(_told, rules['enum'][:10]))}"
    if isinstance(value, str):
        yield from _between(rules, "Length", len(value), path, "characters")
        if "pattern" in rules and not re.search(rules["pattern"], value):
            yield path, f"{_told(value)} does not match {rules['pattern']}"
        form = _FORMATS.get(rules.get("format", ""))
        if form is not None and not form(value):
            yield path, f"{_told(value)} is not a {rules['format']}"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(rules, value, path)


def _number(rules: dict[str, Any], value: float, path: str) -> Problems:
    if "minimum" in rules and value < rules["minimum"]:
        yield path, f"{value} is less than the minimum of {rules['minimum']}"
    if "maximum" in rules and value > rules["maximum"]:
        yield path, f"{value} is more than the maximum of {rules['maximum']}"
    if "exclusiveMinimum" in rules and value <= rules["exclusiveMinimum"]:
        yield path, f"{value} is not more than {rules['exclusiveMinimum']}"
    if "exclusiveMaximum" in rules and value >= rules["exclusiveMaximum"]:
        yield path, f"{value} is not less than {rules['exclusiveMaximum']}"
    if "multipleOf" in rules:
        part = rules["multipleOf"]
        quotient = value / part
        if value % part and abs(quotient - round(quotient)) > 1e-9:
            yield path, f"{value} is not a multiple of {part}"


def _between(rules: dict[str, Any], what: str, count: int, path: str, unit: str) -> Problems:
    if count < rules.get(f"min{what}", 0):
        yield path, f"has {count} {unit}, at least {rules[f'min{what}']} are needed"
    if count > rules.get(f"max{what}", math.inf):
        yield path, f"has {count} {unit}, at most {rules[f'max{what}']} are allowed"


def _same(one: Any, other: Any) -> bool:
    """As JSON has it: 1 is 1.0, and no number is `true`, at any depth."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        mine, theirs = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return mine.keys() == theirs.keys() and all(_same(mine[name], theirs[name]) for name in mine)
    if isinstance(one, list) and isinstance(other, list):
        first, second = cast("list[Any]", one), cast("list[Any]", other)
        return len(first) == len(second) and all(map(_same, first, second))
    return one == other


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _told(value: Any) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError, OverflowError):
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}…"


def _never(_value: Any) -> bool:
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "array": lambda value: isinstance(value, (list, tuple)),
    "object": lambda value: isinstance(value, dict),
}


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def does(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return does


def _date_time(text: str) -> None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text):
        raise ValueError(text)
    datetime.datetime.fromisoformat(text[:19])


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _parses(_date_time),
    "date": lambda text: bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text)) and _parses(datetime.date.fromisoformat)(text),
    "uuid": lambda text: bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text)),
    "email": lambda text: bool(re.fullmatch(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)*", text)),
    "uri": lambda text: bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+", text)),
}
