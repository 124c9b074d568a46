"""The plugin's own tables; rows belong to the installation."""

from __future__ import annotations

from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.capabilities.where import Where, conditions
from jackfield_sdk.schema import to_plain

__all__ = ["Table", "Tables"]


class Table:
    """One table; a row is a dict with the declared columns and `id`."""

    __slots__ = ("_host", "_name")

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._name = name

    def insert(self, **row: Any) -> dict[str, Any]:
        """Add a row; the platform gives it an `id`. Columns left out take their declared default."""
        return self._call("insert", row=to_plain(row))

    def get(self, id: str) -> dict[str, Any] | None:
        """The row with this id, or None."""
        return self._call("get", id=id)

    def find(
        self, where: Where = None, *, order: str | list[str] | None = None, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Rows that meet all conditions. `order` names columns, `-column` descending; `limit` is at most 1000."""
        columns = [order] if isinstance(order, str) else order or []
        return self._call("find", where=to_plain(conditions(where)), order=columns, limit=limit, offset=offset)

    def count(self, where: Where = None) -> int:
        """Number of rows that meet all conditions."""
        return self._call("count", where=to_plain(conditions(where)))

    def update(self, id: str, **changes: Any) -> dict[str, Any]:
        """Change columns of one row; the whole row as it is now.

        Raises:
            CapabilityError: `row-not-found`.
        """
        return self._call("update", id=id, changes=to_plain(changes))

    def delete(self, id: str) -> bool:
        """Remove a row; whether it was there."""
        return self._call("delete", id=id)

    def _call(self, operation: str, **arguments: Any) -> Any:
        return self._host.call("tables", operation, {"table": self._name, **arguments})


class Tables:
    """`ctx.tables`: the plugin's own tables by name, as `ctx.tables["ledger"]`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getitem__(self, name: str) -> Table:
        return Table(self._host, name)
