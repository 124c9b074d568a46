"""Storms over events: nodes killed, databases crashed. Nothing is lost, doubled or out of order, and no schedule fires
twice. The short forms run with all tests; `make soak` runs the long ones. SOAK_SEED repeats a storm, and SOAK_EVENTS
makes a long one shorter."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.soak import Found, Plan, storm
from tests.postgres import Postgres, running


@pytest.fixture(scope="module")
def durable() -> Iterator[Postgres]:
    """A server that may be crashed: what it has said to be committed is."""
    with tempfile.TemporaryDirectory(prefix="jf-pg-") as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder) / "data") as postgres:
            postgres.execute("ALTER SYSTEM SET synchronous_commit = on", "SELECT pg_reload_conf()")
            yield postgres


def seed() -> int:
    return int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1_000_000))


def long() -> dict[str, Any]:
    events = int(os.environ.get("SOAK_EVENTS") or 20_000)
    return {"events": events, "tenants": max(10, events // 100), "kills": max(2, events // 1000), "rolls": 1}


def check(found: Found) -> None:
    print(f"\n{found}")
    plan = found.plan
    assert (found.kills, found.crashes, found.rolls) == (plan.kills, plan.crashes, plan.rolls)
    assert found.lost == 0, found
    assert found.doubled == 0, found
    assert found.disordered == 0, found
    assert found.miscounted == 0, found
    assert found.doubled_firings == 0, found
    assert found.lost_firings == 0, found
    assert found.firings > 0, found
    assert not found.undone, found


async def of_many_nodes(postgres: Postgres, folder: Path, **size: Any) -> Found:
    def crash() -> None:
        postgres.crash()
        postgres.start()

    database = await postgres.create()
    try:
        plan = Plan(seed=seed(), url=postgres.url(database), crash_database=crash, patience_s=1200, **size)
        return await storm(plan, folder)
    finally:
        await postgres.drop(database)


async def test_nothing_is_lost_or_doubled_when_nodes_and_their_postgresql_die(
    durable: Postgres, tmp_path: Path
) -> None:
    check(await of_many_nodes(durable, tmp_path, events=300, tenants=15, nodes=2, kills=2, crashes=1))


async def test_nothing_is_lost_or_doubled_when_a_node_on_sqlite_dies(tmp_path: Path) -> None:
    check(await storm(Plan(seed=seed(), events=120, tenants=6, kills=1), tmp_path))


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_nothing_is_lost_or_doubled_in_a_long_storm_on_postgresql(durable: Postgres, tmp_path: Path) -> None:
    check(await of_many_nodes(durable, tmp_path, nodes=3, crashes=2, **long()))


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_nothing_is_lost_or_doubled_in_a_long_storm_on_sqlite(tmp_path: Path) -> None:
    check(await storm(Plan(seed=seed(), patience_s=1200, **long()), tmp_path))
