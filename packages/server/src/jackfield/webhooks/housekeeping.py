"""Drops the memory of what came in, once it has expired. Attempts are dropped by `records.Retention`."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import delete, select

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.webhooks.models import ReceiptRow

__all__ = ["Housekeeping"]

_EVERY_S = 3_600.0
_BATCH = 2_000


class Housekeeping:
    """One per node."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def run(self) -> None:
        """Do it every hour until cancelled."""
        while True:
            await self.prune()
            await asyncio.sleep(_EVERY_S)

    async def prune(self) -> int:
        """Do it now; how many rows went."""
        now = self._clock.now()
        # Keys are hashes: the same one of two webhooks is as good as impossible, and expires all the same.
        receipts = select(ReceiptRow.key).where(ReceiptRow.expires_at <= now).limit(_BATCH)
        expired = delete(ReceiptRow).where(ReceiptRow.key.in_(receipts), ReceiptRow.expires_at <= now)
        return await self._drop(expired.returning(ReceiptRow.key))

    async def _drop(self, statement: Any) -> int:
        dropped = 0
        while True:
            async with self._database.write(None) as session:
                gone = await session.scalars(statement.execution_options(synchronize_session=False))
                count = len(gone.all())
            dropped += count
            if count < _BATCH:
                return dropped
