"""What happened of late to many tenants, where one to which much happens hides no other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

__all__ = ["latest_of_each"]

_SHARE: Final = 50
"""Rows of each tenant that are found whatever happens to others: as many as one event names."""
_MOST: Final = 5_000
"""Rows for these shares. When even they are too many, each tenant has its latest before any has one more."""


async def latest_of_each(
    session: AsyncSession,
    query: Select[*tuple[Any, ...]],
    tenants: Collection[str] | None,
    at: InstrumentedAttribute[Any],
    limit: int,
) -> Sequence[Any]:
    """The latest rows that a query finds, the latest first, and a share of each tenant where these are not all.

    Args:
        query: Has no order and no limit. Its columns are `tenant_id`, `id` and `at` among others.
        tenants: Whose rows it finds; None for everybody's.
        at: When a row happened.
        limit: Of the plain look. A look at shares reads and sorts all that the query finds, so it is taken only then.
    """
    rows = (await session.execute(query.order_by(at.desc()).limit(limit))).all()
    if len(rows) < limit or (tenants is not None and len(tenants) == 1):
        return rows
    turn = func.row_number().over(partition_by=query.selected_columns["tenant_id"], order_by=at.desc()).label("turn")
    each = query.add_columns(turn).subquery()
    columns = [column for column in each.c if column.name != turn.name]
    shares = select(*columns).where(each.c.turn <= _SHARE).order_by(each.c.turn, each.c[at.key].desc()).limit(_MOST)
    found = {row.id: row for row in rows}
    found.update((row.id, row) for row in await session.execute(shares))
    return sorted(found.values(), key=attrgetter(at.key), reverse=True)
