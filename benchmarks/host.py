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
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, insert, inspect, select

from benchmarks.collector import as_served
from jackfield import Entity, Event, FilterHook, Platform, Settings, Slot, Surface, Tenant, telemetry
from jackfield.db import Base
from jackfield.extension_points import FunctionResult
from jackfield.health.models import HealthCheckRow
from jackfield.ids import new_id
from jackfield.lifecycle.models import InstallationRow
from jackfield.settings import BreakerSettings, CrashSettings, HealthSettings
from jackfield.tenants import Tenant as TenantRow
from jackfield_cli.keys import SigningKey
from jackfield_cli.pack import pack_project
from jackfield_sdk import hooks

__all__ = [
    "CLOCK", "CUSTOMERS", "ECHO", "LISTER", "PATIENT", "PROBE", "ROWDY", "SMALL", "UNHEARD", "Host", "Installed",
    "started",
]  # fmt: skip

HOUSE = Path(__file__).resolve().parent.parent
ECHO = HOUSE / "plugins" / "echo"
PROBE = HOUSE / "benchmarks" / "probe"
CLOCK = HOUSE / "benchmarks" / "clock"
LISTER = HOUSE / "benchmarks" / "lister"
ROWDY = HOUSE / "benchmarks" / "rowdy"
SMALL = HOUSE / "benchmarks" / "small"

UNHEARD = "sale.beforeRefund"
"""A hook point that no plugin here listens to."""

CUSTOMERS = Table(
    "bench_customers",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(64), nullable=False, index=True),
    Column("name", String(80), nullable=False),
    Column("email", String(120)),
    Column("city", String(80)),
    Column("points", Integer, nullable=False),
    Column("visits", Integer, nullable=False),
    Column("vip", Boolean, nullable=False),
)
"""The host's own; made by the question that asks about it."""

SURFACE = Surface(
    filters=[FilterHook("booking.beforeCreate", hooks.Booking), FilterHook(UNHEARD)],
    events=[Event("demo.ping", hooks.Ping)],
    slots=[Slot("Dashboard.Widgets"), Slot("POS.BeforeCheckout", hooks.Sale)],
    entities=[
        Entity(
            "customers",
            CUSTOMERS,
            readable=tuple(name for name in CUSTOMERS.columns.keys() if name != "tenant_id"),  # noqa: SIM118  # no dict
        )
    ],
)

_MANY = 1_000_000
PATIENT = HealthSettings(
    breaker=BreakerSettings(in_a_row=_MANY, minimum=_MANY), crashes=CrashSettings(grace=_MANY, limit=_MANY)
)
"""Plugins are called again however often they have failed."""

PUBLISHER = "benchmarks"
# Each installation runs handlers of its own: a few at a time keep both processors at work.
INSTALLING = 4
GONE_TIMEOUT_S = 5
COPIED_AT_ONCE = 500


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

    async def install(self, slug: str, *, tenants: int, grants: Iterable[str] = ()) -> list[Installed]:
        """New tenants, each with the plugin active."""
        gate = asyncio.Semaphore(INSTALLING)

        async def one(number: int) -> Installed:
            async with gate:
                tenant_id = f"{slug}-{number}"
                await self.platform.tenants.create_tenant(tenant_id, tenant_id=tenant_id, plan="enterprise")
                installed = await self.platform.lifecycle.install(tenant_id, slug, grants=list(grants))
                return Installed(self, self.platform.tenant(tenant_id), slug, installed.id)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(tenants)]
        return [task.result() for task in tasks]

    async def install_more(self, slug: str, count: int) -> list[Installed]:
        """Several installations of one plugin at one new tenant."""
        tenant_id = f"{slug}-all"
        await self.platform.tenants.create_tenant(tenant_id, tenant_id=tenant_id, plan="enterprise")
        found: list[Installed] = []
        for number in range(count):
            key = f"copy{number}"
            installed = await self.platform.lifecycle.install(tenant_id, slug, instance=key)
            found.append(Installed(self, self.platform.tenant(tenant_id), f"{slug}@{key}", installed.id))
        return found

    async def copies(self, tenant_id: str, count: int) -> list[list[Installed]]:
        """New tenants with the same plugins active as a tenant that has no secrets; by slug and instance at each.

        Their rows are written straight into the tables, health checks as adopted: 100,000 in seconds, where the life
        cycle runs handlers and takes a quarter of an hour. Set-up, never what is timed.
        """
        database, tomorrow = self.platform.database, self.platform.clock.now() + timedelta(days=1)
        async with database.read(tenant_id) as session:
            tenant = _columns(await session.get_one(TenantRow, tenant_id))
            order = (InstallationRow.slug, InstallationRow.instance)
            patterns = [_columns(row) for row in await session.scalars(select(InstallationRow).order_by(*order))]
        found: list[list[Installed]] = []
        for first in range(0, count, COPIED_AT_ONCE):
            names = [f"{tenant_id}-copy{number}" for number in range(first, min(first + COPIED_AT_ONCE, count))]
            rows = [{**row, "id": new_id("inst"), "tenant_id": name} for name in names for row in patterns]
            checks = [
                {
                    "installation_id": row["id"], "tenant_id": row["tenant_id"], "status": "unknown", "message": "",
                    "consecutive_failures": 0, "next_check_at": tomorrow,
                }
                for row in rows
            ]  # fmt: skip
            async with database.write(None) as session:
                await session.execute(insert(TenantRow), [{**tenant, "id": name, "name": name} for name in names])
                await session.execute(insert(InstallationRow), rows)
                await session.execute(insert(HealthCheckRow), checks)
            each = len(patterns)
            for number, name in enumerate(names):
                handle = self.platform.tenant(name)
                own = rows[number * each : (number + 1) * each]
                found.append([Installed(self, handle, _name_of(row), row["id"]) for row in own])
        return found


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

    async def attempt(self, function: str, **arguments: Any) -> FunctionResult:
        """The result of a function, however it ends."""
        return await self.tenant.call(self._slug, function, arguments)

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
async def started(*plugins: Path, isolates: int = 512, **more: Any) -> AsyncIterator[Host]:
    """A host on a database of its own, with these plugins published.

    Args:
        more: Further settings.
    """
    telemetry.configure(level=logging.WARNING, stream=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="jackfield-bench-") as name:
        folder = Path(name)
        settings = Settings(
            data_dir=folder / "data",
            secret_key=f"bench:{base64.b64encode(os.urandom(32)).decode()}",
            isolation=isolation(),
            isolate_budget=isolates,
            **more,
        )
        async with Platform(settings, SURFACE) as platform:
            host = Host(platform, folder)
            await host.publish(*plugins)
            with as_served():
                yield host


def isolation() -> Any:
    """The level that is asked for by the environment, or else the strictest that this process may have."""
    return os.environ.get("JACKFIELD_ISOLATION") or ("strict" if os.geteuid() == 0 else "unprivileged")


def _columns(row: Base) -> dict[str, Any]:
    return {attribute.key: getattr(row, attribute.key) for attribute in inspect(row).mapper.column_attrs}


def _name_of(row: dict[str, Any]) -> str:
    return row["slug"] if row["instance"] == "default" else f"{row['slug']}@{row['instance']}"


def _is_there(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(path.read_bytes)
