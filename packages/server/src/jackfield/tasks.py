"""Things that are done at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["together"]


async def together(*work: Coroutine[Any, Any, Any]) -> None:
    """Do all at the same time. When one fails the others are cancelled, and its error comes as it is.

    A task group's own error is a group, and whoever waits for a certain error would have to look into it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
