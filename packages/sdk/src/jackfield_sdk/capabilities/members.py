"""Members of the tenant, for plugins that may see them."""

from __future__ import annotations

from typing import Any

import msgspec

from jackfield_sdk.capabilities.host import Host

__all__ = ["Member", "Members"]


class Member(msgspec.Struct, frozen=True):
    """A person in the tenant.

    Attributes:
        role: `owner`, `admin` or `member`.
        locale: The member's own setting; empty when they have none.
    """

    id: str
    name: str
    role: str
    email: str
    locale: str = ""


class Members:
    """`ctx.members`: the tenant's members. Takes the permission `members:read`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def get(self, id: str) -> Member | None:
        """The member with this id, or None."""
        found: dict[str, Any] | None = self._host.call("members", "get", {"id": id})
        return None if found is None else Member(**found)

    def list(self, *, role: str | None = None, limit: int = 100, after: str | None = None) -> list[Member]:
        """Members by id, at most 1000 at once; `after` continues behind an id."""
        found = self._host.call("members", "list", {"role": role, "limit": limit, "after": after})
        return [Member(**one) for one in found]
