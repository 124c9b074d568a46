"""Key-value storage of the installation; values are whatever JSON can carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.schema import to_plain

__all__ = ["Entry", "Storage"]

_AT_ONCE = 100
"""Keys that one operation takes."""


class Entry:
    """A value as it is stored, with what names this state of it.

    Attributes:
        version: Another one with each write of the key.
        expires_at: Seconds since 1970; None when it stays.
    """

    __slots__ = ("expires_at", "value", "version")

    def __init__(self, value: Any, version: str, expires_at: float | None) -> None:
        self.value = value
        self.version = version
        self.expires_at = expires_at


class Storage:
    """`ctx.storage`: keys and values of the installation.

    A key has up to 256 characters, a value up to 256 KiB as msgpack. What an installation keeps in all is a matter of
    the tenant's plan (`storage-full`). `ttl_s` is a lifetime in seconds: when it is over, the key is gone.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(self, key: str, default: Any = None) -> Any:
        """The stored value, or `default`."""
        answer = self._host.call("storage", "get", {"key": key})
        return answer["value"] if answer["found"] else default

    def set(self, key: str, value: Any, *, ttl_s: float | None = None) -> None:
        """Store a value; it replaces what was there, and its lifetime."""
        self._host.call("storage", "set", _timed({"key": key, "value": to_plain(value)}, ttl_s))

    def delete(self, key: str) -> bool:
        """Remove a key; whether it was there."""
        return self._host.call("storage", "delete", {"key": key})

    def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> list[str]:
        """Keys that begin with `prefix`, sorted; `after` continues behind a key."""
        return self._host.call("storage", "keys", {"prefix": prefix, "limit": limit, "after": after})

    def entry(self, key: str) -> Entry | None:
        """The value with its version, for `compare_and_set`; None when the key is not there."""
        answer = self._host.call("storage", "entry", {"key": key})
        return None if answer is None else Entry(answer["value"], answer["version"], answer["expires_at"])

    def compare_and_set(self, key: str, expected: Any, value: Any, *, ttl_s: float | None = None) -> bool:
        """Store a value if nobody has stored another meanwhile; whether it was stored.

        Args:
            expected: What the value has to be now: a value, or what `entry` gave, and then no write at all may have
                come in between. None: the key must not be there.
        """
        arguments: dict[str, Any] = {"key": key, "value": to_plain(value)}
        if isinstance(expected, Entry):
            arguments["version"] = expected.version
        else:
            arguments["expected"] = to_plain(expected)
        return self._host.call("storage", "compare_and_set", _timed(arguments, ttl_s))

    def increment(self, key: str, by: float = 1, *, initial: float = 0, ttl_s: float | None = None) -> Any:
        """Add to a number, whoever else does so at the same time; the number afterwards, an `int` as long as all are.

        Args:
            initial: What it is added to when the key is not there.
            ttl_s: Counts from when the key is made; to add to it does not prolong its life.

        Raises:
            CapabilityError: `value-not-a-number`, `number-out-of-range`.
        """
        return self._host.call("storage", "increment", _timed({"key": key, "by": by, "initial": initial}, ttl_s))

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Values of those keys that are there."""
        found: dict[str, Any] = {}
        rest = list(dict.fromkeys(keys))
        while rest:
            answer = self._host.call("storage", "get_many", {"keys": rest[:_AT_ONCE]})
            found.update(answer["found"])
            rest = answer["rest"] + rest[_AT_ONCE:]
        return found

    def set_many(self, items: Mapping[str, Any], *, ttl_s: float | None = None) -> None:
        """Store up to 100 values, 256 KiB together: all of them, or, when one cannot be stored, none."""
        if items:
            plain = {key: to_plain(value) for key, value in items.items()}
            self._host.call("storage", "set_many", _timed({"items": plain}, ttl_s))

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Keys that begin with `prefix`, sorted, with their values. They are fetched a page at a time."""
        after: str | None = None
        while True:
            answer = self._host.call("storage", "items", {"prefix": prefix, "limit": 200, "after": after})
            yield from [(key, value) for key, value in answer["items"]]
            after = answer["next"]
            if after is None:
                return

    def delete_prefix(self, prefix: str) -> int:
        """Remove all keys that begin with `prefix`, which must not be empty; how many there were."""
        count = 0
        while True:
            answer = self._host.call("storage", "delete_prefix", {"prefix": prefix})
            count += answer["deleted"]
            if not answer["more"]:
                return count


def _timed(arguments: dict[str, Any], ttl_s: float | None) -> dict[str, Any]:
    if ttl_s is not None:
        arguments["ttl_s"] = ttl_s
    return arguments
