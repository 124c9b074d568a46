"""Files with what an uninstalled plugin owned: JSON lines, one thing each, so that a large one can be read a line at
a time.

The first line tells what it is; then `config`, a `storage` line for each key, a `row` line for each row. Secrets are
named, never written. A file is written beside its place and moved there when it is whole and on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from jackfield import capabilities
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.lifecycle.errors import ExportFailedError, ExportNotFoundError
from jackfield.lifecycle.models import ExportRow, InstallationRow

__all__ = ["Exports"]

_BATCH = 500


class Exports:
    """Writes and finds them, in `data_dir/exports/TENANT/`."""

    def __init__(self, database: Database, clock: Clock, data_dir: Path) -> None:
        self._database = database
        self._clock = clock
        self._data_dir = data_dir

    async def write(self, row: InstallationRow, export_id: str) -> dict[str, Any]:
        """Write everything that an installation owns.

        Returns:
            `path` below the data directory, `size_bytes`, `lines`.

        Raises:
            ExportFailedError: It could not be written; there is no file.
        """
        target = self._path(row.tenant_id, export_id)
        part = target.with_suffix(".part")
        lines = 0
        try:
            await asyncio.to_thread(_prepare, part)
            async for batch in self._batches(row, export_id):
                await asyncio.to_thread(_append, part, batch)
                lines += len(batch)
            size = await asyncio.to_thread(_complete, part, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise ExportFailedError(
                f"the export of {row.slug} could not be written: {error.strerror}", slug=row.slug
            ) from error
        return {"path": str(target.relative_to(self._data_dir)), "size_bytes": size, "lines": lines}

    def drop(self, tenant_id: str, export_id: str) -> None:
        """Remove a file that is not needed after all."""
        self._path(tenant_id, export_id).unlink(missing_ok=True)

    async def find(self, tenant_id: str, export_id: str) -> tuple[ExportRow, Path]:
        """An export of this tenant and its file.

        Raises:
            ExportNotFoundError: There is none.
        """
        async with self._database.read(tenant_id) as session:
            row = await session.scalar(select(ExportRow).where(ExportRow.id == export_id))
        # The path is made anew instead of read from the row: what is in a table is not trusted with the file system.
        path = self._path(tenant_id, row.id) if row else None
        if row is None or path is None or not path.is_file():
            raise ExportNotFoundError
        return row, path

    def _path(self, tenant_id: str, export_id: str) -> Path:
        return self._data_dir / "exports" / tenant_id / f"{export_id}.jsonl"

    async def _batches(self, row: InstallationRow, export_id: str) -> AsyncIterator[list[dict[str, Any]]]:
        yield [
            {
                "kind": "export", "format": 1, "id": export_id, "plugin": row.slug, "version": row.version,
                "instance": row.instance, "installation_id": row.id, "written_at": self._clock.now().isoformat(),
            },
            {"kind": "config", "values": dict(row.config)},
        ]  # fmt: skip
        async with self._database.read(row.tenant_id) as session:
            async for batch in capabilities.export(session, row.id):
                yield batch


def _prepare(part: Path) -> None:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _append(part: Path, batch: Iterable[dict[str, Any]]) -> None:
    with part.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in batch))


def _complete(part: Path, target: Path) -> int:
    with part.open("rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size
