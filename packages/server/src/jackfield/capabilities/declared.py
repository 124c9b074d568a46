"""What a release declares, made ready once: its tables' columns and its events' payloads, with their validators.

A manifest is one object for all tenants of a release, so what is made of it is kept beside it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from jackfield.capabilities.errors import EventNotDeclaredError, RowInvalidError, TableNotDeclaredError
from jackfield.capabilities.schemas import Checked
from jackfield_sdk.manifest import Manifest, Table

__all__ = ["Declarations", "Declared", "TableShape"]

_MANIFESTS = 1_000


class TableShape:
    """One table of one release.

    Attributes:
        columns: Names, as declared; `id` is not among them.
        defaults: Column → value that stands for one that a row has not.
        unique: Groups of columns that must differ.

    Raises:
        SchemaRefusedError: A column's schema cannot be used.
    """

    def __init__(self, table: Table) -> None:
        self.name = table.name
        self.columns = tuple(table.columns)
        self.defaults = {name: schema["default"] for name, schema in table.columns.items() if "default" in schema}
        self.unique = tuple(dict.fromkeys(tuple(group) for group in table.unique if group))
        self._required = [name for name in table.required if name != "id"]
        self._validators = {name: Checked(schema) for name, schema in table.columns.items()}

    def new_row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of a new row, defaults filled in.

        Raises:
            RowInvalidError: They do not fit.
        """
        row = {**self._fresh_defaults(), **values}
        self._check(values, row)
        return row

    def changed_row(self, stored: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """A row after a change. Columns of another release stay, so that going back to it loses nothing.

        Raises:
            RowInvalidError: The changes do not fit.
        """
        row = {**self._fresh_defaults(), **stored, **changes}
        # What was stored fitted when it was; a release that is stricter now must not lock the row.
        self._check(changes, row)
        return row

    def shown(self, id: str, stored: Mapping[str, Any]) -> dict[str, Any]:
        """A row as the plugin sees it: `id` and exactly the declared columns."""
        row: dict[str, Any] = {"id": id}
        for name in self.columns:
            row[name] = stored[name] if name in stored else self.defaults.get(name)
        return row

    def _fresh_defaults(self) -> dict[str, Any]:
        return copy.deepcopy(self.defaults)

    def _check(self, given: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        problems = [f"{name[:80]}: there is no such column" for name in given if name not in self._validators]
        problems += [f"{name}: is missing" for name in self._required if name not in row]
        for name, value in given.items():
            if name in self._validators:
                problems += self._validators[name].problems(value, name)
        if problems:
            raise RowInvalidError(self.name, problems)


class Declared:
    """One release, as far as it was asked about."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._tables: dict[str, TableShape] = {}
        self._events: dict[str, Checked] = {}

    def table(self, name: str) -> TableShape:
        """A table.

        Raises:
            TableNotDeclaredError: There is none.
            SchemaRefusedError: A column's schema cannot be used.
        """
        shape = self._tables.get(name)
        if shape is None:
            table = next((table for table in self.manifest.tables if table.name == name), None)
            if table is None:
                raise TableNotDeclaredError(name)
            shape = self._tables[name] = TableShape(table)
        return shape

    def event(self, name: str) -> Checked:
        """The validator of an event's payload.

        Raises:
            EventNotDeclaredError: The release sends no such event.
            SchemaRefusedError: Its schema cannot be used.
        """
        checked = self._events.get(name)
        if checked is None:
            schema = self.manifest.emits.get(name)
            if schema is None:
                raise EventNotDeclaredError(name)
            checked = self._events[name] = Checked(schema)
        return checked


class Declarations:
    """Keeps the releases that were used last."""

    def __init__(self, limit: int = _MANIFESTS) -> None:
        self._limit = limit
        self._kept: OrderedDict[int, Declared] = OrderedDict()

    def of(self, manifest: Manifest) -> Declared:
        """What the manifest declares."""
        # By identity: comparing manifests would cost more than it saves, and two releases may never be mixed up. The
        # entry holds the manifest, so its number is not given to another one meanwhile.
        declared = self._kept.get(id(manifest))
        if declared is None:
            declared = self._kept[id(manifest)] = Declared(manifest)
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(id(manifest))
        return declared
