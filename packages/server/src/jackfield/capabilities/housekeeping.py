"""What the capabilities do by themselves: sweep what has expired, write down what was noted, wrap keys anew."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from sqlalchemy.exc import SQLAlchemyError

from jackfield.capabilities.files import Files
from jackfield.capabilities.leaks import LeakBook
from jackfield.capabilities.rotation import Rotation
from jackfield.capabilities.secret_uses import SecretUses
from jackfield.capabilities.storage import Storage
from jackfield.errors import JackfieldError

__all__ = ["Housekeeping"]

_log = structlog.get_logger("jackfield.housekeeping")

_FLUSH_S = 5.0
_SWEEP_ROUNDS = 6
"""Every so many flushes it sweeps."""
_REWRAP_ROUNDS = 60
_PAUSE_S = 0.05


class Housekeeping:
    """One per node. Several nodes may do the same at once; each takes what it finds.

    Attributes:
        rotation: Looks after keys; none in tests of a gate alone.
    """

    def __init__(self, storage: Storage, files: Files, uses: SecretUses, leaks: LeakBook) -> None:
        self.storage = storage
        self.files = files
        self.uses = uses
        self.leaks = leaks
        self.rotation: Rotation | None = None
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is a new key: do not wait until the next look."""
        self._woken.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        rounds = 0
        while True:
            if rounds % _REWRAP_ROUNDS == 0 or self._woken.is_set():
                self._woken.clear()
                await self.rewrap()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._woken.wait()
            await self.flush()
            rounds += 1
            if rounds % _SWEEP_ROUNDS == 0:
                await self.sweep()

    async def flush(self) -> None:
        """Write down what was noted. Without a database it is lost, and no more than that."""
        for book in (self.uses, self.leaks):
            try:
                await book.flush()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("not-written-down", book=type(book).__name__, error=str(error))

    async def sweep(self) -> None:
        """Remove all that has expired, a part at a time so that others get to write."""
        for chore in (self.storage.sweep, self.files.sweep):
            while await chore():  # noqa: ASYNC110  # not to wait for it, but to let others write in between
                await asyncio.sleep(_PAUSE_S)

    async def rewrap(self) -> None:
        """Bring everything under the first key. A key that is missing is told, and keeps nobody from work."""
        if self.rotation is not None:
            try:
                await self.rotation.rewrap()
            except JackfieldError as error:
                _log.error("keys-not-rewrapped", error=str(error), code=error.code, hint=error.hint)
