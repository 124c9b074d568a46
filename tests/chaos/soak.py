"""Nodes that are killed, and a database that is, while hosts commit events: what the storm is made of.

The events are committed in transactions of this process, as a host does it, so that what was committed is known: where
the answer to a commit is lost, the event's row is looked for. What became of them is asked of the plugin's own rows,
which its handler writes through the platform.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError

from jackfield import Event, Platform, Settings, Surface
from jackfield.db import Database
from jackfield.jobs import Delivery, outbox
from jackfield.jobs.models import OutboxEvent, ScheduleRow
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.chaos.house import LEVEL

__all__ = ["Found", "Plan", "storm"]

KEY = "k1:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="
EVENT = "sale.created"
SURFACE = f'from jackfield import Event, Surface\n\nsurface = Surface(events=[Event("{EVENT}")])\n'
HOSTS = 6
"""Who commit events at the same time. A tenant's come from one of them, in the order of their numbers."""
INSTALLING = 4
FIRST_FIRINGS_S = 5
_MANY = "1000000"
_PATIENT = {
    f"JACKFIELD_{name}": _MANY for name in ("CRASH_GRACE", "CRASH_LIMIT", "BREAKER_IN_A_ROW", "BREAKER_MINIMUM")
}

SOURCE = """
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("steps", version="1.0.0", permissions=["storage", "tables"])


@plugin.table("seen")
class Seen:
    n: int
    position: int


@plugin.table("fired")
class Fired:
    delivery: str


@plugin.on("sale.created")
def sold(ctx: jf.Context, sale: dict[str, Any]) -> None:
    position = ctx.storage.increment("count")
    ctx.tables["seen"].insert(n=sale["n"], position=position)


@plugin.schedule("* * * * *", jitter_s=59)
def tick(ctx: jf.Context) -> None:
    ctx.storage.increment("ticks")
    ctx.tables["fired"].insert(delivery=ctx.delivery.id)


@plugin.function(timeout_ms=20000)
def found(ctx: jf.Context) -> dict[str, Any]:
    return {
        "count": ctx.storage.get("count", 0),
        "seen": [[row["position"], row["n"]] for row in ctx.tables["seen"].query()],
        "ticks": ctx.storage.get("ticks", 0),
        "fired": [row["delivery"] for row in ctx.tables["fired"].query()],
    }
"""


@dataclass(frozen=True)
class Plan:
    """How bad it is to be.

    Attributes:
        url: Of a PostgreSQL; None: one node on SQLite.
        kills: How often a node is killed, at moments that are not chosen.
        crashes: How often the database is.
        rolls: How often all nodes are restarted one after the other, in good order.
    """

    seed: int
    events: int
    tenants: int
    kills: int
    url: str | None = None
    nodes: int = 1
    crashes: int = 0
    rolls: int = 0
    crash_database: Callable[[], None] | None = None
    patience_s: float = 300.0


@dataclass
class Found:
    """What became of it.

    Attributes:
        lost: Events that were committed and have no effect.
        doubled: Events with more than one effect.
        disordered: Places in an installation's rows where an event comes before an earlier one.
        repeated: Attempts beyond the first ones.
        firings: Of schedules.
        doubled_firings: Firings that took effect twice, or were made twice for the same time.
        restarts: Of nodes that had ended by themselves.
        undone: Deliveries that did not end well, by state and code.
    """

    plan: Plan
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    repeated: int = 0
    firings: int = 0
    doubled_firings: int = 0
    lost_firings: int = 0
    miscounted: int = 0
    kills: int = 0
    crashes: int = 0
    rolls: int = 0
    restarts: int = 0
    storm_s: float = 0.0
    undone: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        return (
            f"seed {self.plan.seed}: {self.plan.events} events of {self.plan.tenants} tenants on {self.plan.nodes} "
            f"nodes in {self.storm_s:.0f} s; {self.kills} kills, {self.rolls} rolling restarts, {self.crashes} crashes "
            f"of the database, {self.restarts} nodes that ended themselves; "
            f"lost {self.lost}, doubled {self.doubled}, out of order {self.disordered}, miscounted "
            f"{self.miscounted}; {self.repeated} attempts repeated; {self.firings} firings, {self.doubled_firings} "
            f"doubled, {self.lost_firings} lost; not done: {dict(self.undone)}"
        )


async def storm(plan: Plan, folder: Path) -> Found:
    """Prepare, let the storm go over it until every event is delivered, and count."""
    found = Found(plan)
    data = folder / "node0"
    await _prepare(plan, data, folder)
    (folder / "soak_surface.py").write_text(SURFACE)
    nodes = [_Node(folder / f"node{number}", plan.url) for number in range(plan.nodes)]
    database = Database(plan.url or f"sqlite+aiosqlite:///{data / 'jackfield.sqlite3'}")
    began = time.monotonic()
    supervisors: list[asyncio.Task[None]] = []
    try:
        for node in nodes:
            node.start()
        await _first_firings(database, random.Random(plan.seed))
        for node in nodes:
            await node.until_ready()
        supervisors = [asyncio.create_task(node.supervise()) for node in nodes]
        async with asyncio.TaskGroup() as group:
            for host in range(HOSTS):
                group.create_task(_commit_events(database, plan, host))
            group.create_task(_break_things(database, plan, nodes, found))
        async with asyncio.timeout(plan.patience_s):
            while await _open(database):  # noqa: ASYNC110  # other processes work on them
                await asyncio.sleep(0.2)
        found.storm_s = time.monotonic() - began
    finally:
        for supervisor in supervisors:
            supervisor.cancel()
        found.restarts = sum(node.restarts for node in nodes)
        for node in nodes:
            await asyncio.to_thread(node.stop)
    try:
        await _count(database, plan, data, found)
    finally:
        await database.close()
    return found


# -- before --------------------------------------------------------------------------------------------------------


def _tenants(plan: Plan) -> list[str]:
    return [f"t{number:03}" for number in range(plan.tenants)]


def _platform(plan: Plan, data: Path) -> Platform:
    settings = Settings(data_dir=data, database_url=plan.url, secret_key=KEY, isolation=LEVEL)
    return Platform(settings, Surface(events=[Event(EVENT)]))


async def _prepare(plan: Plan, data: Path, folder: Path) -> None:
    key = create_key(folder / "keys")
    project, packed = folder / "steps", folder / "steps.jfp"
    project.mkdir()
    (project / "plugin.py").write_text(SOURCE)
    (project / "pyproject.toml").write_text('[project]\nname = "steps"\nversion = "1.0.0"\n')
    await asyncio.to_thread(pack_project, project, packed, key=key, level=LEVEL)
    gate = asyncio.Semaphore(INSTALLING)
    async with _platform(plan, data) as platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await platform.registry.publish(_chunks(packed.read_bytes()), "pub")

        async def install(tenant: str) -> None:
            async with gate:
                await platform.tenants.ensure_tenant(tenant, tenant, plan="enterprise")
                await platform.lifecycle.install(tenant, "steps", grants=["storage", "tables"])

        async with asyncio.TaskGroup() as group:
            for tenant in _tenants(plan):
                group.create_task(install(tenant))


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _first_firings(database: Database, chance: random.Random) -> None:
    """Cron knows minutes; a short storm is to see firings from its first seconds on."""
    now = datetime.now(UTC)
    async with database.write(None) as session:
        for row in await session.scalars(select(ScheduleRow).order_by(ScheduleRow.tenant_id)):
            due = now + timedelta(seconds=chance.uniform(0, FIRST_FIRINGS_S))
            await session.execute(
                update(ScheduleRow)
                .where(ScheduleRow.installation_id == row.installation_id)
                .values(next_at=due, due_at=due)
            )


# -- meanwhile -----------------------------------------------------------------------------------------------------


@dataclass
class _Node:
    data: Path
    url: str | None
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    is_held: bool = False
    restarts: int = 0

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {**os.environ, **_PATIENT, "JACKFIELD_SECRET_KEY": KEY, "JACKFIELD_DRAIN_S": "0.2"}
        if self.url is not None:
            environment["JACKFIELD_DATABASE_URL"] = self.url
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "jackfield", "serve", "--data", str(self.data), "--port", str(self.port),
                    "--isolation", LEVEL, "--surface", "soak_surface:surface",
                ],
                stdout=log, stderr=log, env=environment, cwd=self.data.parent,
            )  # fmt: skip

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    async def supervise(self) -> None:
        """Start it again when it has ended, as a supervisor of services does: it cannot start without a database."""
        while True:
            await asyncio.sleep(0.5)
            if not self.is_held and self.process is not None and self.process.poll() is not None:
                self.start()
                self.restarts += 1

    async def until_ready(self) -> None:
        async with httpx.AsyncClient(timeout=5) as http, asyncio.timeout(120):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"http://127.0.0.1:{self.port}/api/health")).status_code == 200:
                        return
                await asyncio.sleep(0.05)


async def _commit_events(database: Database, plan: Plan, host: int) -> None:
    """One transaction for each event. A tenant's first event has the number 1."""
    tenants = _tenants(plan)
    for number in range(plan.events):
        which = number % plan.tenants
        if which % HOSTS == host:
            await _commit(database, tenants[which], number // plan.tenants + 1)


async def _commit(database: Database, tenant: str, n: int) -> None:
    event_id = ""
    while True:
        try:
            if event_id and await _is_there(database, event_id):
                return
            event_id = ""
            async with database.write(tenant) as session:
                event_id = outbox.add(session, tenant, EVENT, {"n": n})
            return
        except (DBAPIError, OSError):
            # Whether it was committed, nobody has said.
            await asyncio.sleep(0.1)


async def _is_there(database: Database, event_id: str) -> bool:
    async with database.read(None) as session:
        return bool(await session.scalar(select(func.count()).where(OutboxEvent.id == event_id)))


async def _break_things(database: Database, plan: Plan, nodes: list[_Node], found: Found) -> None:
    """Each blow falls when so many events are done, so that a slow machine sees as many as a fast one."""
    chance = random.Random(plan.seed)
    blows = [(chance.uniform(0.03, 0.95), "kill") for _ in range(plan.kills)]
    blows += [((number + 1) / (plan.crashes + 1), "crash") for number in range(plan.crashes)]
    blows += [((number + 0.5) / (plan.rolls + 0.5) * 0.8, "roll") for number in range(plan.rolls)]
    async with asyncio.timeout(plan.patience_s):
        for share, blow in sorted(blows):
            while await _done(database) < share * plan.events:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.1)
            if blow == "kill":
                victim = chance.choice(nodes)
                victim.is_held = True
                await asyncio.to_thread(victim.kill)
                await asyncio.sleep(chance.uniform(0, 1))
                victim.start()
                victim.is_held = False
                found.kills += 1
            elif blow == "roll":
                for node in nodes:
                    node.is_held = True
                    await asyncio.to_thread(node.stop)
                    node.start()
                    node.is_held = False
                    await node.until_ready()
                found.rolls += 1
            else:
                assert plan.crash_database is not None
                await asyncio.to_thread(plan.crash_database)
                found.crashes += 1


async def _done(database: Database) -> int:
    query = select(func.count()).select_from(Delivery).where(Delivery.state == "done", Delivery.event == EVENT)
    return await _asked(database, query)


async def _open(database: Database) -> int:
    """Events and deliveries that have not come to their end. Firings never end."""
    new = select(func.count()).select_from(OutboxEvent).where(OutboxEvent.fanned_out_at.is_(None))
    pending = select(func.count()).select_from(Delivery).where(Delivery.place.is_not(None), Delivery.event == EVENT)
    return await _asked(database, new) + await _asked(database, pending)


async def _asked(database: Database, query: object) -> int:
    while True:
        try:
            async with database.read(None) as session:
                return int(await session.scalar(query) or 0)  # type: ignore[call-overload]
        except (DBAPIError, OSError):
            await asyncio.sleep(0.1)


# -- afterwards ----------------------------------------------------------------------------------------------------


async def _count(database: Database, plan: Plan, data: Path, found: Found) -> None:
    async with _platform(plan, data) as platform:
        await platform.drain_events(60)
        async with database.write(None) as session:
            # No firing between what the plugin is asked and what the log is.
            await session.execute(update(ScheduleRow).values(next_at=None, due_at=None))
        await platform.drain_events(60)
        deliveries = await _deliveries(database, found)
        for number, tenant in enumerate(_tenants(plan)):
            wanted = plan.events // plan.tenants + (number < plan.events % plan.tenants)
            result = await platform.tenant(tenant).call("steps", "found", {})
            assert result.error is None, result.error
            _compare(result.output, wanted, deliveries.get(tenant, set()), found)


def _compare(output: dict[str, list[list[int]]], wanted: int, fired: set[str], found: Found) -> None:
    numbers = [n for _, n in sorted(output["seen"])]
    effects = Counter(numbers)
    found.lost += sum(n not in effects for n in range(1, wanted + 1))
    found.doubled += sum(count - 1 for count in effects.values())
    found.disordered += sum(later < earlier for earlier, later in itertools.pairwise(numbers))
    # What was written into the two places is one transaction: they agree.
    found.miscounted += [position for position, _ in sorted(output["seen"])] != list(range(1, len(numbers) + 1))
    found.miscounted += output["count"] != len(numbers)
    told = Counter(map(str, output["fired"]))
    found.miscounted += output["ticks"] != sum(told.values())
    found.firings += len(told)
    found.doubled_firings += sum(count - 1 for count in told.values())
    found.lost_firings += len(fired - told.keys())


async def _deliveries(database: Database, found: Found) -> dict[str, set[str]]:
    """Done firings of each tenant, by their deliveries' ids."""
    done: dict[str, set[str]] = {}
    times: Counter[tuple[str, str]] = Counter()
    query = select(
        Delivery.id, Delivery.tenant_id, Delivery.event, Delivery.state, Delivery.attempt, Delivery.error_code,
        OutboxEvent.payload,
    ).join(OutboxEvent, OutboxEvent.id == Delivery.event_id)  # fmt: skip
    async with database.read(None) as session:
        for row in await session.execute(query):
            found.repeated += row.attempt - 1
            if row.state != "done":
                found.undone[f"{row.event} {row.state} {row.error_code}"] += 1
            elif row.event != EVENT:
                done.setdefault(row.tenant_id, set()).add(row.id)
            if row.event != EVENT:
                times[row.tenant_id, json.loads(row.payload)["due_at"]] += 1
    found.doubled_firings += sum(count - 1 for count in times.values())
    return done
