"""A PostgreSQL of our own with its settings as they come: what it has said to be committed is on the disk."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.postgres import Postgres, running

__all__ = ["durable"]


@asynccontextmanager
async def durable() -> AsyncIterator[Postgres]:
    """A server that runs until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="jf-pg-") as folder:
        # Of root's: a server never runs as root, and must be able to reach its folder.
        os.chmod(folder, 0o755)
        manager = running(Path(folder) / "data")
        server = await asyncio.to_thread(manager.__enter__)
        try:
            # Those of the tests are careless.
            await server.run("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
            yield server
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)
