"""One entity of the surface as SQL, with everything about it that can be worked out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, and_, bindparam, func, or_, select, true, type_coerce
from sqlalchemy.types import TypeDecorator

from jackfield.data_adapters.conditions import Condition, Node, Order
from jackfield.data_adapters.errors import (
    ComparisonInvalidError,
    EntityChangedError,
    EntityReadOnlyError,
    FieldRefusedError,
    FieldValueError,
)
from jackfield.data_adapters.fields import (
    FieldMismatchError,
    is_json,
    is_number,
    is_sortable,
    is_text,
    json_type,
    key_reader,
    plain,
    writer,
)
from jackfield.data_adapters.interfaces import Aggregation, EntitySchema, FieldSchema, Measure, Row
from jackfield.data_adapters.predicates import predicates
from jackfield.surface import Entity, Surface

__all__ = ["SqlEntity", "Target"]

Bool = ColumnElement[bool]


class Target(NamedTuple):
    """What a column refers to: key and tenant column of another entity."""

    entity: str
    key: Column[Any]
    tenant: Column[Any]


class SqlEntity:
    """Names become columns here, and values what columns take; both or an error.

    Attributes:
        readable: Field → column.
        visible: Those, and what plugins may set without seeing it: what the change log holds.
        version: Counted up by each change.

    Raises:
        ValueError: The surface opens a column of a type that has no plain form.
    """

    def __init__(self, entity: Entity, surface: Surface) -> None:
        columns = entity.table.columns
        self.name = entity.name
        self.table = entity.table
        self.tenant = columns[entity.tenant_column]
        self.key_name = entity.key
        self.key = columns[entity.key]
        self.read_key = key_reader(self.key)
        self.readable: dict[str, Column[Any]] = {name: columns[name] for name in entity.readable}
        self.writable: dict[str, Column[Any]] = {name: columns[name] for name in entity.writable}
        self.visible: dict[str, Column[Any]] = {**self.readable, **self.writable}
        self.is_key_readable = entity.key in self.readable
        self.version = None if entity.version_column is None else columns[entity.version_column]
        self._writers = {name: writer(column) for name, column in self.visible.items()}
        self.references: dict[str, Target] = {
            name: target
            for name, column in self.visible.items()
            if name != entity.key and (target := _target(entity, name, column, surface)) is not None
        }
        self.schema = self._describe(entity)

    # -- reading -----------------------------------------------------------------------------------------------------

    def of(self, tenant_id: str) -> Bool:
        """The tenant's."""
        return self.tenant == tenant_id

    def at(self, tenant_id: str, id: str) -> list[Bool]:
        """Exactly the tenant's entity with this key."""
        key = self.read_key(id)
        # `key == None` would be `IS NULL`, which a careless table might even have.
        return [self.of(tenant_id), (self.key == key) if key is not None else ~true()]

    def meets(self, where: Sequence[Node]) -> list[Bool]:
        """Nodes that have been checked, as SQL."""
        return predicates(where, self._predicate)

    def select(self, *where: Bool) -> Select[Any]:
        """Entities with what plugins may read of them."""
        return select(*self.readable.values()).where(*where)

    def plain(self, row: Any) -> Row:
        """A row of `select`."""
        return {name: plain(value) for name, value in zip(self.readable, row, strict=True)}

    def seen(self, row: Mapping[Any, Any]) -> Row:
        """Visible fields of a row by column."""
        return {name: plain(row[column]) for name, column in self.visible.items()}

    def order(self, order: Sequence[Order]) -> list[Order]:
        """The order with the key at its end, as far as it matters: nothing behind a key does.

        Raises:
            FieldRefusedError, ComparisonInvalidError: A field that cannot be sorted by.
        """
        found: list[Order] = []
        for item in order:
            if is_json(self._readable(item.field, "sort by")):
                raise ComparisonInvalidError(f"`{item.field}` holds data without an order")
            found.append(item)
        for number, item in enumerate(found, start=1):
            if item.field == self.key_name:
                return found[:number]
        return [*found, Order(self.key_name, is_descending=False)]

    def ordered(self, order: Sequence[Order]) -> list[ColumnElement[Any]]:
        """For ORDER BY; null is the smallest."""
        return [_sorted(self.column(name), is_descending) for name, is_descending in order]

    def behind(self, order: Sequence[Order], place: Sequence[Any]) -> Bool:
        """Rows that come after the one with these values in the fields of the order."""
        found: list[Bool] = []
        same: list[Bool] = []
        for (name, is_descending), value in zip(order, place, strict=True):
            column = self.column(name)
            # Bound by hand: SQLAlchemy refuses to say that something is more than false.
            bound = None if value is None else bindparam(None, value, type_=column.type, unique=True)
            if (further := _further(column, bound, is_descending=is_descending)) is not None:
                found.append(and_(*same, further))
            same.append(column.is_(None) if bound is None else column == bound)
        return or_(*found) if found else ~true()

    def column(self, name: str) -> Column[Any]:
        """A readable field's column, or the key's."""
        return self.key if name == self.key_name else self.readable[name]

    def is_whole(self, name: str) -> bool:
        """Whether the field holds whole numbers."""
        return json_type(self.readable[name]).get("type") == "integer"

    def aggregate(self, tenant_id: str, aggregation: Aggregation, scope: Sequence[Node]) -> Select[Any]:
        """Rows of grouped fields, then measures.

        Raises:
            FieldRefusedError, ComparisonInvalidError: A field that cannot be used so.
        """
        groups: dict[str, ColumnElement[Any]] = {}
        for name in aggregation.group_by:
            column = self._readable(name, "group by")
            if is_json(column):
                raise ComparisonInvalidError(f"`{name}` holds data that cannot be grouped")
            groups[name] = column
        measures = {item.name: self._measure(item) for item in aggregation.measures}
        if taken := set(groups) & set(measures) or len(measures) != len(aggregation.measures):
            raise ComparisonInvalidError(f"two columns of the answer have one name: {taken}"[:200])
        known = {**groups, **measures}
        order: list[ColumnElement[Any]] = []
        for name, is_descending in aggregation.order:
            if name not in known:
                raise FieldRefusedError(self.name, name, "sort groups by")
            expression = known[name]
            order.append(expression.desc().nulls_last() if is_descending else expression.asc().nulls_first())
        order += [column.asc().nulls_first() for column in groups.values()]
        return (
            select(*groups.values(), *measures.values())
            .select_from(self.table)
            .where(self.of(tenant_id), *self.meets(scope), *self.meets(aggregation.where))
            .group_by(*groups.values())
            .order_by(*order)
            .limit(aggregation.limit)
        )

    def _measure(self, measure: Measure) -> ColumnElement[Any]:
        if measure.field is None:
            if measure.function != "count":
                raise ComparisonInvalidError(f"`{measure.name}`: `{measure.function}` takes a field")
            return func.count()
        column = self._readable(measure.field, "aggregate")
        match measure.function:
            case "count":
                return func.count(column)
            case "sum" | "avg" if not is_number(column):
                raise ComparisonInvalidError(f"`{measure.field}` holds no numbers")
            case "sum":
                return func.sum(column)
            case "avg":
                # A decorator that keeps, say, whole cents has to see the average as well.
                average = func.avg(column)
                return type_coerce(average, column.type) if isinstance(column.type, TypeDecorator) else average
            case _ if not is_sortable(column):
                raise ComparisonInvalidError(f"`{measure.field}` has no smallest and no largest value")
            case "min":
                return func.min(column)
            case "max":
                return func.max(column)

    def _predicate(self, condition: Condition) -> Bool:
        column = self._readable(condition.field, "ask for")
        operator, value = condition.operator, condition.value
        if operator == "like":
            if not is_text(column):
                raise ComparisonInvalidError(f"condition on `{condition.field}`: `like` is for texts")
            return column.ilike(value, escape="\\")
        if isinstance(value, list):
            values = [self._comparable(condition, item) for item in value if item is not None]
            among = column.in_(values)
            return or_(column.is_(None), among) if None in value else among
        if value is None:
            return column.is_(None) if operator == "eq" else column.is_not(None)
        right = self._comparable(condition, value)
        match operator:
            case "eq":
                return column == right
            case "ne":
                return or_(column.is_(None), column != right)
            case "gt":
                return column > right
            case "gte":
                return column >= right
            case "lt":
                return column < right
            case _:
                return column <= right

    def _comparable(self, condition: Condition, value: Any) -> Any:
        if is_json(self.readable[condition.field]):
            raise ComparisonInvalidError(f"condition on `{condition.field}`: the field can only be compared with null")
        try:
            return self._writers[condition.field](value)
        except FieldMismatchError as error:
            raise ComparisonInvalidError(f"condition on `{condition.field}`: the field {error}") from error

    def _readable(self, name: str, use: str) -> Column[Any]:
        try:
            return self.readable[name]
        except KeyError:
            raise FieldRefusedError(self.name, name, use) from None

    # -- writing -----------------------------------------------------------------------------------------------------

    def check_writable(self) -> None:
        """Refuse writes to what is only to be read."""
        if not self.writable:
            raise EntityReadOnlyError(self.name)

    def row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a plugin sent: column's name → the column's own value."""
        self.check_writable()
        return self._row(values, self.writable)

    def restored(self, key: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of the change log as it is put back; what the database works out by itself is left to it."""
        visible = {name: column for name, column in self.visible.items() if column.computed is None}
        found = self._row({name: value for name, value in row.items() if name in visible}, visible)
        found[self.key.name] = self.read_key(key)
        return found

    def check_expected(self, row: Mapping[Any, Any], expected: Mapping[str, Any], *, is_whole: bool) -> None:
        """Compare a row by column with what it should be.

        Args:
            is_whole: Whether fields count that plugins may only set; to the others they are unknown.

        Raises:
            EntityChangedError: A field has another value.
        """
        fields = self.visible if is_whole else self.readable
        for name, value in expected.items():
            column = fields.get(name)
            if column is None:
                raise FieldRefusedError(self.name, name, "expect")
            found = plain(row[column])
            if found != value or isinstance(found, bool) != isinstance(value, bool):
                raise EntityChangedError(self.name)

    def _row(self, values: Mapping[str, Any], columns: Mapping[str, Column[Any]]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, value in values.items():
            column = columns.get(name)
            if column is None:
                raise FieldRefusedError(self.name, name, "set")
            try:
                row[column.name] = self._writers[name](value)
            except FieldMismatchError as error:
                raise FieldValueError(self.name, name, str(error)) from error
        return row

    def _describe(self, entity: Entity) -> EntitySchema:
        fields = tuple(
            FieldSchema(
                name,
                {**json_type(column), **({"description": text} if (text := entity.fields.get(name)) else {})},
                is_nullable=bool(column.nullable),
                is_readable=name in self.readable,
                is_writable=name in self.writable,
                is_key=name == entity.key,
                references=self.references[name].entity if name in self.references else None,
            )
            for name, column in self.visible.items()
        )
        version = entity.version_column if entity.version_column in self.readable else None
        return EntitySchema(entity.name, fields, entity.key, entity.description, version)


def _sorted(column: Column[Any], is_descending: bool) -> ColumnElement[Any]:
    if not column.nullable:
        # Without the words for null, PostgreSQL can take the order from an index.
        return column.desc() if is_descending else column.asc()
    return column.desc().nulls_last() if is_descending else column.asc().nulls_first()


def _further(column: Column[Any], value: Any, *, is_descending: bool) -> Bool | None:
    """Values that come after this one; None when none does."""
    if is_descending:
        if value is None:
            return None
        return or_(column < value, column.is_(None)) if column.nullable else column < value
    return column.is_not(None) if value is None else column > value


def _target(entity: Entity, name: str, column: Column[Any], surface: Surface) -> Target | None:
    """What a column refers to, when that is one of the surface's entities: as declared, or by a foreign key."""
    declared = entity.references.get(name)
    if declared is not None:
        return _target_of(surface.entity_index[declared])
    tables: dict[str, Entity] = {}
    for other in surface.entity_index.values():
        tables.setdefault(other.table.key, other)
    for foreign_key in column.foreign_keys:
        target = foreign_key.column
        other = tables.get(getattr(target.table, "key", ""))
        if other is not None and target.name == other.table.columns[other.key].name:
            return _target_of(other)
    return None


def _target_of(entity: Entity) -> Target:
    columns = entity.table.columns
    return Target(entity.name, columns[entity.key], columns[entity.tenant_column])
