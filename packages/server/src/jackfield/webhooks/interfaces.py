"""What webhooks need from above. `app` fills it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

__all__ = ["SEALED_FOR", "LimitOf", "Sealer", "Tell"]

SEALED_FOR = "~webhooks"
"""In place of a plugin's slug, in what secrets are bound to; no slug begins so."""

LimitOf = Callable[[str], Awaitable[int | None]]
"""How many endpoints a tenant may have; None: without a limit."""


class Sealer(Protocol):
    """Keeps secrets; `capabilities.Envelope` in a node."""

    async def seal(self, session: AsyncSession, tenant_id: str, slug: str, name: str, plaintext: str) -> str:
        """What is stored."""
        ...

    async def open(self, token: str, tenant_id: str, slug: str, name: str) -> str:
        """The secret."""
        ...


class Tell(Protocol):
    """Tells a tenant's owners and admins something."""

    async def __call__(self, tenant_id: str, title: str, body: str) -> None:
        """Say it."""
        ...
