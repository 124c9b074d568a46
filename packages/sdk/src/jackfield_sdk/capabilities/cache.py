"""Values in the memory of the node, for a while: what can be made again, and takes long to make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.schema import to_plain

__all__ = ["Cache"]


class Cache:
    """`ctx.cache`: may forget anything at any time, and another node has not heard of it. What must last is for
    `ctx.storage`.

    A key has up to 256 characters, a value up to 256 KiB as msgpack, an installation 4 MiB; what was not used for
    longest goes first. No other installation sees it.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default`."""
        answer = self._host.call("cache", "get", {"key": key})
        return answer["value"] if answer["found"] else default

    def set(self, key: str, value: Any, *, ttl_s: float = 300) -> None:
        """Keep a value for so many seconds, a day at most."""
        self._host.call("cache", "set", {"key": key, "value": to_plain(value), "ttl_s": ttl_s})

    def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        return self._host.call("cache", "delete", {"key": key})

    def increment(self, key: str, by: float = 1, *, initial: float = 0, ttl_s: float = 300) -> Any:
        """Add to a number; the number afterwards. It is this node's alone.

        Args:
            initial: What it is added to when the key is not there.
            ttl_s: Counts from when the key is made.

        Raises:
            CapabilityError: `value-not-a-number`, `number-out-of-range`.
        """
        return self._host.call("cache", "increment", {"key": key, "by": by, "initial": initial, "ttl_s": ttl_s})

    def get_or_set(self, key: str, make: Callable[[], Any], *, ttl_s: float = 300) -> Any:
        """The value; when it is not there, what `make` returns, which is kept. Two at once may both make it."""
        answer = self._host.call("cache", "get", {"key": key})
        if answer["found"]:
            return answer["value"]
        value = to_plain(make())
        self.set(key, value, ttl_s=ttl_s)
        return value
