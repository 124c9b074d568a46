"""The platform inside this application: its database, its hook points, its widgets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncSession

from corner_shop.extension.plugins import Plugins
from corner_shop.extension.surface import surface
from corner_shop.shop.models import Base
from jackfield import Platform, Settings, telemetry
from jackfield.capabilities import ensure_key_file
from jackfield.errors import JackfieldError
from jackfield.http import Caller as Listener
from jackfield_sdk.wire import Caller

__all__ = ["Extension", "Shown", "configure_logging"]

_log = logging.getLogger(__name__)
_LISTENS_S = 300.0


@dataclass(frozen=True)
class Shown:
    """What one plugin shows in a slot.

    Attributes:
        tree: A `ui/v1` node; None when the plugin failed.
        error: Why it failed; for the log and for managers.
    """

    plugin: str
    title: str
    tree: Any
    error: str


class Extension:
    """A started platform with this application's surface.

    Args:
        data_dir: Holds the database file that both share, and everything else that must survive a restart.

    Attributes:
        platform: For setting up; pages use what is below.
        plugins: What is installed and what could be.
    """

    def __init__(self, data_dir: Path, *, public_url: str) -> None:
        # The platform refuses to start without a key for secrets. On a first run, and only then, we make one.
        ensure_key_file(data_dir)
        self.platform = Platform(Settings(data_dir=data_dir, public_url=public_url), surface())
        self.plugins = Plugins(self.platform)

    async def __aenter__(self) -> Self:
        await self.platform.start()
        await self.platform.make_tables(Base.metadata)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.platform.stop()

    @property
    def asgi(self) -> Any:
        """The platform's own HTTP API."""
        return self.platform.asgi

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session that only reads."""
        return self.platform.database.read(None)

    def write(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A short transaction, committed at the end of the block."""
        return self.platform.database.write(None)

    def tenant(self, tenant_id: str) -> Any:
        """Hook points and events of one organisation: `filter` and `emit`."""
        return self.platform.tenant(tenant_id)

    async def changes(self, tenant_id: str, caller: Caller) -> AsyncGenerator[bytes]:
        """Events that name widgets which show something else by now, for a few minutes; then the browser comes back,
        and is asked again who it is."""
        listener = Listener("member", tenant_id, caller.id)
        try:
            stream, _ = await self.platform.live.open(tenant_id, listener, frozenset({"widget"}))
        except JackfieldError as error:
            _log.warning("a page of %s does not hear of changes: %s", tenant_id, error)
            yield b"retry: 60000\n\n"
            return
        try:
            yield b"retry: 2000\n\n"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LISTENS_S):
                    while (event := await stream.next()) is not None:
                        yield event.frame
        finally:
            self.platform.live.leave(stream)

    async def widgets(self, tenant_id: str, slot: str, context: dict[str, Any], caller: Caller) -> list[Shown]:
        """What plugins show in a slot. A page is more than its plugins: whatever fails here, it does without them."""
        try:
            results = await self.platform.tenant(tenant_id).widgets(slot, context, caller=caller)
        except JackfieldError as error:
            _log.warning("slot %s of %s stays empty: %s", slot, tenant_id, error)
            return []
        return [
            Shown(
                plugin=result.plugin,
                title=result.title,
                tree=result.tree,
                error=result.error.message if result.error else "",
            )
            for result in results
        ]

    async def deliveries_done(self, within_s: float) -> bool:
        """Wait until plugins have received every event that is due; False when they need longer."""
        try:
            await self.platform.drain_events(within_s)
        except TimeoutError:
            return False
        return True


def configure_logging() -> None:
    """Warnings and worse, of this application and of the platform, on standard error and without secrets."""
    telemetry.configure(level=logging.WARNING)
