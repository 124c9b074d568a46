"""`data`: the host's entities, by grant, through the adapter that knows where they are. Always those of the tenant.

Each statement carries the row filters of the grant and of the acting user (`Rights.where`) as its scope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.data_transactions import Outside, Reads, Transaction
from jackfield.capabilities.errors import PermissionDeniedError, TransactionStateError
from jackfield.capabilities.operations import Arguments, Capability, Id, Limit, Offset, answer, fields_of, operation
from jackfield.capabilities.permissions import RESERVED
from jackfield.clock import Clock
from jackfield.data_adapters import (
    AdapterSource,
    Aggregation,
    Author,
    Change,
    ChangeLog,
    DataAdapter,
    EntityNotOpenError,
    Measure,
    MeasureFunction,
    Node,
    Query,
    Row,
    Where,
    Written,
    holds,
    nodes_of,
    parse_order,
)
from jackfield.data_adapters.conditions import Branch, Leaf
from jackfield.data_adapters.cursors import CURSOR_CHARS
from jackfield.db import Database
from jackfield_sdk.wire import NIL

__all__ = ["BATCH", "Data"]

_log = structlog.get_logger("jackfield.capabilities.data")

BATCH = 100
"""Entities in one create or update."""

_Entity = Annotated[str, Meta(min_length=1, max_length=96, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*\Z")]
_Field = Annotated[str, Meta(min_length=1, max_length=65)]
_OrderNames = Annotated[list[_Field], Meta(max_length=10)]
_Cursor = Annotated[str, Meta(max_length=CURSOR_CHARS)]
_MeasureName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")]
_Measure = tuple[MeasureFunction, _Field | None]

T = TypeVar("T")


class _None(Arguments, frozen=True):
    pass


class _OnEntity(Arguments, frozen=True):
    """`tx`: whether it is a step of the call's transaction."""

    entity: _Entity
    tx: bool = False


class _Count(_OnEntity, frozen=True):
    where: Where = msgspec.field(default_factory=list[Leaf | Branch])


class _List(_Count, frozen=True):
    order: _OrderNames = msgspec.field(default_factory=list[str])
    limit: Limit = 100
    offset: Offset = 0
    cursor: _Cursor | None = None


class _Aggregate(_Count, frozen=True, kw_only=True):
    measures: Annotated[dict[_MeasureName, _Measure], Meta(min_length=1, max_length=20)]
    group_by: _OrderNames = msgspec.field(default_factory=list[str])
    order: _OrderNames = msgspec.field(default_factory=list[str])
    limit: Limit = 100


class _Get(_OnEntity, frozen=True, kw_only=True):
    id: Id


class _Delete(_Get, frozen=True, kw_only=True):
    expected: msgspec.Raw = NIL


class _Create(_OnEntity, frozen=True, kw_only=True):
    values: msgspec.Raw


class _CreateMany(_OnEntity, frozen=True, kw_only=True):
    rows: Annotated[list[msgspec.Raw], Meta(max_length=BATCH)]


class _Update(_OnEntity, frozen=True, kw_only=True):
    id: Id
    changes: msgspec.Raw
    expected: msgspec.Raw = NIL


class _OneChange(Arguments, frozen=True, kw_only=True):
    id: Id
    changes: msgspec.Raw
    expected: msgspec.Raw = NIL


class _UpdateMany(_OnEntity, frozen=True, kw_only=True):
    changes: Annotated[list[_OneChange], Meta(max_length=BATCH)]


def _reads(arguments: _OnEntity) -> str:
    return _permission(arguments.entity, "read")


def _writes(arguments: _OnEntity) -> str:
    return _permission(arguments.entity, "write")


def _permission(entity: str, use: str) -> str:
    if entity in RESERVED:
        # Wherever entities come from: `http:read` is a permission for something else.
        raise EntityNotOpenError(entity)
    return f"{entity}:{use}"


class Data:
    """The capability.

    Raises:
        ValueError: The host calls an entity by a word that permissions have for something else.
    """

    def __init__(self, adapters: AdapterSource, database: Database, clock: Clock | None = None) -> None:
        if taken := RESERVED.intersection(adapters.host.entities()):
            raise ValueError(f"no entity may be called `{min(taken)}`: permissions use the word")
        self._adapters = adapters
        self._database = database
        self._changes = ChangeLog(clock)
        self.operations: Capability = {
            "entities": operation(_None, None, self._entities),
            "schema": operation(_OnEntity, None, self._schema),
            "get": operation(_Get, _reads, self._get),
            "list": operation(_List, _reads, self._list),
            "page": operation(_List, _reads, self._page),
            "count": operation(_Count, _reads, self._count),
            "aggregate": operation(_Aggregate, _reads, self._aggregate),
            "create": operation(_Create, _writes, self._create),
            "create_many": operation(_CreateMany, _writes, self._create_many),
            "update": operation(_Update, _writes, self._update),
            "update_many": operation(_UpdateMany, _writes, self._update_many),
            "delete": operation(_Delete, _writes, self._delete),
            "begin": operation(_None, None, self._begin),
            "commit": operation(_None, None, self._commit),
            "rollback": operation(_None, None, self._rollback),
        }

    # -- what there is -----------------------------------------------------------------------------------------------

    async def _entities(self, context: CapabilityContext, arguments: _None) -> bytes:
        adapter = await self._adapters.of(context)
        readable = [name for name in adapter.entities() if name not in RESERVED]
        return answer([name for name in readable if context.rights.covers(f"{name}:read")])

    async def _schema(self, context: CapabilityContext, arguments: _OnEntity) -> bytes:
        if not context.rights.covers(_writes(arguments)) and not context.rights.covers(needed := _reads(arguments)):
            raise PermissionDeniedError(needed)
        adapter = await self._adapters.of(context)
        schema = adapter.schema(arguments.entity)
        fields = [
            {
                "name": field.name, "schema": field.schema, "nullable": field.is_nullable,
                "readable": field.is_readable, "writable": field.is_writable, "key": field.is_key,
                "references": field.references,
            }
            for field in schema.fields
        ]  # fmt: skip
        return answer(
            {
                "name": schema.name, "description": schema.description, "key": schema.key,
                "version_field": schema.version_field, "fields": fields, "features": sorted(adapter.features),
            }
        )  # fmt: skip

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _get(self, context: CapabilityContext, arguments: _Get) -> bytes:
        scope = context.rights.where(arguments.entity, "read")
        return answer(
            await self._read(context, arguments, lambda on: on.get(arguments.entity, arguments.id, scope=scope))
        )

    async def _list(self, context: CapabilityContext, arguments: _List) -> bytes:
        return answer((await self._found(context, arguments)).rows)

    async def _page(self, context: CapabilityContext, arguments: _List) -> bytes:
        page = await self._found(context, arguments)
        return answer({"rows": page.rows, "cursor": page.cursor})

    async def _found(self, context: CapabilityContext, arguments: _List) -> Any:
        scope = context.rights.where(arguments.entity, "read")
        query = Query(
            nodes_of(arguments.where),
            parse_order(arguments.order),
            arguments.limit,
            arguments.offset,
            arguments.cursor,
        )
        return await self._read(context, arguments, lambda on: on.list(arguments.entity, query, scope=scope))

    async def _count(self, context: CapabilityContext, arguments: _Count) -> bytes:
        scope, where = context.rights.where(arguments.entity, "read"), nodes_of(arguments.where)
        return answer(await self._read(context, arguments, lambda on: on.count(arguments.entity, where, scope=scope)))

    async def _aggregate(self, context: CapabilityContext, arguments: _Aggregate) -> bytes:
        scope = context.rights.where(arguments.entity, "read")
        aggregation = Aggregation(
            [Measure(name, function, field) for name, (function, field) in arguments.measures.items()],
            nodes_of(arguments.where),
            arguments.group_by,
            parse_order(arguments.order),
            arguments.limit,
        )
        return answer(
            await self._read(context, arguments, lambda on: on.aggregate(arguments.entity, aggregation, scope=scope))
        )

    async def _read(self, context: CapabilityContext, arguments: _OnEntity, run: Callable[[Reads], Awaitable[T]]) -> T:
        if arguments.tx:
            return await _transaction(context).read(run)
        return await run(Outside(await self._adapters.of(context), context.tenant_id))

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _create(self, context: CapabilityContext, arguments: _Create) -> bytes:
        values = fields_of(arguments.values, "values")
        (row,) = await self._created(context, arguments, [values])
        return answer(row)

    async def _create_many(self, context: CapabilityContext, arguments: _CreateMany) -> bytes:
        return answer(await self._created(context, arguments, [fields_of(row, "rows") for row in arguments.rows]))

    async def _created(self, context: CapabilityContext, arguments: _OnEntity, rows: list[Row]) -> list[Row]:
        entity, scope = arguments.entity, context.rights.where(arguments.entity, "write")
        if arguments.tx:
            written = await _transaction(context).write(entity, lambda on: on.create(entity, rows, scope=scope))
        else:
            adapter, by = await self._adapters.of(context), _author(context)
            written = await adapter.create(context.tenant_id, entity, rows, scope=scope, by=by)
            await self._log_for(context, adapter, entity, written)
        return await self._seen(context, entity, rows, written)

    async def _update(self, context: CapabilityContext, arguments: _Update) -> bytes:
        (row,) = await self._updated(context, arguments, [arguments])
        return answer(row)

    async def _update_many(self, context: CapabilityContext, arguments: _UpdateMany) -> bytes:
        return answer(await self._updated(context, arguments, arguments.changes))

    async def _updated(
        self, context: CapabilityContext, arguments: _OnEntity, given: Sequence[_Update | _OneChange]
    ) -> list[Row]:
        entity = arguments.entity
        scope: list[Node] = context.rights.where(entity, "write")
        changes: list[Change] = []
        for item in given:
            expected = await self._expected(context, entity, item.expected)
            changes.append(Change(item.id, fields_of(item.changes, "changes"), expected))
        if any(change.expected for change in changes):
            scope = [*scope, *context.rights.where(entity, "read")]
        if arguments.tx:
            written = await _transaction(context).write(entity, lambda on: on.update(entity, changes, scope=scope))
        else:
            adapter, by = await self._adapters.of(context), _author(context)
            written = await adapter.update(context.tenant_id, entity, changes, scope=scope, by=by)
            await self._log_for(context, adapter, entity, written)
        return await self._seen(context, entity, [change.values for change in changes], written)

    async def _delete(self, context: CapabilityContext, arguments: _Delete) -> bytes:
        entity, id = arguments.entity, arguments.id
        scope: list[Node] = context.rights.where(entity, "write")
        expected = await self._expected(context, entity, arguments.expected)
        if expected:
            scope = [*scope, *context.rights.where(entity, "read")]
        if arguments.tx:

            async def run(on: Any) -> list[Written]:
                deleted = await on.delete(entity, id, expected=expected, scope=scope)
                return [] if deleted is None else [deleted]

            return answer(bool(await _transaction(context).write(entity, run)))
        adapter, by = await self._adapters.of(context), _author(context)
        deleted = await adapter.delete(context.tenant_id, entity, id, expected=expected, scope=scope, by=by)
        if deleted is not None:
            await self._log_for(context, adapter, entity, [deleted])
        return answer(deleted is not None)

    async def _expected(self, context: CapabilityContext, entity: str, raw: msgspec.Raw) -> dict[str, Any] | None:
        """What a row is expected to hold, which to compare with it is to read it."""
        if bytes(raw) == bytes(NIL):
            return None
        expected = fields_of(raw, "expected")
        context.rights.require(_permission(entity, "read"))
        version = (await self._adapters.of(context)).schema(entity).version_field
        return {version: expected[version]} if version is not None and version in expected else expected

    async def _seen(
        self,
        context: CapabilityContext,
        entity: str,
        given: Sequence[Mapping[str, Any]],
        written: Sequence[Written],
    ) -> list[Row]:
        """Who may write but not read gets back the key and what they gave, not what else is stored."""
        schema = (await self._adapters.of(context)).schema(entity)
        readable = {field.name for field in schema.fields if field.is_readable}
        rights = context.rights
        scope = rights.where(entity, "read") if rights.covers(f"{entity}:read") else None
        found: list[Row] = []
        for values, item in zip(given, written, strict=True):
            row = {name: value for name, value in (item.after or {}).items() if name in readable}
            if scope is None or (scope and not holds(scope, row)):
                own = {*values, schema.key}
                row = {name: value for name, value in row.items() if name in own}
            found.append(row)
        return found

    async def _log_for(
        self, context: CapabilityContext, adapter: DataAdapter, entity: str, written: Sequence[Written]
    ) -> None:
        """Log for an adapter that writes elsewhere than into our database."""
        if "change-log" in adapter.features:
            return
        try:
            async with self._database.write(context.tenant_id) as session:
                by = _author(context)
                await self._changes.append(session, context.tenant_id, adapter.name, by, entity, written)
        except Exception:
            # It is written over there: an error would have the plugin do it twice.
            _log.exception("change not logged", entity=entity, installation=context.installation_id)

    # -- transactions ------------------------------------------------------------------------------------------------

    async def _begin(self, context: CapabilityContext, arguments: _None) -> bytes:
        if context.tally.transaction is not None:
            raise TransactionStateError("a transaction is open already, and a call has one at a time")
        context.tally.transaction = Transaction(await self._adapters.of(context), context.tenant_id)
        return answer(None)

    async def _commit(self, context: CapabilityContext, arguments: _None) -> bytes:
        transaction = _transaction(context)
        context.tally.transaction = None
        for entity in transaction.entities:
            # It may have been withdrawn since.
            context.rights.require(_permission(entity, "write"))
        await transaction.commit(_author(context))
        return answer(None)

    async def _rollback(self, context: CapabilityContext, arguments: _None) -> bytes:
        context.tally.transaction = None
        return answer(None)


def _transaction(context: CapabilityContext) -> Transaction:
    transaction: Transaction | None = context.tally.transaction
    if transaction is None:
        raise TransactionStateError("no transaction is open")
    return transaction


def _author(context: CapabilityContext) -> Author:
    user_id = None if context.caller is None else context.caller.id
    return Author(context.installation_id, context.slug, context.invocation_id, user_id)
