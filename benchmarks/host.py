"""A host with the platform inside, as a product embeds it: a surface, tenants, published plugins.

Everything measured goes through `Platform` and `Tenant`. What a measurement needs beside them, such as ending an
isolate so that the next call is a first one, is here and outside of what is timed.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jackfield import Event, FilterHook, Platform, Settings, Slot, Surface, Tenant, telemetry
from jackfield_cli.keys import SigningKey
from jackfield_cli.pack import pack_project
from jackfield_sdk import hooks

__all__ = ["ECHO", "PROBE", "SMALL", "UNHEARD", "Host", "Installed", "started"]

HOUSE = Path(__file__).resolve().parent.parent
ECHO = HOUSE / "plugins" / "echo"
PROBE = HOUSE / "benchmarks" / "probe"
SMALL = HOUSE / "benchmarks" / "small"

UNHEARD = "sale.beforeRefund"
"""A hook point that no plugin here listens to."""

SURFACE = Surface(
    filters=[FilterHook("booking.beforeCreate", hooks.Booking), FilterHook(UNHEARD)],
    events=[Event("demo.ping", hooks.Ping)],
    slots=[Slot("Dashboard.Widgets"), Slot("POS.BeforeCheckout", hooks.Sale)],
)

PUBLISHER = "benchmarks"
# Each installation runs handlers of its own: a few at a time keep both processors at work.
INSTALLING = 4
GONE_TIMEOUT_S = 5


class Host:
    """A started platform and one signing key."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.database = folder / "data" / "jackfield.sqlite3"
        self._folder = folder
        self._key = SigningKey(Ed25519PrivateKey.generate())

    async def publish(self, *plugins: Path) -> None:
        """Pack, sign and publish plugin folders, as their authors would."""
        registry = self.platform.registry
        await registry.ensure_publisher(PUBLISHER)
        await registry.add_key(PUBLISHER, self._key.public, self._key.proof(PUBLISHER))
        for plugin in plugins:
            packed = await asyncio.to_thread(
                pack_project, plugin, self._folder, level=self.platform.settings.isolation, key=self._key
            )
            await registry.publish(_chunks(packed.path), PUBLISHER)

    async def install(self, slug: str, *, tenants: int) -> list[Installed]:
        """New tenants, each with the plugin active."""
        gate = asyncio.Semaphore(INSTALLING)

        async def one(number: int) -> Installed:
            async with gate:
                tenant_id = f"{slug}-{number}"
                await self.platform.tenants.create_tenant(tenant_id, tenant_id=tenant_id)
                installed = await self.platform.lifecycle.install(tenant_id, slug)
                return Installed(self, self.platform.tenant(tenant_id), slug, installed.id)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(tenants)]
        return [task.result() for task in tasks]


class Installed:
    """A plugin at a tenant."""

    def __init__(self, host: Host, tenant: Tenant, slug: str, installation_id: str) -> None:
        self.tenant = tenant
        self._host = host
        self._slug = slug
        self._installation_id = installation_id

    async def call(self, function: str, **arguments: Any) -> Any:
        """The output of a function.

        Raises:
            RuntimeError: It failed; a benchmark of failures measures nothing.
        """
        result = await self.tenant.call(self._slug, function, arguments)
        if not result.success:
            raise RuntimeError(f"{self._slug}.{function} failed: {result.error}")
        return result.output

    async def timed_echo(self) -> float:
        """Seconds of one call of `echo`."""
        start = perf_counter()
        result = await self.tenant.call(self._slug, "echo", {"text": "hi"})
        seconds = perf_counter() - start
        if not result.success:
            raise RuntimeError(f"{self._slug}.echo failed: {result.error}")
        return seconds

    async def stop(self) -> None:
        """End its isolates, and wait until their processes are gone, so that their end is not in the next figure."""
        isolates = self._host.platform.isolates
        before = set(isolates.pids())
        await isolates.retire(self._installation_id)
        ended = before - set(isolates.pids())
        async with asyncio.timeout(GONE_TIMEOUT_S):
            while any(map(_is_there, ended)):  # noqa: ASYNC110  # no event to wait for: they are not our children
                await asyncio.sleep(0.001)


@asynccontextmanager
async def started(*plugins: Path, isolates: int = 512) -> AsyncIterator[Host]:
    """A host on a database of its own, with these plugins published."""
    telemetry.configure(level=logging.WARNING, stream=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="jackfield-bench-") as name:
        folder = Path(name)
        settings = Settings(
            data_dir=folder / "data",
            secret_key=f"bench:{base64.b64encode(os.urandom(32)).decode()}",
            isolation=isolation(),
            isolate_budget=isolates,
        )
        async with Platform(settings, SURFACE) as platform:
            host = Host(platform, folder)
            await host.publish(*plugins)
            yield host


def isolation() -> Any:
    """The level that is asked for by the environment, or else the strictest that this process may have."""
    return os.environ.get("JACKFIELD_ISOLATION") or ("strict" if os.geteuid() == 0 else "unprivileged")


def _is_there(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(path.read_bytes)
