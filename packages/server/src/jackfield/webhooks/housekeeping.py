"""Drops what is old: attempts, and the memory of what came in."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.settings import WebhookSettings
from jackfield.webhooks.models import AttemptRow, ReceiptRow

__all__ = ["Housekeeping"]

_EVERY_S = 3_600.0
_BATCH = 2_000


class Housekeeping:
    """One per node.

    Args:
        drops_attempts: Not where `records.Retention` does.
    """

    def __init__(
        self,
        database: Database,
        settings: WebhookSettings | None = None,
        clock: Clock | None = None,
        *,
        drops_attempts: bool = True,
    ) -> None:
        self._database = database
        self._drops_attempts = drops_attempts
        self._settings = settings or WebhookSettings()
        self._clock = clock or SystemClock()

    async def run(self) -> None:
        """Do it every hour until cancelled."""
        while True:
            await self.prune()
            await asyncio.sleep(_EVERY_S)

    async def prune(self) -> int:
        """Do it now; how many rows went."""
        now, dropped = self._clock.now(), 0
        if self._drops_attempts:
            old = AttemptRow.at < now - timedelta(days=self._settings.keep_days)
            attempts = select(AttemptRow.id).where(old).limit(_BATCH)
            dropped = await self._drop(delete(AttemptRow).where(AttemptRow.id.in_(attempts)).returning(AttemptRow.id))
        # Keys are hashes: the same one of two webhooks is as good as impossible, and expires all the same.
        receipts = select(ReceiptRow.key).where(ReceiptRow.expires_at <= now).limit(_BATCH)
        expired = delete(ReceiptRow).where(ReceiptRow.key.in_(receipts), ReceiptRow.expires_at <= now)
        return dropped + await self._drop(expired.returning(ReceiptRow.key))

    async def _drop(self, statement: Any) -> int:
        dropped = 0
        while True:
            async with self._database.write(None) as session:
                gone = await session.scalars(statement.execution_options(synchronize_session=False))
                count = len(gone.all())
            dropped += count
            if count < _BATCH:
                return dropped
