"""The host's entities, always those of the acting tenant."""

from __future__ import annotations

from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.capabilities.where import Where, conditions
from jackfield_sdk.schema import to_plain

__all__ = ["Data", "Entity"]


class Entity:
    """One kind of entity; reading takes `NAME:read`, writing takes `NAME:write`."""

    __slots__ = ("_host", "_name")

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._name = name

    def get(self, id: str) -> dict[str, Any] | None:
        """The entity with this key, or None."""
        return self._call("get", id=id)

    def list(
        self, where: Where = None, *, order: str | list[str] | None = None, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Entities that meet all conditions. `order` names fields, `-field` descending; `limit` is at most 1000."""
        fields = [order] if isinstance(order, str) else order or []
        return self._call("list", where=to_plain(conditions(where)), order=fields, limit=limit, offset=offset)

    def count(self, where: Where = None) -> int:
        """Number of entities that meet all conditions."""
        return self._call("count", where=to_plain(conditions(where)))

    def create(self, **values: Any) -> dict[str, Any]:
        """Add one; the entity as stored."""
        return self._call("create", values=to_plain(values))

    def update(self, id: str, **changes: Any) -> dict[str, Any]:
        """Change fields of one; the entity as it is now."""
        return self._call("update", id=id, changes=to_plain(changes))

    def delete(self, id: str) -> bool:
        """Remove one; whether it was there."""
        return self._call("delete", id=id)

    def _call(self, operation: str, **arguments: Any) -> Any:
        return self._host.call("data", operation, {"entity": self._name, **arguments})


class Data:
    """`ctx.data`: the host's entities by name, as `ctx.data["customers"]`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getitem__(self, entity: str) -> Entity:
        return Entity(self._host, entity)

    def entities(self) -> list[str]:
        """Names of the entities that this installation may read."""
        return self._host.call("data", "entities", {})
