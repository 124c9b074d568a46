"""`GET /healthz` and `GET /readyz`: what a process manager and a load balancer ask, without a token.

Alive is a node that answers at all; to start it again helps nothing else. Ready is one that can do its work. Strangers
read which part is not well, and nothing about it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from fastapi import APIRouter, Response

__all__ = ["Check", "probes_router"]

Check = Callable[[], Awaitable[bool | str]]
"""Whether a part of the node is well; one that raises or takes too long is not. A word: the node can work, and what is
not as it should be."""

_log = structlog.get_logger("jackfield.probes")
_FOR_S: Final = 0.5
"""For how long what was found is told again: nobody makes work here by asking often."""
_PATIENCE_S: Final = 2.0


class _Looking:
    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._found: dict[str, bool | str] = {}
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def __call__(self) -> dict[str, bool | str]:
        """Part → whether it is well, or a word."""
        async with self._turn:
            if time.monotonic() >= self._until:
                found = {name: await self._is_well(name, check) for name, check in self._checks.items()}
                self._found, self._until = found, time.monotonic() + _FOR_S
            return self._found

    async def _is_well(self, name: str, check: Check) -> bool | str:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                is_well = await check()
        except Exception as error:  # whatever it is, the part is not well
            is_well = False
            reason = f"{type(error).__name__}: {error}"
        else:
            reason = is_well if isinstance(is_well, str) else ""
        if self._found.get(name, True) != is_well:
            is_good = is_well is True
            _log.log(20 if is_good else 30, "part-is-well-again" if is_good else "part-not-well", part=name, why=reason)
        return is_well


def probes_router(is_draining: Callable[[], bool], checks: Mapping[str, Check]) -> APIRouter:
    """The two endpoints.

    Args:
        is_draining: Whether the node has said that it is about to stop: at once not ready.
        checks: Part → its check, asked one after another.
    """
    routes = APIRouter(tags=["operations"])
    look = _Looking(checks)

    @routes.get("/healthz", operation_id="getAlive")
    async def get_alive() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Whether this process answers. Open to everybody."""
        return {"status": "ok"}

    @routes.get("/readyz", operation_id="getReady")
    async def get_ready(response: Response) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Whether this node can do its work (else 503), and which part of it cannot. Open to everybody."""
        response.headers["Cache-Control"] = "no-store"
        if is_draining():
            response.status_code = 503
            return {"status": "draining", "parts": {}}
        found = await look()
        is_ready = all(found.values())
        if not is_ready:
            response.status_code = 503
        parts = {name: _word(is_well) for name, is_well in found.items()}
        return {"status": "ok" if is_ready else "unavailable", "parts": parts}

    return routes


def _word(is_well: bool | str) -> str:
    return is_well if isinstance(is_well, str) else "ok" if is_well else "unavailable"
