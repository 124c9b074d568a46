"""Columns that hold ids of rows: what they name must be there, and what they name does not vanish unnoticed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.declared import Declared, TableShape
from jackfield.capabilities.errors import ReferenceMissingError, ReferencesDanglingError
from jackfield.capabilities.models import TableRow, core

__all__ = ["check", "check_dangling"]

_EXAMPLES = 20
_BATCH = 500

_rows = core(TableRow)
_PRESENT = select(_rows.c.id).where(
    _rows.c.installation_id == bindparam("p_installation"),
    _rows.c.tenant_id == bindparam("p_tenant"),
    _rows.c.table_name == bindparam("p_table"),
    _rows.c.id.in_(bindparam("p_ids", expanding=True)),
)


async def check(
    connection: AsyncConnection, tenant_id: str, holder: str, shape: TableShape, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Make sure that all that rows refer to is there, rows written before in this transaction included.

    Raises:
        ReferenceMissingError: Something is not; the transaction is lost.
    """
    rows = list(rows)
    for column, reference in shape.references.items():
        wanted = {value for row in rows if (value := row.get(column)) is not None}
        if any(not isinstance(value, str) for value in wanted):
            raise ReferenceMissingError(shape.name, column, reference.target)
        if wanted - await _present(connection, tenant_id, holder, reference.target, wanted):
            raise ReferenceMissingError(shape.name, column, reference.target)


async def check_dangling(
    connection: AsyncConnection, tenant_id: str, holder: str, declared: Declared, known: Declared
) -> None:
    """Look at all rows of columns that refer to others now and did not before.

    Raises:
        ReferencesDanglingError: With the first ones that refer to nothing.
    """
    dangling: list[dict[str, Any]] = []
    before = {
        (reference.table, reference.column, reference.target)
        for table in known.tables()
        for reference in table.references.values()
    }
    for shape in declared.tables():
        for column, reference in shape.references.items():
            if (shape.name, column, reference.target) not in before:
                dangling += await _dangling(connection, tenant_id, holder, shape, column, reference.target)
    if dangling:
        raise ReferencesDanglingError(dangling[:_EXAMPLES])


async def _dangling(
    connection: AsyncConnection, tenant_id: str, holder: str, shape: TableShape, column: str, target: str
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while len(found) < _EXAMPLES:
        query = (
            select(_rows.c.id, _rows.c.data)
            .where(
                _rows.c.installation_id == holder, _rows.c.tenant_id == tenant_id, _rows.c.table_name == shape.name,
                _rows.c.id > after,
            )
            .order_by(_rows.c.id)
            .limit(_BATCH)
        )  # fmt: skip
        batch = [(id, shape.value(id, data, column)) for id, data in await connection.execute(query)]
        if not batch:
            break
        wanted = {value for _, value in batch if isinstance(value, str)}
        present = await _present(connection, tenant_id, holder, target, wanted)
        found += [
            {"table": shape.name, "column": column, "row": id}
            for id, value in batch
            if value is not None and (not isinstance(value, str) or value not in present)
        ]
        after = batch[-1][0]
    return found


async def _present(
    connection: AsyncConnection, tenant_id: str, holder: str, table: str, ids: Iterable[str]
) -> set[str]:
    wanted: Sequence[str] = list(ids)
    if not wanted:
        return set()
    params = {"p_installation": holder, "p_tenant": tenant_id, "p_table": table, "p_ids": wanted}
    return set(await connection.scalars(_PRESENT, params))
