"""Operations of one node on the same plugin of a tenant wait for one another; the journal would refuse the second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

__all__ = ["Turns"]


class Turns:
    """Hands out turns. A lock lives as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, tenant_id: str, slugs: Iterable[str]) -> AsyncGenerator[None]:
        """Hold the turn of all these plugins, always taken in the same order, so that no two wait for each other."""
        async with AsyncExitStack() as stack:
            for slug in sorted(set(slugs)):
                lock = self._locks.setdefault((tenant_id, slug), asyncio.Lock())
                await stack.enter_async_context(lock)
            yield
