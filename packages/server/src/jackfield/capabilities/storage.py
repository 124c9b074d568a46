"""`storage`: keys and values of one installation. `get` is what plugins call most, so nothing on its way is slow.

A key may expire. It is then gone for readers at once, because they look at the time, and swept later. Whoever reads and
writes in one operation (`increment`, `compare_and_set`) has the installation's turn as every writer has, so what was
read stays true until it is written.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Select, bindparam, delete, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import NumberOutOfRangeError, StorageFullError, ValueKindError
from jackfield.capabilities.models import StorageItem, core
from jackfield.capabilities.operations import Arguments, Capability, Limit, answer, operation, plain_bytes
from jackfield.capabilities.usage import OVERHEAD, Meter
from jackfield.capabilities.waiting import patient
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.db.joint import drawn
from jackfield.db.point_reads import PointReader

__all__ = ["KEYS_AT_ONCE", "PAGE_BYTES", "VALUE_BYTES", "Key", "Prefix", "Storage", "Ttl", "live_until", "successor"]

VALUE_BYTES = 256 * 1024
PAGE_BYTES = 1024 * 1024
"""Of values in one answer; at least one value is always in it."""
KEYS_AT_ONCE = 100
_SWEPT_AT_ONCE = 1000

_TEXT = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z"
Key = Annotated[str, Meta(min_length=1, max_length=256, pattern=_TEXT)]
Prefix = Annotated[str, Meta(max_length=256, pattern=_TEXT)]
Ttl = Annotated[float, Meta(ge=0.001, le=10 * 366 * 24 * 3600)]
"""Seconds; at most ten years."""

_items = core(StorageItem)
_of = (
    _items.c.installation_id == bindparam("p_installation"),
    _items.c.tenant_id == bindparam("p_tenant"),
)
_at = (*_of, _items.c.key == bindparam("p_key"))
_among = (*_of, _items.c.key.in_(bindparam("p_keys", expanding=True)))
_lives = or_(_items.c.expires_at.is_(None), _items.c.expires_at > bindparam("p_now"))
_expired = _items.c.expires_at <= bindparam("p_now")
# Made once: to build a statement anew takes longer than to run it. What expires is told from the row: most do not, and
# then the time need not even be asked for.
_GET = select(_items.c.value, _items.c.expires_at).where(*_at)
_ENTRY = select(_items.c.value, _items.c.size_bytes, _items.c.version, _items.c.expires_at).where(*_at)
_DELETE = delete(_items).where(*_at).returning(_items.c.size_bytes, _items.c.expires_at)
_RANGE = select(_items.c.key).where(*_of, _items.c.key >= bindparam("p_prefix"), _lives).order_by(_items.c.key)
_SIZES = select(_items.c.key, _items.c.size_bytes).where(*_among)
_VALUES = select(_items.c.key, _items.c.value).where(*_among, _lives)
_DROP = delete(_items).where(*_among).returning(_items.c.size_bytes, _items.c.expires_at)
_EXPIRED = select(_items.c.key).where(*_of, _expired).limit(_SWEPT_AT_ONCE)
_SWEEP = delete(_items).where(*_among, _expired).returning(_items.c.size_bytes)
_DUE = (
    select(_items.c.tenant_id, _items.c.installation_id).where(_expired).distinct().limit(bindparam("p_installations"))
)

_FOUND = b"\x82\xa5found\xc3\xa5value"
"""Msgpack of `{"found": true, "value": …` up to the value, which is stored as msgpack."""
_NOT_FOUND = answer({"found": False, "value": None})
_NIL = b"\xc0"
_TRUE = b"\xc3"
_INTEGERS = range(-(2**63), 2**63)
_encode = msgspec.msgpack.Encoder().encode
_canonical = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder().decode


class _Get(Arguments, frozen=True):
    key: Key


class _GetMany(Arguments, frozen=True):
    keys: Annotated[list[Key], Meta(min_length=1, max_length=KEYS_AT_ONCE)]


class _Set(Arguments, frozen=True):
    key: Key
    value: msgspec.Raw
    ttl_s: Ttl | None = None


class _SetMany(Arguments, frozen=True):
    items: Annotated[dict[Key, msgspec.Raw], Meta(min_length=1, max_length=KEYS_AT_ONCE)]
    ttl_s: Ttl | None = None


class _CompareAndSet(Arguments, frozen=True):
    """`version`, when there is one, is what is compared; else `expected`, where null stands for no such key."""

    key: Key
    value: msgspec.Raw
    expected: msgspec.Raw = msgspec.Raw(_NIL)
    version: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,16}\Z")] | None = None
    ttl_s: Ttl | None = None


class _Increment(Arguments, frozen=True):
    key: Key
    by: int | float = 1
    initial: int | float = 0
    ttl_s: Ttl | None = None


class _Range(Arguments, frozen=True):
    prefix: Prefix = ""
    limit: Limit = 100
    after: Prefix | None = None


class _Prefixed(Arguments, frozen=True):
    prefix: Annotated[str, Meta(min_length=1, max_length=256, pattern=_TEXT)]


class Storage:
    """The capability."""

    def __init__(self, database: Database, reader: PointReader, meter: Meter, clock: Clock) -> None:
        self._database = database
        self._reader = reader
        self._meter = meter
        self._clock = clock
        self._charge = meter.charging(select(_items.c.size_bytes).where(*_at).scalar_subquery())
        make = insert_sqlite if database.is_sqlite else insert_postgresql
        names = {"value": "p_value", "size_bytes": "p_size", "version": "p_version", "expires_at": "p_expires"}
        written: dict[str, Any] = {column: bindparam(name) for column, name in names.items()}
        place: dict[str, Any] = {
            "tenant_id": bindparam("p_tenant"), "installation_id": bindparam("p_installation"),
            "key": bindparam("p_key"),
        }  # fmt: skip
        self._put = (
            make(_items)
            .values({**place, **written})
            .on_conflict_do_update(index_elements=["installation_id", "key"], set_=written)
        )
        self.operations: Capability = {
            "get": operation(_Get, "storage", self._get, follow=_get_after),
            "get_many": operation(_GetMany, "storage", self._get_many),
            "entry": operation(_Get, "storage", self._entry),
            "set": operation(_Set, "storage", patient(self._set), self._foresee_set),
            "set_many": operation(_SetMany, "storage", patient(self._set_many), self._foresee_set_many),
            "compare_and_set": operation(
                _CompareAndSet, "storage", patient(self._compare_and_set), follow=_compare_and_set_after
            ),
            "increment": operation(_Increment, "storage", patient(self._increment), follow=_increment_after),
            "delete": operation(_Get, "storage", patient(self._delete), follow=_delete_after),
            "delete_prefix": operation(_Prefixed, "storage", patient(self._delete_prefix)),
            "keys": operation(_Range, "storage", self._keys),
            "items": operation(_Range, "storage", self._items),
        }

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _get(self, context: CapabilityContext, arguments: _Get) -> bytes:
        row = await self._reader.fetch_row(_GET, _place(context, arguments.key))
        if row is None or (row[1] is not None and row[1] <= self._now()):
            return _NOT_FOUND
        return _FOUND + row[0]

    async def _entry(self, context: CapabilityContext, arguments: _Get) -> bytes:
        row = await self._reader.fetch_row(_ENTRY, _place(context, arguments.key))
        if row is None or (row[3] is not None and row[3] <= self._now()):
            return answer(None)
        value, _, version, expires_at = row
        expires_s = None if expires_at is None else expires_at / 1000
        return answer({"value": msgspec.Raw(value), "version": f"{version:x}", "expires_at": expires_s})

    async def _get_many(self, context: CapabilityContext, arguments: _GetMany) -> bytes:
        """As many as fit; the keys that are left to be asked for are in `rest`."""
        wanted = list(dict.fromkeys(arguments.keys))
        params = {**_owner(context), "p_keys": wanted, "p_now": self._now()}
        async with self._database.read(context.tenant_id) as session:
            connection = await session.connection()
            sizes = await _sizes(connection, params)
            asked, rest = _fitting([key for key in wanted if key in sizes], sizes)
            found = await connection.execute(_VALUES, {**params, "p_keys": asked}) if asked else ()
            return answer({"found": {key: msgspec.Raw(value) for key, value in found}, "rest": rest})

    async def _keys(self, context: CapabilityContext, arguments: _Range) -> bytes:
        statement, params = self._range(context, arguments)
        async with self._database.read(context.tenant_id) as session:
            connection = await session.connection()
            return answer(list(await connection.scalars(statement, params)))

    async def _items(self, context: CapabilityContext, arguments: _Range) -> bytes:
        """Pairs of key and value, and in `next` what `after` has to be for more; null when there is no more."""
        statement, params = self._range(context, arguments)
        async with self._database.read(context.tenant_id) as session:
            connection = await session.connection()
            listed = await connection.execute(statement.add_columns(_items.c.size_bytes), params)
            sizes: dict[str, int] = {row[0]: row[1] for row in listed}
            asked, rest = _fitting(list(sizes), sizes)
            found = await connection.execute(_VALUES, {**params, "p_keys": asked}) if asked else ()
            pairs = [[key, msgspec.Raw(value)] for key, value in sorted((key, value) for key, value in found)]
        more = bool(rest) or len(sizes) == arguments.limit
        return answer({"items": pairs, "next": asked[-1] if asked and more else None})

    # -- writing -------------------------------------------------------------------------------------------------------

    async def _set(self, context: CapabilityContext, arguments: _Set) -> bytes:
        value = plain_bytes(arguments.value, "value", VALUE_BYTES)
        expires_at = self._expiry(arguments.ttl_s)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            await self._write(connection, context, arguments.key, value, expires_at)
        return answer(None)

    def _foresee_set(self, context: CapabilityContext, arguments: _Set) -> bytes:
        plain_bytes(arguments.value, "value", VALUE_BYTES)
        self._expiry(arguments.ttl_s)
        return answer(None)

    def _foresee_set_many(self, context: CapabilityContext, arguments: _SetMany) -> bytes:
        for raw in arguments.items.values():
            plain_bytes(raw, "value", VALUE_BYTES)
        self._expiry(arguments.ttl_s)
        return answer(None)

    async def _set_many(self, context: CapabilityContext, arguments: _SetMany) -> bytes:
        """All of them or none."""
        values = {key: plain_bytes(raw, "value", VALUE_BYTES) for key, raw in arguments.items.items()}
        expires_at = self._expiry(arguments.ttl_s)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            rows = [self._row(context, key, value, expires_at) for key, value in values.items()]
            added = sum(row["p_size"] for row in rows)
            place = {**_owner(context), "p_keys": list(values)}
            sizes = await _sizes(connection, place)
            try:
                await self._meter.charge(connection, context, added, sum(sizes.values()))
            except StorageFullError:
                if not await self._make_room(connection, context):
                    raise
                sizes = await _sizes(connection, place)
                await self._meter.charge(connection, context, added, sum(sizes.values()))
            await connection.execute(self._put, rows)
        return answer(None)

    async def _compare_and_set(self, context: CapabilityContext, arguments: _CompareAndSet) -> bytes:
        value = plain_bytes(arguments.value, "value", VALUE_BYTES)
        expected = plain_bytes(arguments.expected, "expected", VALUE_BYTES)
        expires_at = self._expiry(arguments.ttl_s)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            held = await self._held(connection, context, arguments.key)
            if arguments.version is not None:
                is_as_expected = held is not None and f"{held[2]:x}" == arguments.version
            elif expected == _NIL:
                is_as_expected = held is None
            else:
                is_as_expected = held is not None and _is_same(held[0], expected)
            if is_as_expected:
                await self._write(connection, context, arguments.key, value, expires_at)
        return answer(is_as_expected)

    async def _increment(self, context: CapabilityContext, arguments: _Increment) -> bytes:
        """The number afterwards. A lifetime counts from when the key is made; it is not prolonged."""
        check_number(arguments.by)
        check_number(arguments.initial)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            held = await self._held(connection, context, arguments.key)
            if held is None:
                before, expires_at = arguments.initial, self._expiry(arguments.ttl_s)
            else:
                before, expires_at = number_of(held[0], arguments.key), held[3]
            after = check_number(before + arguments.by)
            await self._write(connection, context, arguments.key, _encode(after), expires_at)
        return answer(after)

    async def _delete(self, context: CapabilityContext, arguments: _Get) -> bytes:
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            row = (await connection.execute(_DELETE, _place(context, arguments.key))).first()
            if row is not None:
                await self._meter.charge(connection, context, 0, row[0])
        return answer(row is not None and live_until(row[1], self._now()))

    async def _delete_prefix(self, context: CapabilityContext, arguments: _Prefixed) -> bytes:
        """How many were there, and whether there are more: a part of them at a time, since others want to write."""
        statement, params = self._range(context, _Range(arguments.prefix, limit=_SWEPT_AT_ONCE))
        now = self._now()
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            keys = list(await connection.scalars(statement, params))
            gone = (await connection.execute(_DROP, {**params, "p_keys": keys})).all() if keys else ()
            if gone:
                await self._meter.charge(connection, context, 0, sum(size for size, _ in gone))
        count = sum(live_until(expires_at, now) for _, expires_at in gone)
        return answer({"deleted": count, "more": len(keys) == _SWEPT_AT_ONCE})

    # -- sweeping ------------------------------------------------------------------------------------------------------

    async def sweep(self, *, installations: int = 50) -> int:
        """Remove keys that have expired, and give their space back; how many. A part of them at a time."""
        params = {"p_now": self._now(), "p_installations": installations}
        async with self._database.read(None) as session:
            connection = await session.connection()
            due = [(tenant_id, id) for tenant_id, id in await connection.execute(_DUE, params)]
        gone = 0
        for tenant_id, installation_id in due:
            async with self._database.write(tenant_id) as session:
                connection = await session.connection()
                gone += await self._sweep(connection, tenant_id, installation_id)
        return gone

    async def _sweep(self, connection: AsyncConnection, tenant_id: str, installation_id: str) -> int:
        params = {"p_tenant": tenant_id, "p_installation": installation_id, "p_now": self._now()}
        await self._meter.take_turn_of(connection, tenant_id, installation_id)
        keys = list(await connection.scalars(_EXPIRED, params))
        if not keys:
            return 0
        sizes = list(await connection.scalars(_SWEEP, {**params, "p_keys": keys}))
        await self._meter.give_back(connection, installation_id, sum(sizes))
        return len(sizes)

    async def _make_room(self, connection: AsyncConnection, context: CapabilityContext) -> bool:
        """Whether something of the installation's had expired. Nobody is told that all is full because of it."""
        return await self._sweep(connection, context.tenant_id, context.data_id) > 0

    # -- inside --------------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        """Milliseconds since 1970."""
        return drawn("now", lambda: int(self._clock.now().timestamp() * 1000))

    def _expiry(self, ttl_s: float | None) -> int | None:
        return None if ttl_s is None else self._now() + max(1, int(ttl_s * 1000))

    def _row(self, context: CapabilityContext, key: str, value: bytes, expires_at: int | None) -> dict[str, Any]:
        return {
            **_place(context, key), "p_value": value, "p_size": OVERHEAD + len(key.encode()) + len(value),
            "p_version": drawn("version", lambda: secrets.randbits(63)), "p_expires": expires_at,
        }  # fmt: skip

    async def _held(
        self, connection: AsyncConnection, context: CapabilityContext, key: str
    ) -> tuple[bytes, int, int, int | None] | None:
        """Value, size, version and expiry of a key that is there."""
        row = (await connection.execute(_ENTRY, _place(context, key))).first()
        return None if row is None or not live_until(row[3], self._now()) else (row[0], row[1], row[2], row[3])

    async def _write(
        self, connection: AsyncConnection, context: CapabilityContext, key: str, value: bytes, expires_at: int | None
    ) -> None:
        row = self._row(context, key, value, expires_at)
        place = _place(context, key)
        try:
            await self._meter.charge_by(connection, self._charge, context, row["p_size"], place)
        except StorageFullError:
            if not await self._make_room(connection, context):
                raise
            await self._meter.charge_by(connection, self._charge, context, row["p_size"], place)
        await connection.execute(self._put, row)

    def _range(self, context: CapabilityContext, arguments: _Range) -> tuple[Select[Any], dict[str, Any]]:
        statement = _RANGE.limit(arguments.limit)
        if (end := successor(arguments.prefix)) is not None:
            statement = statement.where(_items.c.key < end)
        if arguments.after is not None:
            statement = statement.where(_items.c.key > arguments.after)
        return statement, {**_owner(context), "p_prefix": arguments.prefix, "p_now": self._now()}


# -- after a write to the same key, which tells what is there ----------------------------------------------------------


def _value_after(name: str, arguments: Any, told: bytes) -> tuple[bytes | None] | None:
    """What is there after a write, None in the tuple where nothing is; None where that is not known."""
    if name == "increment":
        return (told,)
    if name == "delete":
        return (None,)
    if arguments.ttl_s is None and (name == "set" or (name == "compare_and_set" and told == _TRUE)):
        return (bytes(arguments.value),)
    return None


def _get_after(_context: CapabilityContext, _arguments: _Get, name: str, written: Any, told: bytes) -> bytes | None:
    known = _value_after(name, written, told)
    if known is None:
        return None
    return _NOT_FOUND if known[0] is None else _FOUND + known[0]


def _increment_after(
    _context: CapabilityContext, arguments: _Increment, name: str, written: Any, told: bytes
) -> bytes | None:
    known = _value_after(name, written, told)
    if known is None:
        return None
    by, initial = check_number(arguments.by), check_number(arguments.initial)
    before = initial if known[0] is None else number_of(known[0], arguments.key)
    return answer(check_number(before + by))


def _compare_and_set_after(
    _context: CapabilityContext, arguments: _CompareAndSet, name: str, written: Any, told: bytes
) -> bytes | None:
    known = _value_after(name, written, told)
    if known is None or arguments.version is not None:
        return None
    plain_bytes(arguments.value, "value", VALUE_BYTES)
    expected = plain_bytes(arguments.expected, "expected", VALUE_BYTES)
    if expected == _NIL:
        return answer(known[0] is None)
    return answer(known[0] is not None and _is_same(known[0], expected))


def _delete_after(_context: CapabilityContext, _arguments: _Get, name: str, written: Any, told: bytes) -> bytes | None:
    known = _value_after(name, written, told)
    return None if known is None else answer(known[0] is not None)


def live_until(expires_at: int | None, now: int) -> bool:
    """Whether what expires then, or never, is there now; both in milliseconds since 1970."""
    return expires_at is None or expires_at > now


def check_number(number: Any) -> int | float:
    """A number that can be kept.

    Raises:
        NumberOutOfRangeError: It is not finite, or outside of 64 bits.
    """
    fits = math.isfinite(number) if isinstance(number, float) else number in _INTEGERS
    if not fits:
        raise NumberOutOfRangeError("the number would be outside of what can be kept")
    return number


def number_of(value: bytes, key: str) -> int | float:
    """The number that a value is, as msgpack.

    Raises:
        ValueKindError: It is something else.
    """
    number = _decode(value) if len(value) <= 9 else None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueKindError(f"what is kept under `{key[:80]}` is not a number")
    return number


async def _sizes(connection: AsyncConnection, params: dict[str, Any]) -> dict[str, int]:
    """Key → what it counts, of those asked for that have a row."""
    return {row[0]: row[1] for row in await connection.execute(_SIZES, params)}


def _owner(context: CapabilityContext) -> dict[str, Any]:
    return {"p_installation": context.data_id, "p_tenant": context.tenant_id}


def _place(context: CapabilityContext, key: str) -> dict[str, Any]:
    return {"p_installation": context.data_id, "p_tenant": context.tenant_id, "p_key": key}


def _fitting(keys: Sequence[str], sizes: dict[str, int]) -> tuple[list[str], list[str]]:
    """The first keys whose values fit one answer, and the others."""
    total = 0
    for number, key in enumerate(keys):
        total += sizes[key]
        if total > PAGE_BYTES and number:
            return list(keys[:number]), list(keys[number:])
    return list(keys), []


def _is_same(one: bytes, other: bytes) -> bool:
    """Whether two values are equal as data: the order of a map's keys does not matter; 1, 1.0 and true do differ."""
    return one == other or _canonical(_decode(one)) == _canonical(_decode(other))


def successor(prefix: str) -> str | None:
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
