"""`storage`: keys and values of one installation. `get` is what plugins call most, so nothing on its way is slow."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.models import StorageItem, core
from jackfield.capabilities.operations import Arguments, Capability, Limit, answer, operation, plain_bytes
from jackfield.capabilities.usage import OVERHEAD, Meter
from jackfield.db import Database
from jackfield.db.point_reads import PointReader

__all__ = ["VALUE_BYTES", "Storage"]

VALUE_BYTES = 256 * 1024

_TEXT = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z"
Key = Annotated[str, Meta(min_length=1, max_length=256, pattern=_TEXT)]
Prefix = Annotated[str, Meta(max_length=256, pattern=_TEXT)]

_items = core(StorageItem)
_of = (
    _items.c.installation_id == bindparam("p_installation"),
    _items.c.tenant_id == bindparam("p_tenant"),
)
_at = (*_of, _items.c.key == bindparam("p_key"))
# Made once: to build a statement anew takes longer than to run it.
_GET = select(_items.c.value).where(*_at)
_DELETE = delete(_items).where(*_at).returning(_items.c.size_bytes)
_KEYS = select(_items.c.key).where(*_of, _items.c.key >= bindparam("p_prefix")).order_by(_items.c.key)

_FOUND = b"\x82\xa5found\xc3\xa5value"
"""Msgpack of `{"found": true, "value": …` up to the value, which is stored as msgpack."""
_NOT_FOUND = answer({"found": False, "value": None})


class _Get(Arguments, frozen=True):
    key: Key


class _Set(Arguments, frozen=True):
    key: Key
    value: msgspec.Raw


class _Keys(Arguments, frozen=True):
    prefix: Prefix = ""
    limit: Limit = 100
    after: Prefix | None = None


class Storage:
    """The capability."""

    def __init__(self, database: Database, reader: PointReader, meter: Meter) -> None:
        self._database = database
        self._reader = reader
        self._meter = meter
        self._charge = meter.charging(select(_items.c.size_bytes).where(*_at).scalar_subquery())
        make = insert_sqlite if database.is_sqlite else insert_postgresql
        values: dict[str, Any] = {
            "tenant_id": bindparam("p_tenant"), "installation_id": bindparam("p_installation"),
            "key": bindparam("p_key"), "value": bindparam("p_value"), "size_bytes": bindparam("p_size"),
        }  # fmt: skip
        self._put = (
            make(_items)
            .values(values)
            .on_conflict_do_update(
                index_elements=["installation_id", "key"],
                set_={"value": bindparam("p_value"), "size_bytes": bindparam("p_size")},
            )
        )
        self.operations: Capability = {
            "get": operation(_Get, "storage", self._get),
            "set": operation(_Set, "storage", self._set),
            "delete": operation(_Get, "storage", self._delete),
            "keys": operation(_Keys, "storage", self._keys),
        }

    async def _get(self, context: CapabilityContext, arguments: _Get) -> bytes:
        row = await self._reader.fetch_row(_GET, _place(context, arguments.key))
        return _NOT_FOUND if row is None else _FOUND + row[0]

    async def _set(self, context: CapabilityContext, arguments: _Set) -> bytes:
        value = plain_bytes(arguments.value, "value", VALUE_BYTES)
        size = OVERHEAD + len(arguments.key.encode()) + len(value)
        place = _place(context, arguments.key)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            await self._meter.charge_by(connection, self._charge, context, size, place)
            await connection.execute(self._put, {**place, "p_value": value, "p_size": size})
        return answer(None)

    async def _delete(self, context: CapabilityContext, arguments: _Get) -> bytes:
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            size = await connection.scalar(_DELETE, _place(context, arguments.key))
            if size is not None:
                await self._meter.charge(connection, context, 0, size)
        return answer(size is not None)

    async def _keys(self, context: CapabilityContext, arguments: _Keys) -> bytes:
        statement = _KEYS.limit(arguments.limit)
        if (end := _successor(arguments.prefix)) is not None:
            statement = statement.where(_items.c.key < end)
        if arguments.after is not None:
            statement = statement.where(_items.c.key > arguments.after)
        params = {"p_installation": context.installation_id, "p_tenant": context.tenant_id}
        async with self._database.read(context.tenant_id) as session:
            connection = await session.connection()
            return answer(list(await connection.scalars(statement, {**params, "p_prefix": arguments.prefix})))


def _place(context: CapabilityContext, key: str) -> dict[str, Any]:
    return {"p_installation": context.installation_id, "p_tenant": context.tenant_id, "p_key": key}


def _successor(prefix: str) -> str | None:
    """The least text behind all that begin with `prefix`, so that the index ends the search; None when nothing is."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code == 0xD800:
            # Surrogates are no characters.
            code = 0xE000
        if code <= 0x10FFFF:
            return prefix[:-1] + chr(code)
        prefix = prefix[:-1]
    return None
