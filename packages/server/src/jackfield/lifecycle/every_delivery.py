"""Deliveries of all tenants, for operators: what became of them. Nothing of what was sent, and nothing that a plugin
said: that is the tenants'."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar, cast

from sqlalchemy import ColumnElement, Select, select

from jackfield.db import Database
from jackfield.db.scopes import BY_KEY
from jackfield.http import PageRequest, Slice, cut, decode_cursor, encode_cursor
from jackfield.jobs import Delivery, DeliveryFilter, latest
from jackfield.lifecycle.models import InstallationRow

__all__ = ["DeliveryOfAny", "EveryDelivery"]

Query: TypeAlias = "Select[*tuple[Any, ...]]"
S = TypeVar("S", bound=Query)

LOOKED_AT: Final = 10_000
"""Rows that one page looks at, at most: what is rare among millions is found by and by, and never by one long query."""
_INDEXED: Final = ("pending", "running", "dead")
"""States that have small indexes of their own."""
_SKEW: Final = timedelta(days=1)
"""Deliveries are made in the order of their numbers, but for clocks that disagree or were set."""


@dataclass(frozen=True, slots=True)
class DeliveryOfAny:
    """One delivery of some tenant's.

    Attributes:
        slug, instance: Of the plugin that it goes to; None for an endpoint of webhooks.
        node_id: Which node has it.
    """

    sequence: int
    id: str
    tenant_id: str
    installation_id: str
    slug: str | None
    instance: str | None
    event_id: str
    event: str
    handler: str
    state: str
    attempt: int
    failures: int
    max_attempts: int
    next_attempt_at: datetime | None
    node_id: str | None
    error_code: str | None
    duration_ms: float | None
    created_at: datetime
    finished_at: datetime | None


class EveryDelivery:
    """The list over all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, wanted: DeliveryFilter, page: PageRequest, *, tenant_id: str | None = None, plugin: str | None = None
    ) -> Slice[DeliveryOfAny]:
        """Those that are meant, the latest first.

        Args:
            plugin: Only those to it, as `slug` (all of its instances) or `slug@instance`.

        Returns:
            A page. It may have fewer than its limit, and none, though there is a next one.
        """
        before = decode_cursor(page.cursor, int)[0] if page.cursor else None
        is_few = wanted.state in _INDEXED
        # Added to, it is not the table's key any more, and small indexes are what is left to find these by.
        at = cast(ColumnElement[int], Delivery.sequence + 0 if is_few else Delivery.sequence)
        # A tenant's are in the order of their numbers part by part.
        of_tenant = tenant_id is not None and not is_few
        narrowed = select(*_COLUMNS).where(*wanted.conditions(), *_of_plugin(plugin))
        async with self._database.read(None) as session:
            # Without it the planner of PostgreSQL may read and sort the whole table.
            session.info[BY_KEY] = not is_few
            last = None
            if not is_few:
                bound = _before(select(Delivery.sequence, Delivery.created_at), at, before, tenant_id)
                bound = _in_order(bound, at, 1, of_tenant, offset=LOOKED_AT - 1)
                last = (await session.execute(bound)).first()
            if last is not None:
                narrowed = narrowed.where(Delivery.sequence >= last.sequence)
            rows = _before(narrowed, at, before, tenant_id)
            rows = _in_order(rows, at, page.limit + 1, of_tenant, state=wanted.state)
            found = cut([DeliveryOfAny(*row) for row in await session.execute(rows)], page.limit, _place)
        if found.next_cursor or last is None or (wanted.since is not None and last.created_at < wanted.since - _SKEW):
            return found
        return Slice(found.items, encode_cursor(last.sequence))


def _place(row: DeliveryOfAny) -> tuple[int]:
    return (row.sequence,)


def _before(query: S, at: ColumnElement[int], before: int | None, tenant_id: str | None) -> S:
    if before is not None:
        query = query.where(at < before)
    return query if tenant_id is None else query.where(Delivery.tenant_id == tenant_id)


def _in_order(
    query: Query, at: ColumnElement[int], limit: int, of_tenant: bool, *, state: str | None = None, offset: int = 0
) -> Query:
    if of_tenant:
        return latest(query, limit, state=state, offset=offset)
    return query.order_by(at.desc()).limit(limit).offset(offset or None)


# Asked row by row, by the key of the other table. A join is planned by guesses, and was seen to take 20 seconds.
def _of_receiver(column: Any) -> Any:
    return select(column).where(InstallationRow.id == Delivery.installation_id).scalar_subquery()


def _of_plugin(plugin: str | None) -> list[Any]:
    if plugin is None:
        return []
    slug, at, instance = plugin.partition("@")
    is_it = [_of_receiver(InstallationRow.slug) == slug]
    return [*is_it, _of_receiver(InstallationRow.instance) == instance] if at else is_it


_COLUMNS: Final = (
    Delivery.sequence, Delivery.id, Delivery.tenant_id, Delivery.installation_id,
    _of_receiver(InstallationRow.slug).label("slug"), _of_receiver(InstallationRow.instance).label("instance"),
    Delivery.event_id, Delivery.event, Delivery.handler, Delivery.state, Delivery.attempt, Delivery.failures,
    Delivery.max_attempts, Delivery.next_attempt_at, Delivery.lease_owner, Delivery.error_code, Delivery.duration_ms,
    Delivery.created_at, Delivery.finished_at,
)  # fmt: skip
