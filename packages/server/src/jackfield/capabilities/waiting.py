"""Waiting for the end of an update instead of failing because of it: most take less than a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import UpdateUnderwayError
from jackfield.db.joint import joint

__all__ = ["PATIENCE_S", "patient", "patiently"]

A = TypeVar("A")
T = TypeVar("T")
PATIENCE_S = 5.0
_AGAIN_S = 0.05


def patient(
    run: Callable[[CapabilityContext, A], Awaitable[bytes]],
) -> Callable[[CapabilityContext, A], Awaitable[bytes]]:
    """An operation that is tried again while an update keeps everybody from writing. No transaction is open meanwhile.

    Whoever waits has no slot that others need but his own isolate, and his own call's time runs on.
    """

    async def run_patiently(context: CapabilityContext, arguments: A) -> bytes:
        try:
            return await run(context, arguments)
        except UpdateUnderwayError:
            if joint.get() is not None:
                raise  # a larger transaction is open, which ends first; whoever began it waits
        return await _wait(lambda: run(context, arguments))

    return run_patiently


async def patiently(run: Callable[[], Awaitable[T]]) -> T:
    """The same, for work that opens a transaction of its own."""
    try:
        return await run()
    except UpdateUnderwayError:
        pass
    return await _wait(run)


async def _wait(run: Callable[[], Awaitable[T]]) -> T:
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_S
    while True:
        await asyncio.sleep(_AGAIN_S)
        try:
            return await run()
        except UpdateUnderwayError:
            if loop.time() >= until:
                raise
