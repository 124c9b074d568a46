"""Rows as they are stored, for handlers declared with `@plugin.migration`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.schema import to_plain

__all__ = ["Migration"]


class Migration:
    """`ctx.migration`: tables of both releases, with all columns that rows have, whichever release wrote them.

    Outside of a migration every method raises `CapabilityError` with the code `migration-only`.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def rows(self, table: str, *, batch: int = 500) -> Iterator[dict[str, Any]]:
        """All rows of a table by `id`, however many. A column that a row lacks is not in it, default or not."""
        after: str | None = ""
        while after is not None:
            page = self._call("rows", table=table, after=after, limit=batch)
            yield from page["rows"]
            after = page["after"]

    def put(self, table: str, rows: Mapping[str, Mapping[str, Any]], *, drop: Iterable[str] = ()) -> int:
        """Set columns of up to 500 rows, all or none: id → columns. `drop` names columns that all of them lose.

        A value has to fit the column's declaration in the release that runs, or else in the other one. Whether groups
        are unique is looked at in the end, not on the way.
        """
        gone = list(drop)
        wanted = [{"id": id, "set": to_plain(dict(columns)), "drop": gone} for id, columns in rows.items()]
        return self._call("put", table=table, rows=wanted)

    def each(
        self,
        table: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any] | None],
        *,
        drop: Iterable[str] = (),
        batch: int = 200,
    ) -> int:
        """Go through all rows of a table and set the columns that `change` returns for each; how many rows were set.

        Rows for which it returns None stay as they are, `drop` included.
        """
        count = 0
        gone = list(drop)
        pending: dict[str, Mapping[str, Any]] = {}
        for row in self.rows(table, batch=batch):
            columns = change(row)
            if columns is not None:
                pending[row["id"]] = columns
            if len(pending) == batch:
                count += self.put(table, pending, drop=gone)
                pending = {}
        return count + (self.put(table, pending, drop=gone) if pending else 0)

    def delete(self, table: str, ids: Iterable[str]) -> int:
        """Remove up to 500 rows, whoever refers to them; how many were there."""
        return self._call("delete", table=table, ids=list(ids))

    def _call(self, operation: str, **arguments: Any) -> Any:
        return self._host.call("migration", operation, arguments)
