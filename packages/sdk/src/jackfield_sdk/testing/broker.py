"""The broker of the fake platform: decides every capability call by the grants, as the real one does."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import msgspec

from jackfield_sdk import wire
from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.testing.channels import FakeChannels
from jackfield_sdk.testing.entities import Entities
from jackfield_sdk.testing.keeping import Keeping
from jackfield_sdk.testing.memory import Tables
from jackfield_sdk.testing.neighbours import Neighbours
from jackfield_sdk.testing.pages import Pages
from jackfield_sdk.testing.people import People
from jackfield_sdk.testing.plain import check_plain
from jackfield_sdk.testing.rights import Rights
from jackfield_sdk.testing.web import FakeWeb

__all__ = ["Broker", "Emitted"]

Fault = Callable[[], object]


class Emitted(msgspec.Struct, frozen=True):
    """An event that the plugin sent."""

    id: str
    name: str
    payload: Any


class _Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the arguments of operations."""


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
        rights: What calls may do; by the grants alone, when absent.
    """

    def __init__(
        self,
        manifest: Manifest,
        grants: set[str],
        tables: Tables,
        emits: dict[str, Any],
        *,
        rights: Rights | None = None,
        tenant_id: str = "acme",
    ) -> None:
        self.rights = rights = rights or Rights(manifest, grants, {}, {}, "acme")
        self.grants = grants
        self.now: Callable[[], float] = time.time
        self.keeping = Keeping(lambda: self.now())
        self.tables = tables
        self.entities = Entities()
        self.entities.scope = rights.where
        self.entities.may_read = lambda entity: rights.covers(f"{entity}:read")
        self.secrets: dict[str, str] = {}
        self.people = People(tenant_id)
        self.neighbours = Neighbours(manifest)
        self.channels = FakeChannels(lambda permission: rights.covers(permission))
        self.web = FakeWeb(manifest, lambda: rights.grants, lambda: self.secrets)
        self.emitted: list[Emitted] = []
        self.logs: list[wire.Log] = []
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._manifest = manifest
        self._emits = emits
        self.pages = Pages(manifest)
        self._operations: dict[str, tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]] = {
            **self.keeping.operations(),
            **tables.operations(),
            **self.entities.operations(),
            "data.entities": (_Nothing, lambda _: "", lambda _: self._readable()),
            "events.emit": (_Event, lambda a: f"events:{a.name}", self._emit),
            **self.web.operations(),
            **self.people.operations(),
            **self.pages.operations(),
            **self.neighbours.operations(),
            **self.channels.operations(),
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
        if self.rights.covers("log"):
            self.logs.append(line)

    @contextmanager
    def delivering(self, *, is_interrupted: bool = False) -> Generator[None]:
        """What a delivery's handler writes to storage and tables and emits is there when it has ended well, or not.

        Args:
            is_interrupted: The platform ends at the handler's end, before anything is committed.
        """
        bring_back = self.keeping.held()
        rows = {table: dict(each) for table, each in self.tables.rows.items()}
        emitted, refreshed = len(self.emitted), len(self.pages.refreshed)
        is_kept = False
        try:
            yield
            is_kept = not is_interrupted
        finally:
            if not is_kept:
                bring_back()
                for table, each in self.tables.rows.items():
                    each.clear()
                    each.update(rows.get(table, {}))
                del self.emitted[emitted:]
                del self.pages.refreshed[refreshed:]

    def purge(self) -> None:
        """Remove all that the installation owns."""
        self.keeping.purge()
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
        if needed:
            self.rights.require(needed)
        for field in ("value", "row", "values", "changes", "payload"):
            check_plain(getattr(arguments, field, None), field)
        if self.faults[name]:
            self.faults[name].popleft()()
        return operation(arguments)

    def _readable(self) -> list[str]:
        named = {grant.removesuffix(":read") for grant in self.rights.grants if grant.endswith(":read")}
        return sorted(name for name in {*named, *self.entities.rows} if self.rights.covers(f"{name}:read"))

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
