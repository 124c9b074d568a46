"""The plugin's own tables; rows belong to the installation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.capabilities.where import Where, conditions
from jackfield_sdk.schema import to_plain

__all__ = ["Page", "Table", "Tables"]

Order = str | list[str] | None
"""`"points"` or `["-points", "name"]`; `-` sorts descending. Null comes first in ascending order, `id` decides last."""
Step = dict[str, Any]
"""One step of a transaction, made by a table's `to_…` methods."""


class Page(NamedTuple):
    """A part of a list; `cursor` leads to the next one, and is None on the last."""

    rows: list[dict[str, Any]]
    cursor: str | None


class Table:
    """One table; a row is a dict with the declared columns and `id`."""

    __slots__ = ("_host", "_name")

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._name = name

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, id: str) -> dict[str, Any] | None:
        """The row with this id, or None."""
        return self._call("get", id=id)

    def find(
        self, where: Where = None, *, order: Order = None, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Rows that meet all conditions. `order` names columns, `-column` descending; `limit` is at most 1000."""
        wanted = to_plain(conditions(where))
        return self._call("find", where=wanted, order=_names(order), limit=limit, offset=offset)

    def page(self, where: Where = None, *, order: Order = None, limit: int = 100, cursor: str | None = None) -> Page:
        """A page of a list, with the cursor of the next one. Rows that come and go do not shift the pages.

        Raises:
            CapabilityError: `cursor-mismatch`: the cursor belongs to another order.
        """
        wanted = to_plain(conditions(where))
        found = self._call("page", where=wanted, order=_names(order), limit=limit, cursor=cursor)
        return Page(found["rows"], found["cursor"])

    def query(self, where: Where = None, *, order: Order = None, page: int = 200) -> Iterator[dict[str, Any]]:
        """All rows that meet all conditions, however many; fetched `page` at a time while you go through them."""
        cursor: str | None = None
        while True:
            rows, cursor = self.page(where, order=order, limit=page, cursor=cursor)
            yield from rows
            if cursor is None:
                return

    def count(self, where: Where = None) -> int:
        """Number of rows that meet all conditions."""
        return self._call("count", where=to_plain(conditions(where)))

    def aggregate(
        self,
        measures: Mapping[str, str | tuple[str, str | None]],
        where: Where = None,
        *,
        group_by: str | list[str] | None = None,
        order: Order = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Figures over rows: a row for each group, or one row.

        `aggregate({"n": "count", "total": ("sum", "points")}, group_by="customer", order="-total")`; the functions are
        count, sum, avg, min and max. `sum` and `avg` look at numbers alone; over nothing they are None.
        """
        wanted = {name: [item, None] if isinstance(item, str) else list(item) for name, item in measures.items()}
        return self._call(
            "aggregate", measures=wanted, where=to_plain(conditions(where)), group_by=_names(group_by),
            order=_names(order), limit=limit,
        )  # fmt: skip

    # -- writing -------------------------------------------------------------------------------------------------

    def insert(self, **row: Any) -> dict[str, Any]:
        """Add a row; the platform gives it an `id`. Columns left out take their declared default.

        Raises:
            CapabilityError: `row-invalid`, `unique-violation`, `reference-missing`, `rows-full`, `storage-full`.
        """
        return self._call("insert", row=to_plain(row))

    def insert_many(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Add up to 500 rows, all or none; with their ids, in this order."""
        return self._call("insert_many", rows=[to_plain(dict(row)) for row in rows])

    def update(self, id: str, *, expected: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Change columns of one row; the whole row as it is now.

        Args:
            expected: What it must still be like: some of its columns, or the whole row as it was read.

        Raises:
            CapabilityError: `row-not-found`; `row-changed`: somebody else was quicker.
        """
        return self._call("update", id=id, changes=to_plain(changes), **_expected(expected))

    def update_many(self, where: Where, **changes: Any) -> int:
        """Change columns of all rows that meet all conditions; how many.

        Raises:
            CapabilityError: `rows-too-many`: more than 1000 do. Nothing was changed.
        """
        return self._call("update_many", where=to_plain(conditions(where)), changes=to_plain(changes))

    def upsert(self, unique: str | list[str], **row: Any) -> dict[str, Any]:
        """Change the row that has these values in a unique group, or add it; the whole row as it is now.

        Args:
            unique: Columns of one of the table's unique groups.

        Raises:
            CapabilityError: `group-not-unique`: they are no such group, or one of them has no value.
        """
        return self._call("upsert", unique=_names(unique), row=to_plain(row))["row"]

    def delete(self, id: str, *, expected: Mapping[str, Any] | None = None) -> bool:
        """Remove a row; whether it was there. `expected` as in `update`.

        Raises:
            CapabilityError: `row-referenced`: others refer to it; `row-changed`.
        """
        return self._call("delete", id=id, **_expected(expected))

    def delete_many(self, where: Where, *, limit: int = 1000) -> int:
        """Remove rows that meet all conditions, at most `limit`; how many. Call it again as long as it is `limit`."""
        return self._call("delete_many", where=to_plain(conditions(where)), limit=limit)

    # -- steps of a transaction ----------------------------------------------------------------------------------

    def to_insert(self, **row: Any) -> Step:
        """A step that adds a row; its result is the row."""
        return {"op": "insert", "table": self._name, "values": to_plain(row)}

    def to_update(self, id: Any, *, expected: Mapping[str, Any] | None = None, **changes: Any) -> Step:
        """A step that changes a row; its result is the row. Here and elsewhere, `id` may be what `row_of` gives."""
        return {"op": "update", "table": self._name, "id": id, "values": to_plain(changes), **_expected(expected)}

    def to_upsert(self, unique: str | list[str], **row: Any) -> Step:
        """A step that changes a row or adds it; its result is the row."""
        return {"op": "upsert", "table": self._name, "unique": _names(unique), "values": to_plain(row)}

    def to_delete(self, id: Any, *, expected: Mapping[str, Any] | None = None) -> Step:
        """A step that removes a row; its result is whether it was there."""
        return {"op": "delete", "table": self._name, "id": id, **_expected(expected)}

    def _call(self, operation: str, **arguments: Any) -> Any:
        return self._host.call("tables", operation, {"table": self._name, **arguments})


class Tables:
    """`ctx.tables`: the plugin's own tables by name, as `ctx.tables["ledger"]`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getitem__(self, name: str) -> Table:
        return Table(self._host, name)

    def transaction(self, steps: Iterable[Step]) -> list[Any]:
        """Up to 100 steps over any of the tables, all or none, in one message; the result of each.

        ```python
        orders, lines = ctx.tables["orders"], ctx.tables["lines"]
        order, _ = ctx.tables.transaction([
            orders.to_insert(customer="c1"),
            lines.to_insert(order=ctx.tables.row_of(0), article="a7"),
        ])
        ```

        Raises:
            CapabilityError: What one of the steps raises; the message begins with its number.
        """
        return self._host.call("tables", "transaction", {"steps": list(steps)})

    @staticmethod
    def row_of(step: int) -> dict[str, int]:
        """The id of the row that an earlier step of the same transaction adds or changes, as a value or an id."""
        return {"$step": step}


def _names(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def _expected(expected: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if expected is None else {"expected": to_plain(dict(expected))}
