"""The host's entities, always those of the acting tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.capabilities.where import Where, conditions
from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.schema import to_plain

__all__ = ["Data", "Entity", "Page", "Transaction"]

T = TypeVar("T")
Order = str | list[str] | None
"""`"name"` or `["-total", "name"]`; `-` sorts descending. Null comes first in ascending order, the key decides last."""


class Page(NamedTuple):
    """A part of a list; `cursor` leads to the next one, and is None on the last."""

    rows: list[dict[str, Any]]
    cursor: str | None


class Entity:
    """One kind of entity; reading takes `NAME:read`, writing takes `NAME:write`."""

    __slots__ = ("_host", "_in_transaction", "_name")

    def __init__(self, host: Host, name: str, *, in_transaction: bool = False) -> None:
        self._host = host
        self._name = name
        self._in_transaction = in_transaction

    def get(self, id: str) -> dict[str, Any] | None:
        """The entity with this key, or None."""
        return self._call("get", id=str(id))

    def list(
        self,
        where: Where = None,
        *,
        order: Order = None,
        limit: int = 100,
        offset: int = 0,
        cursor: str | None = None,
    ) -> list[dict[str, Any]]:
        """Entities that meet all conditions. `order` names fields, `-field` descending; `limit` is at most 1000."""
        if cursor is not None:
            return self.page(where, order=order, limit=limit, cursor=cursor).rows
        wanted = to_plain(conditions(where))
        return self._call("list", where=wanted, order=_names(order), limit=limit, offset=offset)

    def page(self, where: Where = None, *, order: Order = None, limit: int = 100, cursor: str | None = None) -> Page:
        """A page of a list, with the cursor of the next one. Rows that come and go do not shift the pages.

        Raises:
            CapabilityError: `cursor-mismatch`: the cursor belongs to other conditions or another order.
        """
        wanted = to_plain(conditions(where))
        found = self._call("page", where=wanted, order=_names(order), limit=limit, cursor=cursor)
        return Page(found["rows"], found["cursor"])

    def query(self, where: Where = None, *, order: Order = None, page: int = 200) -> Iterator[dict[str, Any]]:
        """All entities that meet all conditions, however many; fetched `page` at a time while you go through them."""
        cursor: str | None = None
        while True:
            rows, cursor = self.page(where, order=order, limit=page, cursor=cursor)
            yield from rows
            if cursor is None:
                return

    def count(self, where: Where = None) -> int:
        """Number of entities that meet all conditions."""
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
        """Figures over entities: a row for each group, or one row.

        `aggregate({"n": "count", "total": ("sum", "amount")}, group_by="status", order="-total")`; the functions are
        count, sum, avg, min and max. A sum over nothing is None.
        """
        wanted = {name: [item, None] if isinstance(item, str) else list(item) for name, item in measures.items()}
        return self._call(
            "aggregate", measures=wanted, where=to_plain(conditions(where)), group_by=_names(group_by),
            order=_names(order), limit=limit,
        )  # fmt: skip

    def create(self, **values: Any) -> dict[str, Any]:
        """Add one; the entity as stored."""
        return self._call("create", values=to_plain(values))

    def create_many(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Add up to 100, all or none; the entities as stored."""
        return self._call("create_many", rows=[to_plain(dict(row)) for row in rows])

    def update(self, id: str, *, expected: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Change fields of one; the entity as it is now.

        Args:
            expected: What it must still be like: some of its fields, or the whole as it was read. If the entity has a
                version field, that one decides.

        Raises:
            CapabilityError: `entity-changed`: somebody else was quicker; `entity-not-found`.
        """
        if expected is None:
            return self._call("update", id=str(id), changes=to_plain(changes))
        return self._call("update", id=str(id), changes=to_plain(changes), expected=to_plain(dict(expected)))

    def update_many(
        self, changes: Iterable[tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], Mapping[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Change up to 100, all or none: `(id, changes)` or `(id, changes, expected)` each; the entities as they are
        now, in this order."""
        return self._call("update_many", changes=[_change(item) for item in changes])

    def delete(self, id: str, *, expected: Mapping[str, Any] | None = None) -> bool:
        """Remove one; whether it was there. `expected` as in `update`."""
        if expected is None:
            return self._call("delete", id=str(id))
        return self._call("delete", id=str(id), expected=to_plain(dict(expected)))

    def schema(self) -> dict[str, Any]:
        """What it is like: `key`, `version_field`, `features`, and `fields`, each with `name`, `schema` (JSON Schema),
        `nullable`, `readable`, `writable`, `key` and `references`."""
        return self._call("schema")

    def _call(self, operation: str, **arguments: Any) -> Any:
        if self._in_transaction:
            arguments["tx"] = True
        return self._host.call("data", operation, {"entity": self._name, **arguments})


class Transaction:
    """Several steps of which all are written, or none. Entities are reached through it, as `tx["customers"]`.

    Reads see what the transaction has written. Nobody else sees it before the block ends; an error undoes it.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __enter__(self) -> Transaction:
        self._host.call("data", "begin", {})
        return self

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        self._host.call("data", "commit" if kind is None else "rollback", {})

    def __getitem__(self, entity: str) -> Entity:
        return Entity(self._host, entity, in_transaction=True)


class Data:
    """`ctx.data`: the host's entities by name, as `ctx.data["customers"]`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getitem__(self, entity: str) -> Entity:
        return Entity(self._host, entity)

    def entities(self) -> list[str]:
        """Names of the entities that this installation may read."""
        return self._host.call("data", "entities", {})

    def transaction(self) -> Transaction:
        """`with ctx.data.transaction() as tx:`; at most 50 steps, one at a time.

        Raises:
            CapabilityError: `transaction-conflict`, at a step or at the end: somebody else changed what it had read or
                written. Nothing was written; `transact` tries again by itself.
        """
        return Transaction(self._host)

    def transact(self, steps: Callable[[Transaction], T], *, attempts: int = 3) -> T:
        """Run a function in a transaction, once more from the beginning after each conflict; what it returns.

        Raises:
            CapabilityError: `transaction-conflict` in the last attempt, or anything else in the first.
        """
        for left in reversed(range(attempts)):
            try:
                with Transaction(self._host) as tx:
                    return steps(tx)
            except CapabilityError as error:
                if error.code != "transaction-conflict" or not left:
                    raise
        raise ValueError("attempts must be at least 1")


def _names(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def _change(item: tuple[Any, ...]) -> dict[str, Any]:
    id, changes, *expected = item
    change = {"id": str(id), "changes": to_plain(dict(changes))}
    return {**change, "expected": to_plain(dict(expected[0]))} if expected and expected[0] is not None else change
