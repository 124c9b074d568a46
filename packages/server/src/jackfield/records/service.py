"""Reading the records. Before a question is answered, all that was recorded up to then is put into the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jackfield.db import Database
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.records import repository
from jackfield.records.auditing import PLATFORM
from jackfield.records.errors import LogLevelError
from jackfield.records.models import AuditEntry, InvocationRow, LogRow
from jackfield.records.recorder import Recorder

__all__ = ["InstallationStats", "Records"]

_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class InstallationStats:
    """Totals of one installation since it was installed.

    Attributes:
        failures: Calls whose status is one of `record.FAILURES`.
        last_error_code: With its message and time: the latest failure.
    """

    calls: int = 0
    failures: int = 0
    average_ms: float = 0.0
    maximum_ms: float = 0.0
    cpu_ms: float = 0.0
    last_run_at: datetime | None = None
    last_error_at: datetime | None = None
    last_error_code: str | None = None
    last_error_message: str | None = None


class Records:
    """What happened, for one tenant at a time."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database = database
        self._recorder = recorder

    async def stats(self, tenant_id: str, installation_id: str) -> InstallationStats:
        """Totals; all zero for an installation that has never run."""
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            counter = await repository.counter(session, installation_id)
        if counter is None:
            return InstallationStats()
        return InstallationStats(
            calls=counter.calls,
            failures=counter.failures,
            average_ms=counter.total_us / counter.calls / 1000,
            maximum_ms=counter.maximum_us / 1000,
            cpu_ms=counter.cpu_us / 1000,
            last_run_at=counter.last_run_at,
            last_error_at=counter.last_error_at,
            last_error_code=counter.last_error_code,
            last_error_message=counter.last_error_message,
        )

    async def errors(self, tenant_id: str, installation_id: str, limit: int = 50) -> list[InvocationRow]:
        """The latest failed invocations with their traces."""
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            return list(await repository.failures(session, installation_id, limit))

    async def invocations(self, tenant_id: str, installation_id: str, page: PageRequest) -> Slice[InvocationRow]:
        """Invocations, the latest first."""
        before: tuple[datetime, str] | None = None
        if page.cursor:
            microseconds, invocation_id = decode_cursor(page.cursor, int, str)
            before = (_EPOCH + timedelta(microseconds=microseconds), invocation_id)
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            rows = await repository.invocations_before(session, installation_id, before, page.limit + 1)
        return cut(rows, page.limit, lambda row: ((row.started_at - _EPOCH) // timedelta(microseconds=1), row.id))

    async def logs(
        self, tenant_id: str, installation_id: str, page: PageRequest, minimum_level: str | None = None
    ) -> Slice[LogRow]:
        """Log lines, the latest first.

        Raises:
            LogLevelError: No such level.
        """
        levels = None
        if minimum_level is not None:
            if minimum_level not in _LEVELS:
                raise LogLevelError(f"{minimum_level!r} is no level.", levels=list(_LEVELS))
            levels = _LEVELS[_LEVELS.index(minimum_level) :]
        before: int | None = decode_cursor(page.cursor, int)[0] if page.cursor else None
        await self._recorder.flush()
        async with self._database.read(tenant_id) as session:
            rows = await repository.logs_before(session, installation_id, levels, before, page.limit + 1)
        return cut(rows, page.limit, lambda row: (row.id,))

    async def audit(self, tenant_id: str | None, page: PageRequest, target: str | None = None) -> Slice[AuditEntry]:
        """Audit entries, the latest first; of the platform itself for `tenant_id=None`."""
        before: int | None = decode_cursor(page.cursor, int)[0] if page.cursor else None
        async with self._database.read(tenant_id) as session:
            rows = await repository.audit_before(session, tenant_id or PLATFORM, target, before, page.limit + 1)
        return cut(rows, page.limit, lambda row: (row.id,))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
