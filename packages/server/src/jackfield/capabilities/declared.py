"""What a release declares, made ready once: its tables' columns and its events' payloads, with their validators.

A manifest is one object for all tenants of a release, so what is made of it is kept beside it.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from jackfield.capabilities.errors import EventNotDeclaredError, RowInvalidError, TableNotDeclaredError
from jackfield.capabilities.schemas import Checked
from jackfield_sdk.manifest import Manifest, Table

__all__ = ["Declarations", "Declared", "IndexShape", "Reference", "TableShape", "layout_of"]

_MANIFESTS = 1_000


@dataclass(frozen=True, slots=True)
class IndexShape:
    """A group of columns that finds and sorts rows.

    Attributes:
        name: Of its entries. It says what the columns' defaults are, since keys are made of them for rows that lack a
            column: with another default it is another index.
    """

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that holds the `id` of a row of another table, or of its own.

    Attributes:
        on_delete: What becomes of the row when the other one is deleted: `refuse` it, `cascade`, `set_null`.
    """

    table: str
    column: str
    target: str
    on_delete: str


class TableShape:
    """One table of one release.

    Attributes:
        columns: Names, as declared; `id` is not among them.
        defaults: Column → value that stands for one that a row has not.
        unique: Groups of columns that must differ.
        indexes: As declared, and one for each reference.

    Raises:
        SchemaRefusedError: A column's schema cannot be used.
    """

    def __init__(self, table: Table) -> None:
        self.name = table.name
        self.columns = tuple(table.columns)
        self.defaults = {name: schema["default"] for name, schema in table.columns.items() if "default" in schema}
        self.unique = tuple(dict.fromkeys(tuple(group) for group in table.unique if group))
        self.references = {
            column: Reference(table.name, column, target, table.on_delete.get(column, "refuse"))
            for column, target in table.references.items()
        }
        groups = [*(tuple(group) for group in table.indexes if group), *((column,) for column in self.references)]
        self.indexes = tuple(self._index(group) for group in dict.fromkeys(groups))
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

    def value(self, id: str, stored: Mapping[str, Any], name: str) -> Any:
        """What a row has in a column, as conditions see it."""
        if name == "id":
            return id
        return stored[name] if name in stored else self.defaults.get(name)

    def problems(self, name: str, value: Any) -> list[str]:
        """What is wrong with a value for a declared column."""
        return self._validators[name].problems(value, name)

    def _index(self, group: tuple[str, ...]) -> IndexShape:
        defaults = {name: self.defaults[name] for name in group if name in self.defaults}
        mark = f"#{_digest(defaults)[:12]}" if defaults else ""
        return IndexShape(",".join(group) + mark, group)

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
    """One release, as far as it was asked about.

    Attributes:
        layout: Digest of its tables and migrations. What one release writes, another of the same layout may read and
            write as it is; between different ones the data is moved.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.layout = layout_of(manifest)
        self._tables: dict[str, TableShape] = {}
        self._referrers: dict[str, tuple[Reference, ...]] | None = None
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

    def tables(self) -> list[TableShape]:
        """All of them.

        Raises:
            SchemaRefusedError: As for `table`.
        """
        return [self.table(table.name) for table in self.manifest.tables]

    def referrers(self, table: str) -> tuple[Reference, ...]:
        """Columns, of whatever table, that hold ids of this one's rows."""
        if self._referrers is None:
            found: dict[str, tuple[Reference, ...]] = {}
            for declared in self.manifest.tables:
                for reference in self.table(declared.name).references.values() if declared.references else ():
                    found[reference.target] = (*found.get(reference.target, ()), reference)
            self._referrers = found
        return self._referrers.get(table, ())

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


def layout_of(manifest: Manifest) -> str:
    """See `Declared.layout`."""
    # Titles and descriptions are texts for people, but a schema may give them any place; they count like the rest.
    tables = sorted((msgspec.to_builtins(table) for table in manifest.tables), key=lambda table: table["name"])
    return _digest([tables, sorted(migration.name for migration in manifest.migrations)])


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
