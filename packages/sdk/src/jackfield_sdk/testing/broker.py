"""The broker of the fake platform: decides every capability call by the grants, as the real one does."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jackfield_sdk import wire
from jackfield_sdk.errors import CapabilityError, PermissionDeniedError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.testing.memory import Entities, Tables
from jackfield_sdk.testing.permissions import covers
from jackfield_sdk.testing.plain import check_plain
from jackfield_sdk.testing.rows import Page, Row

__all__ = ["Broker", "Emitted"]

Fault = Callable[[], object]
_VALUE_BYTES = 256 * 1024


class Emitted(msgspec.Struct, frozen=True):
    """An event that the plugin sent."""

    id: str
    name: str
    payload: Any


class _Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the arguments of operations."""


class _Key(_Arguments, frozen=True, kw_only=True):
    key: Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")]


class _KeyValue(_Key, frozen=True, kw_only=True):
    value: Any


class _Prefix(_Arguments, frozen=True, kw_only=True):
    prefix: str = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: str | None = None


class _Named(_Arguments, frozen=True, kw_only=True):
    """An operation on one table or entity."""

    table: str = ""
    entity: str = ""


class _ById(_Named, frozen=True, kw_only=True):
    id: str


class _New(_Named, frozen=True, kw_only=True):
    row: Row = {}
    values: Row = {}


class _Changes(_ById, frozen=True, kw_only=True):
    changes: Row


class _Select(Page, frozen=True, kw_only=True, forbid_unknown_fields=True):
    table: str = ""
    entity: str = ""


class _Event(_Arguments, frozen=True, kw_only=True):
    name: str
    payload: Any


class _Name(_Arguments, frozen=True, kw_only=True):
    name: str


class _Nothing(_Arguments, frozen=True, kw_only=True):
    pass


class Broker:
    """Answers capability calls over what is in memory.

    Args:
        emits: Own event → type of its payload.
    """

    def __init__(self, manifest: Manifest, grants: set[str], tables: Tables, emits: dict[str, Any]) -> None:
        self.grants = grants
        self.storage: dict[str, Any] = {}
        self.tables = tables
        self.entities = Entities()
        self.secrets: dict[str, str] = {}
        self.emitted: list[Emitted] = []
        self.logs: list[wire.Log] = []
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._manifest = manifest
        self._emits = emits
        self._operations: dict[str, tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]] = {
            "storage.get": (_Key, _storage, self._storage_get),
            "storage.set": (_KeyValue, _storage, self._storage_set),
            "storage.delete": (_Key, _storage, self._storage_delete),
            "storage.keys": (_Prefix, _storage, self._storage_keys),
            "tables.insert": (_New, _tables, lambda a: tables.insert(a.table, a.row)),
            "tables.get": (_ById, _tables, lambda a: tables.get(a.table, a.id)),
            "tables.find": (_Select, _tables, lambda a: tables.find(a.table, a)),
            "tables.count": (_Select, _tables, lambda a: tables.count(a.table, a)),
            "tables.update": (_Changes, _tables, lambda a: tables.update(a.table, a.id, a.changes)),
            "tables.delete": (_ById, _tables, lambda a: tables.delete(a.table, a.id)),
            "data.get": (_ById, _reads, lambda a: self.entities.get(a.entity, a.id)),
            "data.list": (_Select, _reads, lambda a: self.entities.list(a.entity, a)),
            "data.count": (_Select, _reads, lambda a: self.entities.count(a.entity, a)),
            "data.create": (_New, _writes, lambda a: self.entities.create(a.entity, a.values)),
            "data.update": (_Changes, _writes, lambda a: self.entities.update(a.entity, a.id, a.changes)),
            "data.delete": (_ById, _writes, lambda a: self.entities.delete(a.entity, a.id)),
            "data.entities": (_Nothing, lambda _: "", lambda _: self._readable()),
            "events.emit": (_Event, lambda a: f"events:{a.name}", self._emit),
            "secrets.reveal": (_Name, lambda a: f"secrets:{a.name}", self._reveal),
        }

    def answer(self, call: wire.HostCall) -> wire.HostReply:
        """Decide and do one capability call."""
        try:
            value = self._do(f"{call.capability}.{call.operation}", call)
            return wire.HostReply(call.id, msgspec.Raw(wire.encode(value)))
        except CapabilityError as error:
            return wire.HostReply(call.id, failure=wire.Failure(error.code, str(error), error.hint))

    def log(self, line: wire.Log) -> None:
        """Keep a line of the plugin's log, if it may write one."""
        if covers(self.grants, "log"):
            self.logs.append(line)

    def purge(self) -> None:
        """Remove all that the installation owns."""
        self.storage.clear()
        self.secrets.clear()
        for rows in self.tables.rows.values():
            rows.clear()

    def _do(self, name: str, call: wire.HostCall) -> Any:
        if name not in self._operations:
            raise CapabilityError(f"there is no `{name}`", code="unknown-operation")
        type_, permission_of, operation = self._operations[name]
        try:
            arguments = msgspec.msgpack.decode(call.arguments, type=type_)
        except msgspec.DecodeError as error:
            raise CapabilityError(f"{name}: {error}", code="arguments-invalid") from error
        needed = permission_of(arguments)
        if needed and not covers(self.grants, needed):
            raise PermissionDeniedError(
                f"`{needed}` is not granted",
                hint=f"Ask for `{needed}` in the plugin's permissions, and have it granted.",
            )
        for field in ("value", "row", "values", "changes", "payload"):
            check_plain(getattr(arguments, field, None), field)
        if self.faults[name]:
            self.faults[name].popleft()()
        return operation(arguments)

    def _storage_get(self, arguments: _Key) -> dict[str, Any]:
        value = self.storage.get(arguments.key)
        return {"found": arguments.key in self.storage, "value": copy.deepcopy(value)}

    def _storage_set(self, arguments: _KeyValue) -> None:
        if len(wire.encode(arguments.value)) > _VALUE_BYTES:
            raise CapabilityError(f"`value` has more than {_VALUE_BYTES} bytes", code="arguments-invalid")
        self.storage[arguments.key] = arguments.value

    def _storage_delete(self, arguments: _Key) -> bool:
        was_there = arguments.key in self.storage
        self.storage.pop(arguments.key, None)
        return was_there

    def _storage_keys(self, arguments: _Prefix) -> list[str]:
        keys = sorted(key for key in self.storage if key.startswith(arguments.prefix))
        return [key for key in keys if arguments.after is None or key > arguments.after][: arguments.limit]

    def _readable(self) -> list[str]:
        return sorted(grant.removesuffix(":read") for grant in self.grants if grant.endswith(":read"))

    def _emit(self, arguments: _Event) -> str:
        if arguments.name not in self._emits:
            raise CapabilityError(
                f"the plugin does not declare the event `{arguments.name}`",
                code="event-not-declared",
                hint="Declare it in `emits`; its name begins with the plugin's slug.",
            )
        try:
            msgspec.convert(arguments.payload, self._emits[arguments.name])
        except msgspec.ValidationError as error:
            raise CapabilityError(f"{arguments.name}: {error}", code="event-payload-mismatch") from error
        event = Emitted(f"event_{len(self.emitted) + 1}", arguments.name, arguments.payload)
        self.emitted.append(event)
        return event.id

    def _reveal(self, arguments: _Name) -> str:
        if arguments.name not in self.secrets:
            raise CapabilityError(f"the secret `{arguments.name}` has no value", code="secret-not-set")
        return self.secrets[arguments.name]


def _storage(_arguments: object) -> str:
    return "storage"


def _tables(_arguments: object) -> str:
    return "tables"


def _reads(arguments: _Named | _Select) -> str:
    return f"{arguments.entity}:read"


def _writes(arguments: _Named) -> str:
    return f"{arguments.entity}:write"
