"""What every adapter offers. A second implementation passes the same suite: `tests/server/data_adapters`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jackfield.data_adapters.conditions import Condition, Order

__all__ = ["DataAdapter"]


class DataAdapter(Protocol):
    """Entities of one host, always those of one tenant, as plain data with the fields that plugins may see.

    Every method raises `EntityNotOpenError` for an unknown entity, and `FieldRefusedError` for a field that may not be
    named.
    """

    def entities(self) -> tuple[str, ...]:
        """Names of all entities, whoever may read them."""
        ...

    def key(self, entity: str) -> str:
        """Name of the field by which an entity is found."""
        ...

    async def get(self, tenant_id: str, entity: str, id: str) -> dict[str, Any] | None:
        """One entity, or None when this tenant has none with the key."""
        ...

    async def list(
        self, tenant_id: str, entity: str, where: Sequence[Condition], order: Sequence[Order], limit: int, offset: int
    ) -> list[dict[str, Any]]:
        """Entities that meet all conditions; in order of their key where `order` leaves it open.

        Raises:
            QueryTooSlowError: It was stopped at the time limit.
        """
        ...

    async def count(self, tenant_id: str, entity: str, where: Sequence[Condition]) -> int:
        """Number of entities that meet all conditions.

        Raises:
            QueryTooSlowError: It was stopped at the time limit.
        """
        ...

    async def create(self, tenant_id: str, entity: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add one; it is returned as stored.

        Raises:
            EntityReadOnlyError: Plugins may not change this entity.
            FieldValueError: A value does not fit.
            EntityConflictError: The host's constraints refuse it.
        """
        ...

    async def update(self, tenant_id: str, entity: str, id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change fields of one; it is returned as it is now.

        Raises:
            EntityNotFoundError: This tenant has none with the key.
            EntityReadOnlyError: As for `create`, like the others there.
        """
        ...

    async def delete(self, tenant_id: str, entity: str, id: str) -> bool:
        """Remove one; whether this tenant had it."""
        ...
