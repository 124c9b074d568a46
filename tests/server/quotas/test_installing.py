"""Two installations that are planned at the same moment cannot both have the last place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jackfield.capabilities import Vault
from jackfield.capabilities.vault import parse_keys
from jackfield.clock import SystemClock
from jackfield.db import Database
from jackfield.lifecycle import ActiveInstallations, Lifecycle, Snapshots
from jackfield.quotas import PlanFullError, Quotas
from jackfield.settings import Settings
from tests.server.lifecycle.conftest import KEY, SURFACE, TENANT, House, nothing, plugin_of
from tests.server.quotas.nodes import plan


@pytest.fixture
async def lifecycle(database: Database, tmp_path: Path) -> AsyncIterator[Lifecycle]:
    shop = House(database, tmp_path, Vault(parse_keys(KEY)))
    for slug in ("one", "two", "three", "four"):
        shop.catalogue.add(plugin_of(slug))
    snapshots = Snapshots(database, shop.catalogue)
    quotas = Quotas(database, Settings(plans={"free": plan({}, plugins=2)}))
    lifecycle = Lifecycle(
        database=database, catalogue=shop.catalogue, runner=shop.runner, surface=SURFACE, snapshots=snapshots,
        active=ActiveInstallations(snapshots), clock=SystemClock(), data_dir=tmp_path, flush_records=nothing,
        policy_of=quotas.policy,
    )  # fmt: skip
    yield lifecycle
    await lifecycle.close()


async def test_the_last_place_goes_to_one_of_those_who_come_at_once(lifecycle: Lifecycle) -> None:
    wanted = ("one", "two", "three", "four")
    done = await asyncio.gather(*(lifecycle.install(TENANT, slug) for slug in wanted), return_exceptions=True)
    assert [type(result) for result in done if isinstance(result, Exception)] == [PlanFullError, PlanFullError]
    assert len(await lifecycle.list(TENANT)) == 2


async def test_a_place_is_free_again_when_a_plugin_is_removed(lifecycle: Lifecycle) -> None:
    await lifecycle.install(TENANT, "one")
    await lifecycle.install(TENANT, "two")
    with pytest.raises(PlanFullError):
        await lifecycle.install(TENANT, "three")
    await lifecycle.uninstall(TENANT, "one")
    await lifecycle.install(TENANT, "three")
