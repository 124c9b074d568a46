"""Reading the change log, and taking changes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from jackfield.clock import Clock, SystemClock
from jackfield.data_adapters.change_log import ChangeLog
from jackfield.data_adapters.errors import (
    ChangeNotFoundError,
    ChangeNotRevertibleError,
    ChangeOvertakenError,
    ChangeRevertedError,
    EntityChangedError,
    EntityNotFoundError,
)
from jackfield.data_adapters.interfaces import AdapterSource, Author, Change, DataAdapter, EntitySchema, Row, Written
from jackfield.data_adapters.models import DataChange
from jackfield.db import Database
from jackfield.errors import JackfieldError, UnavailableError
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.records import audit

__all__ = ["BATCH", "ChangeFilter", "Changes", "Refused", "Reverted"]

BATCH = 500
"""Changes that one request takes back at most."""
_LATER = 1_000


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes are meant; what is None does not matter.

    Attributes:
        since, until: From this moment on, up to before this one.
        before: Only those with a smaller number.
        is_open: Only those that were not taken back, and take nothing back themselves.
    """

    slug: str | None = None
    installation_id: str | None = None
    user_id: str | None = None
    invocation_id: str | None = None
    entity: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that could not be taken back, and why."""

    change: DataChange
    error: JackfieldError


@dataclass(frozen=True, slots=True)
class Reverted:
    """What became of many.

    Attributes:
        changes: The changes that took others back.
        next_before: When there are more: the `before` with which to go on. Those that were refused are found again, so
            that the same request would never get past them.
    """

    changes: Sequence[DataChange]
    refused: Sequence[Refused]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class _Owner:
    tenant_id: str
    installation_id: str
    slug: str


class Changes:
    """The change log of all tenants."""

    def __init__(
        self,
        database: Database,
        adapters: AdapterSource,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._adapters = adapters
        self._clock = clock or SystemClock()
        self._log = ChangeLog(clock)

    def schemas(self) -> list[EntitySchema]:
        """The host's entities."""
        host = self._adapters.host
        return [host.schema(name) for name in host.entities()]

    async def list(self, tenant_id: str, page: PageRequest, wanted: ChangeFilter) -> Slice[DataChange]:
        """Changes, the latest first.

        Raises:
            CursorInvalidError: The cursor is none of this list's.
        """
        if page.cursor is not None:
            (number,) = decode_cursor(page.cursor, int)
            wanted = replace(wanted, before=number)
        statement = _wanted(tenant_id, wanted).order_by(DataChange.id.desc()).limit(page.limit + 1)
        async with self._database.read(tenant_id) as session:
            rows = (await session.scalars(statement)).all()
        return cut(rows, page.limit, lambda row: (row.id,))

    async def revert(self, tenant_id: str, number: int, actor: str) -> DataChange:
        """Take one change back, if what it wrote is still there; the change that did so.

        Args:
            actor: Who asks, as the log and the audit trail are to say.

        Raises:
            ChangeNotFoundError: There is no such change.
            ChangeRevertedError: It was taken back already.
            ChangeOvertakenError: The entity was changed since.
            ChangeNotRevertibleError: The host does not let it happen.
        """
        async with self._database.read(tenant_id) as session:
            change = await session.scalar(_wanted(tenant_id, ChangeFilter()).where(DataChange.id == number))
        if change is None:
            raise ChangeNotFoundError(number)
        made = await self._revert(change, actor)
        await self._audit(tenant_id, actor, f"change:{number}", {"changes": 1})
        return made

    async def revert_all(self, tenant_id: str, wanted: ChangeFilter, actor: str) -> Reverted:
        """Take back all that a filter finds, the latest first. What cannot be taken back stays, and is told."""
        statement = _wanted(tenant_id, replace(wanted, is_open=True)).order_by(DataChange.id.desc()).limit(BATCH + 1)
        async with self._database.read(tenant_id) as session:
            found = (await session.scalars(statement)).all()
        made: list[DataChange] = []
        refused: list[Refused] = []
        for change in found[:BATCH]:
            try:
                made.append(await self._revert(change, actor))
            except UnavailableError:
                # Nothing is wrong with the change: whoever asks has to ask again.
                raise
            except JackfieldError as error:
                refused.append(Refused(change, error))
        about = {"changes": len(made), "refused": len(refused), **_told(wanted)}
        await self._audit(tenant_id, actor, "changes", about)
        return Reverted(made, refused, found[BATCH - 1].id if len(found) > BATCH else None)

    async def _revert(self, change: DataChange, actor: str) -> DataChange:
        number, tenant_id = change.id, change.tenant_id
        if change.reverted_by is not None:
            raise ChangeRevertedError(number)
        adapter = await self._adapters.of(_Owner(tenant_id, change.installation_id, change.slug))
        if adapter.name != change.place:
            raise ChangeNotRevertibleError(number, f"it was made in {change.place}, which is not in use any more")
        by = Author(change.installation_id, change.slug, user_id=actor, reverts=number)
        try:
            written = await self._undo(adapter, change, by)
        except (EntityChangedError, EntityNotFoundError) as error:
            raise ChangeOvertakenError(number, change.entity, change.key) from error
        except (UnavailableError, ChangeRevertedError, ChangeOvertakenError, ChangeNotRevertibleError):
            raise
        except JackfieldError as error:
            raise ChangeNotRevertibleError(number, str(error)) from error
        if "change-log" not in adapter.features:
            async with self._database.write(tenant_id) as session:
                await self._log.append(session, tenant_id, adapter.name, by, change.entity, [written])
        async with self._database.read(tenant_id) as session:
            return (await session.scalars(select(DataChange).where(DataChange.reverts == number))).one()

    async def _undo(self, adapter: DataAdapter, change: DataChange, by: Author) -> Written:
        fields = {field.name: field for field in adapter.schema(change.entity).fields}
        before, after = _known(change.before, fields), _known(change.after, fields)
        if after is None:
            return await adapter.restore(change.tenant_id, change.entity, change.key, before or {}, by=by)
        left = _known(await self._left(change, [name for name, field in fields.items() if field.is_writable]), fields)
        if before is None:
            deleted = await adapter.delete(change.tenant_id, change.entity, change.key, expected=left, by=by)
            if deleted is None:
                raise ChangeOvertakenError(change.id, change.entity, change.key)
            return deleted
        values = {
            name: value for name, value in before.items() if fields[name].is_writable and value != after.get(name)
        }
        if not values:
            raise ChangeNotRevertibleError(change.id, "it changed no field that plugins may set now")
        again = Change(change.key, values, left)
        return (await adapter.update(change.tenant_id, change.entity, [again], by=by))[0]

    async def _left(self, change: DataChange, writable: Sequence[str]) -> Row:
        """What must be there now so that the change may be taken back.

        Later changes do not matter as long as, together, they left what plugins may set as it was: they were taken back
        themselves. What else there is (a version, a time of change) may be what the last of them made of it. Between
        two of them nobody else may have written.

        Raises:
            ChangeOvertakenError: Somebody has.
        """
        later = (
            _wanted(change.tenant_id, ChangeFilter(entity=change.entity, key=change.key))
            .where(DataChange.id > change.id, DataChange.place == change.place)
            .order_by(DataChange.id)
            .limit(_LATER)
        )
        async with self._database.read(change.tenant_id) as session:
            entries = (await session.scalars(later)).all()
        left = change.after
        for entry in entries:
            if entry.before != left:
                raise ChangeOvertakenError(change.id, change.entity, change.key)
            left = entry.after
        after = change.after or {}
        if left is None or len(entries) == _LATER or any(left.get(name) != after.get(name) for name in writable):
            raise ChangeOvertakenError(change.id, change.entity, change.key)
        return left

    async def _audit(self, tenant_id: str, actor: str, target: str, after: dict[str, Any]) -> None:
        async with self._database.write(tenant_id) as session:
            audit(session, tenant_id, actor, "data.revert", target, after=after)


def _wanted(tenant_id: str, wanted: ChangeFilter) -> Any:
    """The tenant's changes of a filter. Said here as well as by the session: what is reverted is looked up so."""
    statement = select(DataChange).where(DataChange.tenant_id == tenant_id)
    for column, value in (
        (DataChange.slug, wanted.slug), (DataChange.installation_id, wanted.installation_id),
        (DataChange.user_id, wanted.user_id), (DataChange.invocation_id, wanted.invocation_id),
        (DataChange.entity, wanted.entity), (DataChange.key, wanted.key),
    ):  # fmt: skip
        if value is not None:
            statement = statement.where(column == value)
    if wanted.since is not None:
        statement = statement.where(DataChange.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(DataChange.at < wanted.until)
    if wanted.before is not None:
        statement = statement.where(DataChange.id < wanted.before)
    if wanted.is_open:
        statement = statement.where(DataChange.reverted_by.is_(None), DataChange.reverts.is_(None))
    return statement


def _known(row: Row | None, fields: dict[str, Any]) -> Row | None:
    """As far as the host still opens the fields."""
    return None if row is None else {name: value for name, value in row.items() if name in fields}


def _told(wanted: ChangeFilter) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(wanted).items()
        if value is not None and name != "is_open"
    }
