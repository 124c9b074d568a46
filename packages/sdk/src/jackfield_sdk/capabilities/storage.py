"""Key-value storage of the installation; values are whatever JSON can carry."""

from __future__ import annotations

from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.schema import to_plain

__all__ = ["Storage"]


class Storage:
    """`ctx.storage`: keys and values of the installation."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(self, key: str, default: Any = None) -> Any:
        """The stored value, or `default`."""
        answer = self._host.call("storage", "get", {"key": key})
        return answer["value"] if answer["found"] else default

    def set(self, key: str, value: Any) -> None:
        """Store a value; it replaces what was there."""
        self._host.call("storage", "set", {"key": key, "value": to_plain(value)})

    def delete(self, key: str) -> bool:
        """Remove a key; whether it was there."""
        return self._host.call("storage", "delete", {"key": key})

    def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> list[str]:
        """Keys that begin with `prefix`, sorted; `after` continues behind a key."""
        return self._host.call("storage", "keys", {"prefix": prefix, "limit": limit, "after": after})
