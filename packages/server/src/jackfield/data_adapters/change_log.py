"""The change log: every write of a plugin to an entity, with what was there before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlalchemy import Table, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock, SystemClock
from jackfield.data_adapters.errors import ChangeRevertedError
from jackfield.data_adapters.interfaces import Author, Written
from jackfield.data_adapters.models import DataChange

__all__ = ["ChangeLog"]

_changes = cast("Table", DataChange.__table__)


class ChangeLog:
    """Writes it, in the transaction of whoever writes the entity."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    async def append(
        self, session: AsyncSession, tenant_id: str, place: str, by: Author, entity: str, written: Sequence[Written]
    ) -> None:
        """Add entries. What did not change anything leaves none, unless it is a revert.

        Args:
            place: Name of the adapter.

        Raises:
            ChangeRevertedError: Somebody else took the same change back meanwhile.
        """
        at = self._clock.now()
        rows = [
            {
                "tenant_id": tenant_id, "installation_id": by.installation_id, "slug": by.slug,
                "invocation_id": by.invocation_id, "user_id": by.user_id, "place": place[:128], "entity": entity,
                "key": item.key[:255], "operation": _operation(item), "before": item.before, "after": item.after,
                "at": at, "reverts": by.reverts,
            }
            for item in written
            if item.before != item.after or by.reverts is not None
        ]  # fmt: skip
        if not rows:
            return
        connection = await session.connection()
        if by.reverts is None:
            await connection.execute(insert(_changes), rows)
            return
        result = await connection.execute(insert(_changes).values(rows[0]))
        (number,) = cast("tuple[int]", result.inserted_primary_key)
        mark = update(_changes).where(
            _changes.c.id == by.reverts, _changes.c.tenant_id == tenant_id, _changes.c.reverted_by.is_(None)
        )
        if (await connection.execute(mark.values(reverted_by=number))).rowcount != 1:
            raise ChangeRevertedError(by.reverts)


def _operation(written: Written) -> str:
    if written.before is None:
        return "create"
    return "delete" if written.after is None else "update"
