"""`cache`: values that a node keeps in its memory for a while, for one installation at a time.

Nothing here is promised: an entry goes when its time is up, when its installation, its tenant or the node has too much,
when the plugin changes, and with the node. Other nodes have entries of their own. So a plugin keeps here what it can
make again, and no database is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.operations import Arguments, Capability, answer, operation, plain_bytes
from jackfield.capabilities.storage import Key, check_number, number_of

__all__ = ["INSTALLATION_BYTES", "NODE_BYTES", "TENANT_BYTES", "VALUE_BYTES", "Cache", "Entries"]

VALUE_BYTES = 256 * 1024
INSTALLATION_BYTES = 4 * 1024 * 1024
TENANT_BYTES = 16 * 1024 * 1024
NODE_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES = 300
"""What an entry takes beside its key and value."""
_DAY_S = 24 * 3600
_DEFAULT_S = 300.0

_FOUND = b"\x82\xa5found\xc3\xa5value"
_NOT_FOUND = answer({"found": False, "value": None})
_encode = msgspec.msgpack.Encoder().encode


class _Get(Arguments, frozen=True):
    key: Key


Ttl = Annotated[float, Meta(ge=0.001, le=_DAY_S)]
"""Seconds; at most a day."""


class _Set(Arguments, frozen=True):
    key: Key
    value: msgspec.Raw
    ttl_s: Ttl = _DEFAULT_S


class _Increment(Arguments, frozen=True):
    key: Key
    by: int | float = 1
    initial: int | float = 0
    ttl_s: Ttl = _DEFAULT_S


class _Entry:
    """One value. A plain class with slots: millions come and go."""

    __slots__ = ("expires", "size", "value")

    def __init__(self, value: bytes, expires: float, size: int) -> None:
        self.value = value
        self.expires = expires
        self.size = size


class _Shelf:
    """What one installation has, the least recently used first."""

    __slots__ = ("entries", "size", "tenant_id")

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.entries: OrderedDict[str, _Entry] = OrderedDict()
        self.size = 0


class Entries:
    """All entries of a node, bounded for each installation, each tenant and the node.

    Whoever takes too much loses their own oldest entries. Only when the node as a whole has too much does another's go:
    of whoever was idle for longest.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        installation_bytes: int = INSTALLATION_BYTES,
        tenant_bytes: int = TENANT_BYTES,
        node_bytes: int = NODE_BYTES,
    ) -> None:
        self._monotonic = monotonic
        self._installation_bytes = installation_bytes
        self._tenant_bytes = tenant_bytes
        self._node_bytes = node_bytes
        # By installation, the one that was idle for longest first.
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()
        self._tenants: dict[str, int] = {}
        self.size = 0

    def get(self, tenant_id: str, installation_id: str, key: str) -> _Entry | None:
        """An entry that is there."""
        shelf = self._shelves.get(installation_id)
        if shelf is None or shelf.tenant_id != tenant_id:
            return None
        entry = shelf.entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._monotonic():
            self._drop(installation_id, shelf, key)
            return None
        shelf.entries.move_to_end(key)
        self._shelves.move_to_end(installation_id)
        return entry

    def put(self, tenant_id: str, installation_id: str, key: str, value: bytes, expires: float) -> None:
        """Keep a value until then, at most."""
        shelf = self._shelves.get(installation_id)
        if shelf is None or shelf.tenant_id != tenant_id:
            self.forget(installation_id)
            shelf = self._shelves[installation_id] = _Shelf(tenant_id)
        elif key in shelf.entries:
            self._drop(installation_id, shelf, key, keeps_shelf=True)
        size = _ENTRY_BYTES + len(key) * 4 + len(value)
        shelf.entries[key] = _Entry(value, expires, size)
        self._count(shelf, size)
        self._shelves.move_to_end(installation_id)
        while shelf.size > self._installation_bytes:
            self._drop(installation_id, shelf, next(iter(shelf.entries)))
        while self._tenants.get(tenant_id, 0) > self._tenant_bytes:
            self._drop_oldest(tenant_id)
        while self.size > self._node_bytes:
            self._drop_oldest(None)

    def delete(self, tenant_id: str, installation_id: str, key: str) -> bool:
        """Drop an entry; whether it was there."""
        found = self.get(tenant_id, installation_id, key) is not None
        if found:
            self._drop(installation_id, self._shelves[installation_id], key)
        return found

    def forget(self, installation_id: str) -> None:
        """Drop all that an installation has."""
        shelf = self._shelves.pop(installation_id, None)
        if shelf is not None:
            self._count(shelf, -shelf.size)

    def _drop_oldest(self, tenant_id: str | None) -> None:
        # A tenant has some hundred plugins at most, and nobody comes here who has not filled megabytes before.
        for installation_id, shelf in self._shelves.items():
            if tenant_id is None or shelf.tenant_id == tenant_id:
                self._drop(installation_id, shelf, next(iter(shelf.entries)))
                return

    def _drop(self, installation_id: str, shelf: _Shelf, key: str, *, keeps_shelf: bool = False) -> None:
        self._count(shelf, -shelf.entries.pop(key).size)
        if not shelf.entries and not keeps_shelf:
            del self._shelves[installation_id]

    def _count(self, shelf: _Shelf, size: int) -> None:
        shelf.size += size
        self.size += size
        left = self._tenants.get(shelf.tenant_id, 0) + size
        if left:
            self._tenants[shelf.tenant_id] = left
        else:
            self._tenants.pop(shelf.tenant_id, None)


class Cache:
    """The capability."""

    def __init__(self, monotonic: Callable[[], float], entries: Entries | None = None) -> None:
        self._monotonic = monotonic
        self.entries = entries or Entries(monotonic)
        self.operations: Capability = {
            "get": operation(_Get, "cache", self._get),
            "set": operation(_Set, "cache", self._set),
            "increment": operation(_Increment, "cache", self._increment),
            "delete": operation(_Get, "cache", self._delete),
        }

    async def _get(self, context: CapabilityContext, arguments: _Get) -> bytes:
        entry = self.entries.get(context.tenant_id, context.installation_id, arguments.key)
        return _NOT_FOUND if entry is None else _FOUND + entry.value

    async def _set(self, context: CapabilityContext, arguments: _Set) -> bytes:
        value = plain_bytes(arguments.value, "value", VALUE_BYTES)
        self._put(context, arguments.key, value, self._monotonic() + arguments.ttl_s)
        return answer(None)

    async def _increment(self, context: CapabilityContext, arguments: _Increment) -> bytes:
        """The number afterwards. A lifetime counts from when the key is made; it is not prolonged."""
        check_number(arguments.by)
        check_number(arguments.initial)
        entry = self.entries.get(context.tenant_id, context.installation_id, arguments.key)
        before = arguments.initial if entry is None else number_of(entry.value, arguments.key)
        after = check_number(before + arguments.by)
        expires = self._monotonic() + arguments.ttl_s if entry is None else entry.expires
        self._put(context, arguments.key, _encode(after), expires)
        return answer(after)

    async def _delete(self, context: CapabilityContext, arguments: _Get) -> bytes:
        return answer(self.entries.delete(context.tenant_id, context.installation_id, arguments.key))

    def _put(self, context: CapabilityContext, key: str, value: bytes, expires: float) -> None:
        self.entries.put(context.tenant_id, context.installation_id, key, value, expires)
