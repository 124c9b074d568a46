"""`data`: the host's entities, by grant, through the adapter that knows where they are. Always those of the tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.operations import Arguments, Capability, Id, Limit, Offset, answer, fields_of, operation
from jackfield.capabilities.permissions import RESERVED, covers
from jackfield.capabilities.tables import OrderNames, Where
from jackfield.data_adapters import Condition, DataAdapter, parse_order

__all__ = ["Data"]

_Entity = Annotated[str, Meta(min_length=1, max_length=96, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*\Z")]


class _None(Arguments, frozen=True):
    pass


class _Count(Arguments, frozen=True):
    entity: _Entity
    where: Where = msgspec.field(default_factory=list[Condition])


class _List(_Count, frozen=True):
    order: OrderNames = msgspec.field(default_factory=list[str])
    limit: Limit = 100
    offset: Offset = 0


class _Get(Arguments, frozen=True):
    entity: _Entity
    id: Id


class _Create(Arguments, frozen=True):
    entity: _Entity
    values: msgspec.Raw


class _Update(Arguments, frozen=True):
    entity: _Entity
    id: Id
    changes: msgspec.Raw


def _reads(arguments: _Count | _Get) -> str:
    return f"{arguments.entity}:read"


def _writes(arguments: _Get | _Create | _Update) -> str:
    return f"{arguments.entity}:write"


class Data:
    """The capability.

    Raises:
        ValueError: The host calls an entity by a word that permissions have for something else.
    """

    def __init__(self, adapter: DataAdapter) -> None:
        if taken := RESERVED.intersection(adapter.entities()):
            raise ValueError(f"no entity may be called `{min(taken)}`: permissions use the word")
        self._adapter = adapter
        self.operations: Capability = {
            "entities": operation(_None, None, self._entities),
            "get": operation(_Get, _reads, self._get),
            "list": operation(_List, _reads, self._list),
            "count": operation(_Count, _reads, self._count),
            "create": operation(_Create, _writes, self._create),
            "update": operation(_Update, _writes, self._update),
            "delete": operation(_Get, _writes, self._delete),
        }

    async def _entities(self, context: CapabilityContext, arguments: _None) -> bytes:
        return answer([name for name in self._adapter.entities() if covers(context.grants, f"{name}:read")])

    async def _get(self, context: CapabilityContext, arguments: _Get) -> bytes:
        return answer(await self._adapter.get(context.tenant_id, arguments.entity, arguments.id))

    async def _list(self, context: CapabilityContext, arguments: _List) -> bytes:
        found = await self._adapter.list(
            context.tenant_id,
            arguments.entity,
            arguments.where,
            parse_order(arguments.order),
            arguments.limit,
            arguments.offset,
        )
        return answer(found)

    async def _count(self, context: CapabilityContext, arguments: _Count) -> bytes:
        return answer(await self._adapter.count(context.tenant_id, arguments.entity, arguments.where))

    async def _create(self, context: CapabilityContext, arguments: _Create) -> bytes:
        values = fields_of(arguments.values, "values")
        created = await self._adapter.create(context.tenant_id, arguments.entity, values)
        return answer(self._seen(context, arguments.entity, values, created))

    async def _update(self, context: CapabilityContext, arguments: _Update) -> bytes:
        changes = fields_of(arguments.changes, "changes")
        changed = await self._adapter.update(context.tenant_id, arguments.entity, arguments.id, changes)
        return answer(self._seen(context, arguments.entity, changes, changed))

    async def _delete(self, context: CapabilityContext, arguments: _Get) -> bytes:
        return answer(await self._adapter.delete(context.tenant_id, arguments.entity, arguments.id))

    def _seen(
        self, context: CapabilityContext, entity: str, given: Mapping[str, Any], stored: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Who may write but not read gets back the key and what they gave, not what else is stored."""
        if covers(context.grants, f"{entity}:read"):
            return stored
        own = {*given, self._adapter.key(entity)}
        return {name: value for name, value in stored.items() if name in own}
