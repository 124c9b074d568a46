"""A host with a table of its own, run as a process that can be killed: `python host_process.py DATA COMMAND`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select

from jackfield import Event, FilterHook, Platform, Settings, Slot, Surface, ensure_key_file
from jackfield_sdk import hooks

metadata = MetaData()
sales = Table("host_sales", metadata, Column("id", String, primary_key=True), Column("n", Integer, nullable=False))
TENANT = "acme"
PACKAGE = Path(sys.argv[3]).read_bytes() if sys.argv[2:3] == ["prepare"] else b""


def build(data: Path) -> Platform:
    """The platform, embedded."""
    ensure_key_file(data)
    surface = Surface(
        filters=[FilterHook("booking.beforeCreate", hooks.Booking)],
        events=[Event("demo.ping", hooks.Ping)],
        slots=[Slot("Dashboard.Widgets"), Slot("POS.BeforeCheckout")],
    )
    return Platform(Settings(data_dir=data), surface)


async def prepare(platform: Platform, package: bytes) -> None:
    """Publish and install the plugin in a package, and make the host's own table."""
    from jackfield_cli.keys import default_key

    await platform.make_tables(metadata)
    await platform.tenants.ensure_tenant(TENANT, "Acme")
    key = default_key()
    await platform.registry.ensure_publisher("pub", "Pub")
    await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")

    async def chunks() -> AsyncGenerator[bytes]:
        yield package

    release = await platform.registry.publish(chunks(), "pub")
    await platform.lifecycle.install(TENANT, release.slug, grants=release.manifest.permissions)


async def sell(platform: Platform, count: int, *, dies: bool) -> None:
    """Commit a sale with its event each, and roll one back each."""
    tenant = platform.tenant(TENANT)
    for n in range(count):
        async with platform.database.write(None) as session:
            await session.execute(insert(sales).values(id=f"s{n}-{os.getpid()}", n=n))
            await tenant.emit("demo.ping", {"n": n}, session=session)
        try:
            async with platform.database.write(None) as session:
                await session.execute(insert(sales).values(id=f"x{n}-{os.getpid()}", n=1000 + n))
                await tenant.emit("demo.ping", {"n": 1000 + n}, session=session)
                raise RuntimeError("the host changes its mind")
        except RuntimeError:
            pass
    if dies:
        # At once: nothing has a chance to tidy up, and most of it has not been delivered.
        os.kill(os.getpid(), signal.SIGKILL)


async def report(platform: Platform) -> dict[str, object]:
    """What the host has, and what the plugin has heard."""
    await platform.drain_events()
    async with platform.database.read(None) as session:
        rows = (await session.execute(select(func.count()).select_from(sales))).scalar_one()
    pings = await platform.tenant(TENANT).call("echo", "pings", {})
    return {"sales": rows, "pings": pings.output, "error": None if pings.error is None else pings.error.message}


async def main() -> None:
    data, command = Path(sys.argv[1]), sys.argv[2]
    async with build(data) as platform:
        if command == "prepare":
            await prepare(platform, PACKAGE)
        elif command == "sell-and-die":
            await sell(platform, int(sys.argv[3]), dies=True)
        elif command == "report":
            print(json.dumps(await report(platform)))


if __name__ == "__main__":
    asyncio.run(main())
