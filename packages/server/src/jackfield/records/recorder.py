"""Takes a record in microseconds, and sees to it that it reaches the tables.

A record goes to a journal file at once and to the tables in batches. When the database cannot be written, records wait
in the journal; nothing is lost and no invocation waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from jackfield.clock import Clock, SystemClock
from jackfield.db import DATABASE_FAILURES, Database
from jackfield.records.journal import Segment, encode_frame, leftovers
from jackfield.records.record import InvocationRecord
from jackfield.records.store import store

__all__ = ["Recorder"]

_log = structlog.stdlib.get_logger(__name__)

_MEMORY_LIMIT = 10_000
"""Records held in memory while the database is away; more are read back from the journal."""


@dataclass(slots=True)
class _Sealed:
    """A batch that takes no more records."""

    segment: Segment | None
    records: list[InvocationRecord] | None
    """None: to be read from the segment."""


class Recorder:
    """One per process.

    Args:
        folder: Where the journal is; `data_dir/journal`.
        interval_s: How long a record waits for others at most.
        batch_size: With how many it waits no longer.
        observe: Told of each record as well, at once; must not raise, nor wait.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        clock: Clock | None = None,
        *,
        interval_s: float = 0.5,
        batch_size: int = 500,
        observe: Callable[[InvocationRecord], None] | None = None,
    ) -> None:
        self._database = database
        self._folder = folder
        self._clock = clock or SystemClock()
        self._interval_s = interval_s
        self._batch_size = batch_size
        self._observe = observe
        self._batch: list[InvocationRecord] = []
        self._segment: Segment | None = None
        self._is_journal_broken = False
        self._sealed: deque[_Sealed] = deque()
        self._flushing = asyncio.Lock()
        self._is_full = asyncio.Event()

    @property
    def backlog(self) -> tuple[int, float]:
        """How many records are not in the tables yet, and the age in seconds of the oldest that is in memory."""
        waiting = [sealed.records for sealed in self._sealed if sealed.records] + ([self._batch] if self._batch else [])
        if not waiting:
            return 0, 0.0
        age_s = self._clock.now().timestamp() - waiting[0][0].started_at - waiting[0][0].duration_us / 1e6
        return sum(map(len, waiting)), max(0.0, age_s)

    def record(self, record: InvocationRecord) -> None:
        """Keep a record. Never raises for the state of disk or database; to be called in the event loop's thread."""
        self._keep(record)
        if self._observe is not None:
            self._observe(record)

    def _keep(self, record: InvocationRecord) -> None:
        try:
            segment = self._segment
            if segment is None:
                segment = self._segment = Segment.create(self._folder)
            segment.append(encode_frame(record))
        except OSError as error:
            # The batch in memory still has it; what is lost is the safety net, and an operator has to know.
            if not self._is_journal_broken:
                _log.error("journal-failed", error=str(error))
            self._is_journal_broken = True
        except UnicodeEncodeError:
            # A lone surrogate in some text: no encoding can carry it.
            self._keep(_without_surrogates(record))
            return
        self._batch.append(record)
        if len(self._batch) >= self._batch_size:
            self._is_full.set()

    async def run(self) -> None:
        """Store what earlier processes left, then what is recorded, until cancelled. `close` ends it tidily."""
        delay = self._interval_s
        is_replayed = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._is_full.wait()
            self._is_full.clear()
            try:
                if not is_replayed:
                    await self.replay()
                    is_replayed = True
                await self.flush()
                delay = self._interval_s
            except DATABASE_FAILURES as error:
                _log.error("records-not-stored", error=str(error), waiting=len(self._batch))
                delay = min(delay * 2, 10.0)

    async def replay(self) -> int:
        """Store what dead processes left in the journal.

        Returns:
            How many records were found; some of them may have been stored before.
        """
        found = 0
        for segment in leftovers(self._folder):
            try:
                records = segment.read()
                await store(self._database, records)
            except BaseException:
                segment.close()
                raise
            segment.discard()
            found += len(records)
        if found:
            _log.info("journal-replayed", records=found)
        return found

    async def flush(self) -> None:
        """Everything recorded before this call is in the tables after it.

        Raises:
            DBAPIError, OSError: The database cannot be written; the records are kept.
        """
        if not self._batch and not self._sealed:
            return
        async with self._flushing:
            if len(self._batch) >= _MEMORY_LIMIT and self._sealed:
                self._seal(keep_in_memory=False)
            await self._store_sealed()
            if self._batch:
                self._seal(keep_in_memory=True)
                await self._store_sealed()

    async def close(self) -> None:
        """Flush and put the journal away. What cannot be stored stays in it for the next start."""
        try:
            await self.flush()
        except DATABASE_FAILURES as error:
            _log.error("records-not-stored", error=str(error), waiting=len(self._batch))
        for sealed in self._sealed:
            if sealed.segment is not None:
                sealed.segment.close()
        self._sealed.clear()
        if self._segment is not None:
            if self._batch:
                self._segment.close()
            else:
                self._segment.discard()
            self._segment = None

    def _seal(self, *, keep_in_memory: bool) -> None:
        """Begin a new batch and a new segment."""
        # A batch that the journal could not take whole exists in memory alone.
        in_memory = keep_in_memory or self._segment is None or self._is_journal_broken
        self._sealed.append(_Sealed(self._segment, self._batch if in_memory else None))
        self._batch = []
        self._is_journal_broken = False
        try:
            self._segment = Segment.create(self._folder)
        except OSError as error:
            _log.error("journal-failed", error=str(error))
            self._segment = None

    async def _store_sealed(self) -> None:
        while self._sealed:
            sealed = self._sealed[0]
            records = sealed.records
            if records is None:
                records = [] if sealed.segment is None else sealed.segment.read()
            await store(self._database, records)
            self._sealed.popleft()
            if sealed.segment is not None:
                sealed.segment.discard()


def _without_surrogates(record: InvocationRecord) -> InvocationRecord:
    def clean(value: Any) -> Any:
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    fields = {name: clean(value) for name, value in msgspec.structs.asdict(record).items()}
    fields["log"] = [
        (clean(level), clean(message), {clean(key): clean(value) for key, value in extra.items()})
        for level, message, extra in record.log
    ]
    return InvocationRecord(**fields)
