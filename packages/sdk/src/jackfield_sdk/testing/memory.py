"""What an installation owns and reads, in memory: storage, tables, the host's entities."""

from __future__ import annotations

import copy
import itertools

import msgspec

from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.manifest import Table
from jackfield_sdk.schema import to_plain
from jackfield_sdk.testing.rows import Page, Row, select

__all__ = ["Entities", "Tables"]


class Tables:
    """The plugin's tables, with their types and unique groups.

    Args:
        declared: Tables of the manifest.
        types: Table → struct of its rows, `id` left out.
    """

    def __init__(self, declared: list[Table], types: dict[str, type[msgspec.Struct]]) -> None:
        self._declared = {table.name: table for table in declared}
        self._types = types
        self._numbers = itertools.count(1)
        self.rows: dict[str, dict[str, Row]] = {table.name: {} for table in declared}

    def insert(self, table: str, row: Row) -> Row:
        """Add a row, with its `id`."""
        held = self._of(table)
        if "id" in row:
            raise CapabilityError("`id` is given by the platform", code="row-invalid", hint="Leave `id` out.")
        stored = {"id": f"row_{next(self._numbers):06}", **self._typed(table, row)}
        self._check(table, stored)
        held[stored["id"]] = stored
        return copy.deepcopy(stored)

    def get(self, table: str, id: str) -> Row | None:
        """The row with this id."""
        return copy.deepcopy(self._of(table).get(id))

    def find(self, table: str, page: Page) -> list[Row]:
        """Rows that meet the conditions."""
        self._check_columns(table, page)
        return copy.deepcopy(select(self._of(table).values(), page))

    def count(self, table: str, page: Page) -> int:
        """How many rows meet the conditions."""
        self._check_columns(table, page)
        return len(select(self._of(table).values(), page, is_whole=True))

    def update(self, table: str, id: str, changes: Row) -> Row:
        """Change columns of a row."""
        held = self._of(table)
        if id not in held:
            raise CapabilityError(f"table `{table}` has no row `{id}`", code="row-not-found")
        if "id" in changes:
            raise CapabilityError("`id` cannot be changed", code="row-invalid")
        kept = {column: value for column, value in held[id].items() if column != "id"}
        changed = {"id": id, **self._typed(table, {**kept, **changes})}
        self._check(table, changed)
        held[id] = changed
        return copy.deepcopy(changed)

    def delete(self, table: str, id: str) -> bool:
        """Remove a row."""
        return self._of(table).pop(id, None) is not None

    def _of(self, table: str) -> dict[str, Row]:
        if table not in self.rows:
            raise CapabilityError(
                f"there is no table `{table}`", code="table-not-declared", hint="Declare it with `@plugin.table`."
            )
        return self.rows[table]

    def _typed(self, table: str, row: Row) -> Row:
        declared = self._declared[table]
        if unknown := sorted(set(row) - set(declared.columns)):
            raise CapabilityError(f"table `{table}` has no column `{unknown[0]}`", code="row-invalid")
        try:
            return to_plain(msgspec.convert(row, self._types[table]))
        except msgspec.ValidationError as error:
            raise CapabilityError(f"not a row of `{table}`: {error}", code="row-invalid") from error

    def _check(self, table: str, row: Row) -> None:
        """Unique groups. As in SQL, one with a null in it clashes with nothing."""
        declared = self._declared[table]
        others = [other for other in self.rows[table].values() if other["id"] != row["id"]]
        for group in declared.unique:
            values = [row.get(column) for column in group]
            if None not in values and any([other.get(column) for column in group] == values for other in others):
                raise CapabilityError(
                    f"table `{table}` already has a row with this {', '.join(group)}", code="unique-violation"
                )

    def _check_columns(self, table: str, page: Page) -> None:
        self._of(table)
        known = {*self._declared[table].columns, "id"}
        for name in page.names:
            if name not in known:
                raise CapabilityError(f"table `{table}` has no column `{name}`", code="arguments-invalid")


class Entities:
    """The host's entities, as far as a test has put any in."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.rows: dict[str, dict[str, Row]] = {}

    def put(self, entity: str, *rows: Row) -> None:
        """Add entities, each with its `id`."""
        held = self.rows.setdefault(entity, {})
        for row in rows:
            held[str(row["id"])] = to_plain(row)

    def get(self, entity: str, id: str) -> Row | None:
        """The entity with this key."""
        return copy.deepcopy(self._of(entity).get(id))

    def list(self, entity: str, page: Page) -> list[Row]:
        """Entities that meet the conditions."""
        return copy.deepcopy(select(self._of(entity).values(), page))

    def count(self, entity: str, page: Page) -> int:
        """How many meet the conditions."""
        return len(select(self._of(entity).values(), page, is_whole=True))

    def create(self, entity: str, values: Row) -> Row:
        """Add one; the host gives it a key."""
        row = {"id": f"{entity}_{next(self._numbers)}", **values}
        self.put(entity, row)
        return copy.deepcopy(row)

    def update(self, entity: str, id: str, changes: Row) -> Row:
        """Change fields of one."""
        held = self._of(entity)
        if id not in held:
            raise CapabilityError(f"there is nothing with this key in `{entity}`", code="entity-not-found")
        held[id].update(changes)
        return copy.deepcopy(held[id])

    def delete(self, entity: str, id: str) -> bool:
        """Remove one."""
        return self._of(entity).pop(id, None) is not None

    def _of(self, entity: str) -> dict[str, Row]:
        return self.rows.setdefault(entity, {})
