"""A table of an installation as a stream of lines, and what tables it has.

Each batch is read in a transaction of its own, so that a slow reader holds none open. A row that is added or removed
meanwhile may be in it or not.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import func, select

from jackfield.capabilities.declared import TableShape
from jackfield.capabilities.models import TableRow
from jackfield.db import Database
from jackfield.lifecycle.errors import TableUnknownError
from jackfield.registry import Release
from jackfield_sdk.manifest import Table

__all__ = ["Format", "TableAmount", "amounts", "csv_line", "table_of", "write_table"]

Format = Literal["jsonl", "csv"]

_BATCH = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes a cell for a formula by; the last ones are the same signs in full width."""


@dataclass(frozen=True, slots=True)
class TableAmount:
    """One declared table, and how much is in it.

    Attributes:
        size_bytes: As counted against the installation's space.
    """

    table: Table
    rows: int
    size_bytes: int


async def amounts(database: Database, tenant_id: str, installation_id: str, release: Release) -> list[TableAmount]:
    """All tables of a release."""
    query = (
        select(TableRow.table_name, func.count(), func.coalesce(func.sum(TableRow.size_bytes), 0))
        .where(TableRow.installation_id == installation_id)
        .group_by(TableRow.table_name)
    )
    async with database.read(tenant_id) as session:
        found = {name: (int(rows), int(size)) for name, rows, size in await session.execute(query)}
    return [TableAmount(table, *found.get(table.name, (0, 0))) for table in release.manifest.tables]


def table_of(release: Release, name: str) -> TableShape:
    """A table of a release.

    Raises:
        TableUnknownError: It has no such table.
    """
    table = next((table for table in release.manifest.tables if table.name == name), None)
    if table is None:
        raise TableUnknownError(release.slug, name, [table.name for table in release.manifest.tables])
    return TableShape(table)


async def write_table(
    database: Database, tenant_id: str, installation_id: str, shape: TableShape, form: Format
) -> AsyncGenerator[bytes]:
    """All rows by id, as the release sees them: `id` and its columns."""
    if form == "csv":
        yield csv_line(["id", *shape.columns])
    after = ""
    while True:
        query = (
            select(TableRow.id, TableRow.data)
            .where(
                TableRow.installation_id == installation_id, TableRow.table_name == shape.name, TableRow.id > after
            )
            .order_by(TableRow.id)
            .limit(_BATCH)
        )  # fmt: skip
        async with database.read(tenant_id) as session:
            rows = [(id, data) for id, data in await session.execute(query)]
        if not rows:
            return
        yield b"".join(_line(shape, id, data, form) for id, data in rows)
        after = rows[-1][0]


def csv_line(values: Sequence[Any]) -> bytes:
    """One line, by RFC 4180. A text that a spreadsheet would run as a formula begins with an apostrophe instead."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([_cell(value) for value in values])
    return line.getvalue().encode()


def _line(shape: TableShape, id: str, data: Mapping[str, Any], form: Format) -> bytes:
    row = shape.shown(id, data)
    return csv_line(list(row.values())) if form == "csv" else msgspec.json.encode(row) + b"\n"


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        # Looked at behind blanks too: a spreadsheet does so when it cuts them off.
        return f"'{value}" if value.lstrip(" \u00a0").startswith(_FORMULA) or value.startswith(_FORMULA) else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
