"""Writing rows in one transaction: values checked, space counted, groups unique, references whole, indexes kept.

A `RowWriter` lives as long as the transaction. What it raises ends the transaction; nothing of it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities import indexes, references, uniqueness
from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declared, TableShape
from jackfield.capabilities.errors import (
    GroupNotUniqueError,
    RowChangedError,
    RowInvalidError,
    RowNotFoundError,
    RowReferencedError,
    RowsTooManyError,
)
from jackfield.capabilities.finding import Finder
from jackfield.capabilities.models import TableRow, core
from jackfield.capabilities.usage import OVERHEAD, Meter
from jackfield.clock import Clock
from jackfield.data_adapters import Condition, Node
from jackfield.db.joint import drawn
from jackfield.ids import next_id

__all__ = ["AT_ONCE", "ROW_BYTES", "RowWriter", "new_rows", "sized"]

ROW_BYTES = 32 * 1024
"""As JSON. A thousand of the largest rows are then what a node can hold for a moment."""
AT_ONCE = 1_000
"""Rows that one call may change, those that are deleted along with others included."""

_rows = core(TableRow)
_at = (
    _rows.c.installation_id == bindparam("p_installation"),
    _rows.c.tenant_id == bindparam("p_tenant"),
    _rows.c.table_name == bindparam("p_table"),
    _rows.c.id == bindparam("p_id"),
)
_GET = select(_rows.c.data, _rows.c.size_bytes).where(*_at)
_PUT = insert(_rows)
_CHANGE = update(_rows).where(*_at).values(data=bindparam("p_data"), size_bytes=bindparam("p_size"))
_DELETE = delete(_rows).where(*_at)

Row = dict[str, Any]


class RowWriter:
    """Writes on behalf of one call.

    Args:
        finder: Finds rows by condition.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        context: CapabilityContext,
        declared: Declared,
        meter: Meter,
        finder: Finder,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._context = context
        self._declared = declared
        self._meter = meter
        self._finder = finder
        self._clock = clock
        self._has_turn = False
        self._deleted = 0

    async def insert(self, shape: TableShape, values: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Add rows; as they are seen.

        Raises:
            RowInvalidError, RowNotUniqueError, ReferenceMissingError: One of them does not fit.
            StorageFullError, RowsFullError: There is no room for all of them.
        """
        now = self._clock.now()
        made = new_rows(shape, values)
        rows: list[dict[str, Any]] = [
            {
                **self._owner(), "table_name": shape.name, "id": id, "data": data, "size_bytes": sized(shape, data),
                "created_at": now,
            }
            for id, data in made
        ]  # fmt: skip
        if not rows:
            return []
        # First: it is what writers of one installation take turns by, so what is read afterwards stays true.
        await self._meter.charge(
            self._connection, self._context, sum(row["size_bytes"] for row in rows), 0, rows=len(rows)
        )
        self._has_turn = True
        await self._connection.execute(_PUT, rows if len(rows) > 1 else rows[0])
        for id, data in made:
            await uniqueness.claim(self._connection, self._context, shape, id, data)
        await self._index(shape, made)
        await self._refer(shape, [data for _, data in made])
        return [shape.shown(id, data) for id, data in made]

    async def update(
        self, shape: TableShape, id: str, changes: Mapping[str, Any], expected: Mapping[str, Any] | None = None
    ) -> Row:
        """Change columns of a row; as it is now.

        Args:
            expected: Columns → values that they must still have.

        Raises:
            RowNotFoundError, RowChangedError: There is none, or not such a one.
            RowInvalidError, RowNotUniqueError, ReferenceMissingError, StorageFullError: As for `insert`.
        """
        stored = await self._stored(shape, id)
        if stored is None:
            raise RowNotFoundError(shape.name)
        self._expect(shape, id, stored[0], expected)
        return await self._change(shape, id, *stored, changes)

    async def update_where(self, shape: TableShape, nodes: Sequence[Node], changes: Mapping[str, Any]) -> int:
        """Change columns of all rows that meet conditions; how many.

        Raises:
            RowsTooManyError: More than one call may change.
        """
        await self._take_turn()
        found = await self._found(shape, nodes)
        for id, data, size in found:
            await self._change(shape, id, data, size, changes)
        return len(found)

    async def upsert(self, shape: TableShape, group: Sequence[str], values: Mapping[str, Any]) -> tuple[Row, bool]:
        """Change the row that has these values in a unique group, or add it; as it is now, and whether it is new.

        Raises:
            GroupNotUniqueError: The columns are no such group, or one of them has no value.
        """
        known = next((unique for unique in shape.unique if sorted(unique) == sorted(group)), None)
        if known is None or any(values.get(name) is None for name in known):
            raise GroupNotUniqueError(shape.name, group)
        await self._take_turn()
        id = await uniqueness.row_with(self._connection, self._context, shape, known, values)
        stored = None if id is None else await self._stored(shape, id)
        if id is None or stored is None:
            return (await self.insert(shape, [values]))[0], True
        return await self._change(shape, id, *stored, values), False

    async def delete(self, shape: TableShape, id: str, expected: Mapping[str, Any] | None = None) -> bool:
        """Remove a row, and what is declared to go with it; whether it was there.

        Raises:
            RowChangedError: It is not such a one any more.
            RowReferencedError: Others refer to it.
            RowsTooManyError: Too many would go with it.
        """
        stored = await self._stored(shape, id)
        if stored is None:
            return False
        self._expect(shape, id, stored[0], expected)
        await self._remove(shape, id, stored[1], set())
        return True

    async def delete_where(self, shape: TableShape, nodes: Sequence[Node], limit: int) -> int:
        """Remove rows that meet conditions, at most `limit`; how many, not counting those that went with them."""
        await self._take_turn()
        found = await self._finder.find(self._connection, self._context, self._declared, shape, nodes, limit=limit)
        gone: set[tuple[str, str]] = set()
        for id, _, size in found:
            if (shape.name, id) not in gone:
                await self._remove(shape, id, size, gone)
        return len(found)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _change(self, shape: TableShape, id: str, before: Row, old_size: int, changes: Mapping[str, Any]) -> Row:
        data = shape.changed_row(before, changes)
        size = sized(shape, data)
        await self._meter.charge(self._connection, self._context, size, old_size)
        await self._connection.execute(_CHANGE, {**self._place(shape, id), "p_data": data, "p_size": size})
        if shape.unique:
            await uniqueness.release(self._connection, self._context, [id])
            await uniqueness.claim(self._connection, self._context, shape, id, data)
        if shape.indexes:
            await indexes.release(self._connection, self._context, [id])
            await self._index(shape, [(id, data)])
        if shape.references:
            await self._refer(shape, [{name: value for name, value in data.items() if name in changes}])
        return shape.shown(id, data)

    async def _remove(self, shape: TableShape, id: str, size: int, gone: set[tuple[str, str]]) -> None:
        self._deleted += 1
        if self._deleted > AT_ONCE:
            raise RowsTooManyError(shape.name, AT_ONCE)
        gone.add((shape.name, id))
        await self._connection.execute(_DELETE, self._place(shape, id))
        # Whatever this release says: under an earlier one the row may have taken something.
        await uniqueness.release(self._connection, self._context, [id])
        await indexes.release(self._connection, self._context, [id])
        await self._meter.charge(self._connection, self._context, 0, size, rows=-1)
        for reference in self._declared.referrers(shape.name):
            await self._let_go(reference.table, reference.column, reference.on_delete, shape, id, gone)

    async def _let_go(
        self, table: str, column: str, on_delete: str, shape: TableShape, id: str, gone: set[tuple[str, str]]
    ) -> None:
        referring = self._declared.table(table)
        nodes = [Condition(column, "eq", id)]
        if on_delete == "refuse":
            # Rows that refer to themselves, or went before, are gone by now.
            if await self._finder.find(self._connection, self._context, self._declared, referring, nodes, limit=1):
                raise RowReferencedError(shape.name, table, column)
            return
        for other, data, size in await self._found(referring, nodes):
            if on_delete == "set_null":
                await self._change(referring, other, data, size, {column: None})
            elif (table, other) not in gone:
                await self._remove(referring, other, size, gone)

    async def _found(self, shape: TableShape, nodes: Sequence[Node]) -> list[tuple[str, Row, int]]:
        limit = AT_ONCE + 1
        found = await self._finder.find(self._connection, self._context, self._declared, shape, nodes, limit=limit)
        if len(found) > AT_ONCE:
            raise RowsTooManyError(shape.name, AT_ONCE)
        return found

    async def _stored(self, shape: TableShape, id: str) -> tuple[Row, int] | None:
        await self._take_turn()
        found = (await self._connection.execute(_GET, self._place(shape, id))).first()
        return None if found is None else (found.data, found.size_bytes)

    def _expect(self, shape: TableShape, id: str, stored: Row, expected: Mapping[str, Any] | None) -> None:
        if not expected:
            return
        if unknown := [name for name in expected if name != "id" and name not in shape.columns]:
            raise RowInvalidError(shape.name, [f"{unknown[0][:80]}: there is no such column"])
        changed = [name for name, value in expected.items() if not _is_same(shape.value(id, stored, name), value)]
        if changed:
            raise RowChangedError(shape.name, changed)

    async def _index(self, shape: TableShape, rows: Iterable[tuple[str, Row]]) -> None:
        if not shape.indexes:
            return
        owner = self._owner()
        made = [entry for id, data in rows for entry in indexes.entries(owner, shape, id, data)]
        await indexes.put(self._connection, made)

    async def _refer(self, shape: TableShape, rows: Sequence[Mapping[str, Any]]) -> None:
        if shape.references:
            await references.check(self._connection, self._context.tenant_id, self._context.data_id, shape, rows)

    async def _take_turn(self) -> None:
        if not self._has_turn:
            await self._meter.take_turn(self._connection, self._context)
            self._has_turn = True

    def _owner(self) -> dict[str, str]:
        return {"tenant_id": self._context.tenant_id, "installation_id": self._context.data_id}

    def _place(self, shape: TableShape, id: str) -> dict[str, Any]:
        return {
            "p_installation": self._context.data_id, "p_tenant": self._context.tenant_id, "p_table": shape.name,
            "p_id": id,
        }  # fmt: skip


def new_rows(shape: TableShape, values: Sequence[Mapping[str, Any]]) -> list[tuple[str, Row]]:
    """Ids and what is stored, of rows to be added.

    Raises:
        RowInvalidError: One of them does not fit.
    """
    # In order, so that rows stay in the one in which they were added, together or one by one.
    ids = drawn("rows", lambda: [next_id("row") for _ in values])
    return [(id, shape.new_row(one)) for id, one in zip(ids, values, strict=True)]


def sized(shape: TableShape, data: Row) -> int:
    """What a row counts.

    Raises:
        RowInvalidError: It is too large to be kept.
    """
    size = len(msgspec.json.encode(data))
    if size > ROW_BYTES:
        raise RowInvalidError(shape.name, [f"the row has {size} bytes, at most {ROW_BYTES} are kept"])
    return size + OVERHEAD


def _is_same(value: Any, other: Any) -> bool:
    """As data: 1 and 1.0 are one number, and no truth value."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        items, others = cast("list[Any]", value), cast("list[Any]", other)
        return len(items) == len(others) and all(map(_is_same, items, others))
    if isinstance(value, dict) and isinstance(other, dict):
        fields, theirs = cast("dict[str, Any]", value), cast("dict[str, Any]", other)
        return fields.keys() == theirs.keys() and all(_is_same(fields[name], theirs[name]) for name in fields)
    return bool(value == other)
