"""What connections ask of those above them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jackfield_sdk.manifest import Manifest

__all__ = ["InstallationSource", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """The installation that a connection belongs to."""

    id: str
    slug: str
    manifest: Manifest


class InstallationSource(Protocol):
    """Knows installations; the life cycle in a node."""

    async def __call__(self, tenant_id: str, slug: str, instance: str) -> Target:
        """One installation that the tenant can see.

        Raises:
            MissingError: There is none.
        """
        ...
