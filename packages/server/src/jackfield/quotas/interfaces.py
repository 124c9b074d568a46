"""What quotas see of a call, and what they ask of those above: shapes only, since those folders are higher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jackfield_sdk.manifest import Manifest

__all__ = ["Call", "Caused", "Ended", "Holding", "Installed", "Inventory", "Origin"]


class Installed(Protocol):
    """An installation; `invocation.ActiveInstallation` in a node."""

    @property
    def id(self) -> str: ...

    @property
    def tenant_id(self) -> str: ...

    @property
    def slug(self) -> str: ...

    @property
    def manifest(self) -> Manifest: ...


class Call(Protocol):
    """A call that wants in; `invocation.Invocation` in a node."""

    @property
    def installation(self) -> Installed: ...

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> Origin | None: ...


class Caused(Protocol):
    """A call within which another one is made; `capabilities.CapabilityContext` in a node."""

    @property
    def installation_id(self) -> str: ...


class Origin(Protocol):
    """How a call came about; `capabilities.Origin` in a node."""

    @property
    def chain(self) -> Sequence[Caused]: ...


class Ended(Protocol):
    """What a call cost; `invocation.Outcome` in a node."""

    @property
    def cpu_ms(self) -> float: ...

    @property
    def host_calls(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Holding:
    """What one installation keeps.

    Attributes:
        plugin: Its slug, with `@instance` for an instance other than the first.
    """

    installation_id: str
    plugin: str
    storage_bytes: int
    rows: int


class Inventory(Protocol):
    """Installations and what they keep; `lifecycle.Inventory` in a node."""

    async def holdings(self, tenant_id: str) -> Sequence[Holding]:
        """Of each installation that a tenant can see, by plugin."""
        ...

    async def tenant_of(self, installation_id: str) -> str | None:
        """Whose installation it is; None when there is none."""
        ...
