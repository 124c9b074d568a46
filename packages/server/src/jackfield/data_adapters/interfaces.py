"""What every adapter offers. A second implementation passes the same suite: `tests/server/data_adapters/suite.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from jackfield.data_adapters.conditions import Node, Order

__all__ = [
    "AdapterSource",
    "Aggregation",
    "Asking",
    "Author",
    "Change",
    "DataAdapter",
    "DataSession",
    "EntitySchema",
    "Feature",
    "FieldSchema",
    "Measure",
    "MeasureFunction",
    "Page",
    "Query",
    "Row",
    "Written",
]

Row = dict[str, Any]
"""An entity as plain data: field → value, exactly the fields that plugins may see."""

Feature = Literal["transactions", "aggregate", "cursor", "batch-atomic", "restore", "change-log"]
"""What not every adapter can do.

`cursor`: pages are found by the last row's place and not by counting rows. `batch-atomic`: of several rows in one
create or update, all are written or none. `restore`: it can put back what was deleted. `change-log`: it writes the
change log itself, in the same transaction.
"""

MeasureFunction = Literal["count", "sum", "avg", "min", "max"]


@dataclass(frozen=True, slots=True)
class Query:
    """Which entities, in which order, which part of them.

    Attributes:
        where: Nodes that must all hold.
        order: Then by key, always, so that every order is total.
        limit: Rows on a page.
        offset: Rows to leave out; not together with a cursor.
        cursor: `Page.cursor` of the page before. It belongs to the same entity, conditions and order.
    """

    where: Sequence[Node] = ()
    order: Sequence[Order] = ()
    limit: int = 100
    offset: int = 0
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        cursor: For the next page; None when there is none.
    """

    rows: list[Row]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of an aggregation.

    Attributes:
        name: What it is called in the answer.
        field: None for `count`, which counts rows; with a field it counts those where it is not null.
    """

    name: str
    function: MeasureFunction
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Figures over entities, in groups of the same values.

    Attributes:
        group_by: Fields; without any, the answer is one row.
        order: By names of measures and grouped fields; then by the grouped fields.
        limit: Groups at most.
    """

    measures: Sequence[Measure]
    where: Sequence[Node] = ()
    group_by: Sequence[str] = ()
    order: Sequence[Order] = ()
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Change:
    """New values of one entity's fields.

    Attributes:
        expected: Fields → values that they must still have. If the entity has a version column and it is among them,
            that one decides alone, so that a whole row which was read before may be given.
    """

    id: str
    values: Mapping[str, Any]
    expected: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One entity that was written.

    Attributes:
        key: Its key as text.
        before, after: The entity with every field that plugins may see or set; None where there was or is none.
        redo: What `DataSession.redo` needs to write it once more; the adapter's own.
    """

    key: str
    before: Row | None
    after: Row | None
    redo: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, for the change log.

    Attributes:
        slug: Of the plugin, also for a revert of what it did.
        user_id: The member on whose behalf, if any; for a revert, whoever asked for it.
        reverts: Id of the change that this one takes back.
    """

    installation_id: str
    slug: str
    invocation_id: str = ""
    user_id: str | None = None
    reverts: int | None = None


@dataclass(frozen=True, slots=True)
class FieldSchema:
    """One field.

    Attributes:
        schema: JSON Schema of a value that is not null.
        is_readable, is_writable: What plugins may do with it.
        is_key: Whether entities are found by it.
        references: Entity whose key it holds.
    """

    name: str
    schema: Mapping[str, Any]
    is_nullable: bool = True
    is_readable: bool = True
    is_writable: bool = False
    is_key: bool = False
    references: str | None = None


@dataclass(frozen=True, slots=True)
class EntitySchema:
    """One kind of entity.

    Attributes:
        version_field: The field that every change counts up, when there is one.
    """

    name: str
    fields: tuple[FieldSchema, ...]
    key: str = "id"
    description: str = ""
    version_field: str | None = None


class DataSession(Protocol):
    """A transaction: what it reads is what it wrote. Every method raises what the adapter's method of its name does."""

    async def get(self, entity: str, id: str, *, scope: Sequence[Node] = ()) -> Row | None: ...

    async def list(self, entity: str, query: Query, *, scope: Sequence[Node] = ()) -> Page: ...

    async def count(self, entity: str, where: Sequence[Node], *, scope: Sequence[Node] = ()) -> int: ...

    async def aggregate(self, entity: str, aggregation: Aggregation, *, scope: Sequence[Node] = ()) -> list[Row]: ...

    async def create(
        self, entity: str, rows: Sequence[Mapping[str, Any]], *, scope: Sequence[Node] = ()
    ) -> list[Written]: ...

    async def update(self, entity: str, changes: Sequence[Change], *, scope: Sequence[Node] = ()) -> list[Written]: ...

    async def delete(
        self, entity: str, id: str, *, expected: Mapping[str, Any] | None = None, scope: Sequence[Node] = ()
    ) -> Written | None: ...

    async def redo(self, entity: str, written: Sequence[Written]) -> None:
        """Write once more what an earlier transaction wrote that was rolled back, with the very same values.

        Raises:
            TransactionConflictError: What it was written over is not what it was.
        """
        ...


class DataAdapter(Protocol):
    """Entities of one host, always those of one tenant, as plain data with the fields that plugins may see.

    `scope` narrows what the caller may reach, as the tenant does: what is outside of it is not found, not counted and
    not changed, and nothing can be put there. It comes from the platform, `where` from the plugin.

    Every method raises `EntityNotOpenError` for an unknown entity, `FieldRefusedError` for a field that may not be
    named, `ComparisonInvalidError` for a condition that does not go with its field, and `QueryTooSlowError`.
    """

    @property
    def name(self) -> str:
        """For messages: `the host's database`."""
        ...

    @property
    def features(self) -> frozenset[Feature]:
        """What it can do."""
        ...

    def entities(self) -> tuple[str, ...]:
        """Names of all entities, whoever may read them."""
        ...

    def key(self, entity: str) -> str:
        """Name of the field by which an entity is found."""
        ...

    def schema(self, entity: str) -> EntitySchema:
        """Its fields."""
        ...

    async def get(self, tenant_id: str, entity: str, id: str, *, scope: Sequence[Node] = ()) -> Row | None:
        """One entity, or None when this tenant has none with the key."""
        ...

    async def list(self, tenant_id: str, entity: str, query: Query, *, scope: Sequence[Node] = ()) -> Page:
        """Entities that meet all conditions.

        Raises:
            CursorMismatchError: The cursor is none, or belongs to another query.
        """
        ...

    async def count(self, tenant_id: str, entity: str, where: Sequence[Node], *, scope: Sequence[Node] = ()) -> int:
        """Number of entities that meet all conditions."""
        ...

    async def aggregate(
        self, tenant_id: str, entity: str, aggregation: Aggregation, *, scope: Sequence[Node] = ()
    ) -> list[Row]:
        """A row for each group: the grouped fields and the measures by name. Sums of nothing are null, counts are 0.

        Raises:
            FeatureMissingError: Without `aggregate` among the features.
        """
        ...

    async def create(
        self,
        tenant_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> list[Written]:
        """Add entities, in this order.

        Raises:
            EntityReadOnlyError: Plugins may not change this entity.
            FieldValueError: A value does not fit, or refers to nothing that this tenant has.
            EntityConflictError: The host's constraints refuse it.
            EntityOutOfScopeError: One would be outside of the scope.
        """
        ...

    async def update(
        self,
        tenant_id: str,
        entity: str,
        changes: Sequence[Change],
        *,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> list[Written]:
        """Change fields of entities, in this order.

        Raises:
            EntityNotFoundError: This tenant has none with a key, or it is outside of the scope.
            EntityChangedError: One is not as it was expected to be.
            EntityReadOnlyError, EntityOutOfScopeError: As for `create`, like the others there.
        """
        ...

    async def delete(
        self,
        tenant_id: str,
        entity: str,
        id: str,
        *,
        expected: Mapping[str, Any] | None = None,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> Written | None:
        """Remove one; None when this tenant has none with the key within the scope.

        Raises:
            EntityChangedError: It is not as it was expected to be.
            EntityReadOnlyError, EntityConflictError: As for `create`.
        """
        ...

    async def restore(self, tenant_id: str, entity: str, key: str, row: Row, *, by: Author | None = None) -> Written:
        """Put back what was deleted, under the key that it had: what `Written.before` of the delete says.

        Raises:
            FeatureMissingError: Without `restore` among the features.
            EntityConflictError: There is such an entity again, or the host's constraints refuse it.
        """
        ...

    def transaction(self, tenant_id: str, *, by: Author | None = None) -> AbstractAsyncContextManager[DataSession]:
        """Several steps, all or none: committed when the block ends, rolled back when it raises.

        Short: it may hold locks, so nothing is awaited in it but its own methods. Without an author, nothing is logged.

        Raises:
            FeatureMissingError: Without `transactions` among the features.
        """
        ...


class Asking(Protocol):
    """Whose entities are wanted; a `CapabilityContext` is one."""

    @property
    def tenant_id(self) -> str: ...

    @property
    def installation_id(self) -> str: ...

    @property
    def slug(self) -> str: ...


class AdapterSource(Protocol):
    """Knows where each installation's entities are."""

    @property
    def host(self) -> DataAdapter:
        """Where they are, unless an installation has a connection of its own."""
        ...

    async def of(self, asking: Asking) -> DataAdapter:
        """The adapter of one installation; asked for each operation, so it must be quick."""
        ...
