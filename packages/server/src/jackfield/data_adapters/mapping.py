"""How entities of ours lie in somebody else's data: names, places, kinds. It is data: the settings of a connection.

A field says where it is in their row (`at`, a path such as `Address.City`), what it is for us (`type`), and how they
write it where that differs: `theirs` (a number as text), `nulls` (their words for nothing), `values` (their words for
ours).
"""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from jackfield.data_adapters.conditions import INT_MAX, INT_MIN
from jackfield.data_adapters.errors import EntityNotOpenError, FieldRefusedError, FieldValueError
from jackfield.data_adapters.interfaces import EntitySchema, FieldSchema
from jackfield.data_adapters.remote_errors import AdapterAnswerError, AdapterMappingError, AdapterMissingFieldError

__all__ = [
    "ABSENT",
    "EntityMap",
    "Field",
    "FieldKind",
    "Mapped",
    "Name",
    "Part",
    "Path",
    "PathText",
    "Remote",
    "at_path",
    "opened",
    "path_of",
    "put_at",
]

FieldKind = Literal["string", "integer", "number", "boolean", "date", "time", "datetime", "uuid", "json"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=64)]
PathText = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Path = tuple[str, ...]
_Scalar = str | int | float | bool | None

_DIGITS = re.compile(r"(0|-?[1-9][0-9]{0,17})\Z")

_MARK = "X"
_MOST_MARKS = 288

ABSENT: Any = object()
"""What `at_path` finds where nothing is."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A part of a mapping; unknown keys are refused."""


class Field(Part, frozen=True, kw_only=True):
    """One field.

    Attributes:
        at: Where it is in their row; our own name when empty.
        theirs: How they write it; `same` as we do when it is not said.
        optional: Their row may lack it, which means null.
        nulls: Their values that mean null.
        values: Pairs of our value and theirs.
        zone: Of a `datetime`: they write it without an offset, on the clock of this time zone. For us it is in UTC.
        marks: Of an `integer`: they write a text with a mark for each so many, as a time of 15 minutes in marks of five
            is `XXX`.
    """

    at: PathText = ""
    type: FieldKind = "string"
    theirs: Literal["same", "string", "integer"] = "same"
    nullable: bool = True
    optional: bool = False
    writable: bool = False
    nulls: Annotated[list[_Scalar], Meta(max_length=16)] = []
    values: Annotated[list[tuple[_Scalar, _Scalar]], Meta(max_length=200)] = []
    zone: Annotated[str, Meta(max_length=64)] = ""
    marks: Annotated[int, Meta(ge=0, le=1440)] = 0
    references: Annotated[str, Meta(max_length=96)] = ""
    """The entity whose key it holds."""


class EntityMap(Part, frozen=True, kw_only=True):
    """One entity; each adapter adds how it is asked for."""

    fields: Annotated[dict[Name, Field], Meta(min_length=1, max_length=256)]
    key: Name = "id"
    description: Annotated[str, Meta(max_length=500)] = ""


def path_of(text: str) -> Path:
    """`Address.City` as a path; the empty text leads nowhere."""
    return tuple(text.split(".")) if text else ()


def at_path(value: Any, path: Path) -> Any:
    """What lies at a path; `ABSENT` where it ends early."""
    for step in path:
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(step, ABSENT)
        elif isinstance(value, list) and step.isdecimal() and len(step) < 6:
            items = cast("list[Any]", value)
            value = items[int(step)] if int(step) < len(items) else ABSENT
        else:
            return ABSENT
    return value


def put_at(target: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value at a path, with maps on the way."""
    for step in path[:-1]:
        target = target.setdefault(step, {})
    target[path[-1]] = value


@dataclass(frozen=True, slots=True)
class Mapped:
    """One field, ready for use.

    Attributes:
        path: In their row.
        check: Our value as it is kept; raises `ValueError`, whose text says what the field takes.
    """

    name: str
    field: Field
    path: Path
    check: Callable[[Any], Any]

    def read(self, adapter: str, entity: str, row: Mapping[str, Any]) -> Any:
        """Our value out of their row."""
        value = at_path(row, self.path)
        if value is ABSENT:
            if self.field.optional:
                return None
            raise AdapterMissingFieldError(
                adapter, f"rows of `{entity}` have no `{'.'.join(self.path)}`, where `{self.name}` should be"
            )
        for ours, theirs in self.field.values:
            if _is_same(theirs, value):
                return ours
        if value is None or any(_is_same(null, value) for null in self.field.nulls):
            return None
        try:
            if self.field.marks:
                return len(_read_text(value, False)) * self.field.marks
            read = _READERS[self.field.type](value, self.field.theirs != "same")
            return _in_utc(read, self.field.zone) if self.field.zone else read
        except (ValueError, OverflowError):
            raise AdapterAnswerError(
                adapter,
                f"{entity}.{self.name} should be of type {self.field.type}, and a row has a {_kind(value)} of another "
                "form",
                step="columns",
            ) from None

    def theirs(self, value: Any) -> Any:
        """Our value, checked before, as they write it."""
        for ours, other in self.field.values:
            if _is_same(ours, value):
                return other
        if value is None:
            return self.field.nulls[0] if self.field.nulls else None
        if self.field.marks:
            return _MARK * (value // self.field.marks)
        if self.field.zone:
            there = dt.datetime.fromisoformat(value).astimezone(ZoneInfo(self.field.zone))
            return there.replace(tzinfo=None).isoformat(sep=" ")
        if self.field.theirs == "string" and not isinstance(value, str):
            return ("true" if value else "false") if isinstance(value, bool) else str(value)
        if self.field.theirs == "integer" and not isinstance(value, int):
            return int(value)
        return value


class Remote:
    """One entity of a connection, ready for use.

    Args:
        adapter: Its name, for messages.

    Raises:
        AdapterMappingError: The mapping contradicts itself.
    """

    def __init__(self, adapter: str, name: str, mapping: EntityMap) -> None:
        self.adapter = adapter
        self.name = name
        self.mapping = mapping
        self.fields = {
            field_name: Mapped(field_name, field, path_of(field.at or field_name), _checker(field))
            for field_name, field in mapping.fields.items()
        }
        if mapping.key not in self.fields:
            raise AdapterMappingError(f"{name}: the key `{mapping.key}` is not among the fields")
        self.key = self.fields[mapping.key]
        if self.key.field.type not in ("string", "integer", "uuid"):
            raise AdapterMappingError(f"{name}: the key `{mapping.key}` is a text, a whole number or a UUID")
        if self.key.field.writable:
            raise AdapterMappingError(f"{name}: the key `{mapping.key}` is never writable")
        for field_name, field in mapping.fields.items():
            if problem := _contradiction(field):
                raise AdapterMappingError(f"{name}.{field_name}: {problem}")
        self.writable = {field_name for field_name, mapped in self.fields.items() if mapped.field.writable}

    def field(self, name: str, use: str) -> Mapped:
        """A field that plugins may name.

        Raises:
            FieldRefusedError: It is none.
        """
        found = self.fields.get(name)
        if found is None:
            raise FieldRefusedError(self.name, name, use)
        return found

    def row(self, raw: Any) -> dict[str, Any]:
        """Our row out of theirs."""
        if not isinstance(raw, dict):
            raise AdapterAnswerError(
                self.adapter, f"a row of `{self.name}` should be an object, and is a {_kind(raw)}", step="shape"
            )
        theirs = cast("dict[str, Any]", raw)
        return {name: mapped.read(self.adapter, self.name, theirs) for name, mapped in self.fields.items()}

    def schema(self) -> EntitySchema:
        """Its fields, as plugins are told of them."""
        return EntitySchema(
            name=self.name,
            fields=tuple(
                FieldSchema(
                    name=name,
                    schema=_schema_of(mapped.field),
                    is_nullable=mapped.field.nullable and mapped is not self.key,
                    is_writable=mapped.field.writable,
                    is_key=mapped is self.key,
                    references=mapped.field.references or None,
                )
                for name, mapped in self.fields.items()
            ),
            key=self.key.name,
            description=self.mapping.description,
        )

    def body(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Their row out of ours, whose values have been checked."""
        theirs: dict[str, Any] = {}
        for name, value in values.items():
            mapped = self.fields[name]
            put_at(theirs, mapped.path, mapped.theirs(value))
        return theirs

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values that a plugin sets.

        Raises:
            FieldRefusedError: A field is not for plugins to set.
            FieldValueError: A value does not fit.
        """
        checked: dict[str, Any] = {}
        for name, value in values.items():
            if name not in self.writable:
                raise FieldRefusedError(self.name, name, "set")
            mapped = self.fields[name]
            if value is None:
                if not mapped.field.nullable:
                    raise FieldValueError(self.name, name, "takes no null")
                checked[name] = None
                continue
            try:
                checked[name] = mapped.check(value)
            except ValueError as error:
                raise FieldValueError(self.name, name, str(error)) from error
        return checked

    def key_value(self, text: str) -> Any:
        """The key out of the text that a plugin has; None when no row can have it."""
        value: Any = text
        if self.key.field.type == "integer":
            digits = text.removeprefix("-")
            if not digits.isascii() or not digits.isdigit() or len(digits) > 19 or str(int(text)) != text:
                return None
            value = int(text)
        try:
            return self.key.check(value)
        except ValueError:
            return None


def opened(entities: Mapping[str, Remote], name: str) -> Remote:
    """An entity of a connection.

    Raises:
        EntityNotOpenError: There is none of this name.
    """
    try:
        return entities[name]
    except KeyError:
        raise EntityNotOpenError(name) from None


def _schema_of(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = dict(_SCHEMAS[field.type])
    if field.values and field.type == "string":
        schema["enum"] = [ours for ours, _ in field.values if ours is not None]
    return schema


_SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "datetime": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "json": {},
}


def _is_same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


def _kind(value: Any) -> str:
    names = {dict: "map", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return "null" if value is None else names.get(cast("type[Any]", type(value)), "value")


# -- what comes in: their answers -------------------------------------------------------------------------------------


def _read_text(value: Any, is_converted: bool) -> str:
    if isinstance(value, str):
        return value
    if is_converted and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _read_integer(value: Any, is_converted: bool) -> int:
    if is_converted and isinstance(value, str) and len(value) <= 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not INT_MIN <= value <= INT_MAX:
        raise ValueError
    return value


def _read_number(value: Any, is_converted: bool) -> float | int:
    if is_converted and isinstance(value, str) and len(value) <= 40:
        value = float(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        raise ValueError
    return value


def _read_boolean(value: Any, is_converted: bool) -> bool:
    if is_converted and isinstance(value, str):
        value = {"true": True, "false": False, "1": True, "0": False}.get(value.lower(), value)
    elif is_converted and value in (0, 1):
        value = bool(value)
    if not isinstance(value, bool):
        raise ValueError
    return value


def _read_parsed(parse: Callable[[str], Any]) -> Callable[[Any, bool], str]:
    def read(value: Any, _is_converted: bool) -> str:
        if not isinstance(value, str) or len(value) > 64:
            raise ValueError
        return _text_of(parse(value))

    return read


def _text_of(parsed: Any) -> str:
    """As SQL adapters write it; aware times in UTC, so that texts compare as the times do."""
    if isinstance(parsed, uuid.UUID):
        return str(parsed)
    if isinstance(parsed, dt.datetime) and parsed.tzinfo is not None:
        parsed = parsed.astimezone(dt.UTC)
    return parsed.isoformat()


def _read_date(text: str) -> dt.date:
    # Many write a date with a midnight behind it.
    head, _, tail = text.replace(" ", "T").partition("T")
    if tail.rstrip("Z").strip("0:.+"):
        raise ValueError
    return dt.date.fromisoformat(head)


_READERS: dict[str, Callable[[Any, bool], Any]] = {
    "string": _read_text,
    "integer": _read_integer,
    "number": _read_number,
    "boolean": _read_boolean,
    "date": _read_parsed(_read_date),
    "time": _read_parsed(dt.time.fromisoformat),
    "datetime": _read_parsed(dt.datetime.fromisoformat),
    "uuid": _read_parsed(uuid.UUID),
    "json": lambda value, _is_converted: value,
}


# -- what goes out: plugins' values -----------------------------------------------------------------------------------


def _contradiction(field: Field) -> str:
    if field.marks and field.type != "integer":
        return "`marks` are for whole numbers"
    if field.zone and field.type != "datetime":
        return "`zone` is for times with a day (`datetime`)"
    try:
        ZoneInfo(field.zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"there is no time zone `{field.zone}`"
    return ""


def _in_utc(text: str, zone: str) -> str:
    """A time that may lack its offset, with it, in UTC: texts compare as the times do."""
    parsed = dt.datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=ZoneInfo(zone))).astimezone(dt.UTC).isoformat()


def _check_marks(size: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not 0 < _check_integer(value) <= size * _MOST_MARKS or value % size:
            raise ValueError(f"takes a multiple of {size}, up to {size * _MOST_MARKS}")
        return value

    return check


def _checker(field: Field) -> Callable[[Any], Any]:
    check = _CHECKS[field.type]
    if field.marks and field.type == "integer":
        return _check_marks(field.marks)
    if field.zone and not _contradiction(field):
        return lambda value: _in_utc(check(value), field.zone)
    if field.type == "string" and field.theirs == "integer":
        check = _check_digits
    if not field.values:
        return check
    known = [ours for ours, _ in field.values if ours is not None]
    # Truth values that they write in their own words are not a list of choices.
    if field.type != "string":
        return check

    def one_of(value: Any) -> Any:
        if not any(_is_same(value, one) for one in known):
            raise ValueError(f"takes one of {', '.join(str(one) for one in known)}"[:200])
        return value

    return one_of


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("takes a text")
    if "\0" in value:
        raise ValueError("takes no NUL character")
    return value


def _check_digits(value: Any) -> str:
    if not isinstance(value, str) or not _DIGITS.match(value):
        raise ValueError("takes a whole number, as text")
    return value


def _check_integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not INT_MIN <= value <= INT_MAX:
        raise ValueError("takes a whole number")
    return value


def _check_number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("takes a number")
    return value


def _check_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("takes true or false")
    return value


def _check_parsed(parse: Callable[[str], Any], reason: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > 64:
            raise ValueError(reason)
        try:
            return _text_of(parse(value))
        except (ValueError, OverflowError):
            raise ValueError(reason) from None

    return check


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "string": _check_text,
    "integer": _check_integer,
    "number": _check_number,
    "boolean": _check_boolean,
    "date": _check_parsed(dt.date.fromisoformat, "takes a date as in 2026-01-31"),
    "time": _check_parsed(dt.time.fromisoformat, "takes a time as in 09:30:00"),
    "datetime": _check_parsed(dt.datetime.fromisoformat, "takes a time as in 2026-01-31T09:30:00+00:00"),
    "uuid": _check_parsed(uuid.UUID, "takes a UUID"),
    "json": lambda value: value,
}
