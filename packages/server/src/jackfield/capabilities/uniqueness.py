"""Groups of columns that must differ between the rows of a table, held by a constraint of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import TableShape
from jackfield.capabilities.errors import RowNotUniqueError
from jackfield.capabilities.models import UniqueEntry, core

__all__ = ["claim", "claim_all", "names_of", "release", "row_with"]


_entries = core(UniqueEntry)
_CLAIM = insert(_entries)
_RELEASE = delete(_entries).where(
    _entries.c.installation_id == bindparam("p_installation"),
    _entries.c.tenant_id == bindparam("p_tenant"),
    _entries.c.row_id.in_(bindparam("p_rows", expanding=True)),
)
_HELD = select(_entries.c.digest, _entries.c.row_id).where(
    _entries.c.installation_id == bindparam("p_installation"),
    _entries.c.tenant_id == bindparam("p_tenant"),
    _entries.c.table_name == bindparam("p_table"),
    _entries.c.columns == bindparam("p_columns"),
    _entries.c.digest.in_(bindparam("p_digests", expanding=True)),
)


async def claim(
    connection: AsyncConnection, context: CapabilityContext, shape: TableShape, row_id: str, row: Mapping[str, Any]
) -> None:
    """Take a row's values, for as long as it has them. As in SQL, null differs from everything.

    Raises:
        RowNotUniqueError: Another row has them; the transaction is lost.
    """
    owner = {"tenant_id": context.tenant_id, "installation_id": context.data_id}
    for group in shape.unique:
        entry = _entry(owner, shape, group, row_id, row)
        if entry is None:
            continue
        try:
            await connection.execute(_CLAIM, entry)
        except IntegrityError as error:
            raise RowNotUniqueError(shape.name, group) from error


async def claim_all(
    connection: AsyncConnection, owner: Mapping[str, str], shape: TableShape, rows: Sequence[tuple[str, Any]]
) -> list[dict[str, Any]]:
    """Take the values of many rows, each with its id; the transaction goes on.

    Returns:
        The rows that could not have theirs: `table`, `columns`, `row`, and `like` which other row.
    """
    alike: list[dict[str, Any]] = []
    for group in shape.unique:
        made = [entry for id, data in rows if (entry := _entry(owner, shape, group, id, data)) is not None]
        params = {
            "p_installation": owner["installation_id"], "p_tenant": owner["tenant_id"], "p_table": shape.name,
            "p_columns": ",".join(group), "p_digests": [entry["digest"] for entry in made],
        }  # fmt: skip
        held: dict[bytes, str] = {}
        if made:
            held.update({row[0]: row[1] for row in await connection.execute(_HELD, params)})
        free: list[dict[str, Any]] = []
        for entry in made:
            other = held.setdefault(entry["digest"], entry["row_id"])
            if other == entry["row_id"]:
                free.append(entry)
            else:
                alike.append({"table": shape.name, "columns": ", ".join(group), "row": entry["row_id"], "like": other})
        if free:
            await connection.execute(_CLAIM, free)
    return alike


async def row_with(
    connection: AsyncConnection,
    context: CapabilityContext,
    shape: TableShape,
    group: Sequence[str],
    row: Mapping[str, Any],
) -> str | None:
    """The id of the row that has these values in a unique group, in which none of them is null."""
    entry = _entry({"tenant_id": "", "installation_id": ""}, shape, group, "", row)
    if entry is None:
        return None
    params = {
        "p_installation": context.data_id, "p_tenant": context.tenant_id, "p_table": shape.name,
        "p_columns": entry["columns"], "p_digests": [entry["digest"]],
    }  # fmt: skip
    found = (await connection.execute(_HELD, params)).first()
    return None if found is None else found[1]


def names_of(shape: TableShape, row: Mapping[str, Any]) -> list[str]:
    """What a row takes, each as a text that no other values of the release have."""
    found = (_entry({}, shape, group, "", row) for group in shape.unique)
    return [f"{entry['table_name']}({entry['columns']}){entry['digest'].hex()}" for entry in found if entry is not None]


async def release(connection: AsyncConnection, context: CapabilityContext, row_ids: Iterable[str]) -> None:
    """Give up everything that rows have taken, under whatever release it was."""
    params = {"p_installation": context.data_id, "p_tenant": context.tenant_id, "p_rows": list(row_ids)}
    await connection.execute(_RELEASE, params)


def _entry(
    owner: Mapping[str, str], shape: TableShape, group: Sequence[str], row_id: str, row: Mapping[str, Any]
) -> dict[str, Any] | None:
    values = [shape.value(row_id, row, name) for name in group]
    if any(value is None for value in values):
        return None
    return {
        **owner, "table_name": shape.name, "columns": ",".join(group), "digest": _digest(values), "row_id": row_id,
    }  # fmt: skip


def _digest(values: list[Any]) -> bytes:
    return hashlib.sha256(msgspec.json.encode(_canonical(values), order="deterministic")).digest()


def _canonical(value: Any) -> Any:
    """`1.0` and `1` are one number, as they are for conditions."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # data of any shape
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]  # the same
    return value
