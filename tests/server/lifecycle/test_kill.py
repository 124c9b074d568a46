"""kill -9 of a real process, in the middle of a hook; then another node starts on the same database."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from jackfield.capabilities.models import UsageRow
from tests.server.lifecycle.conftest import CONFIG, TENANT, House, plugin_of, with_config, with_hooks
from tests.server.lifecycle.killed_node import releases
from tests.server.lifecycle.migrating import gated
from tools.committed import ROOT


@pytest.mark.parametrize(
    ("verb", "hook", "state"),
    [
        ("install", "on_install", "gone"),
        ("install", "on_activate", "inactive"),
        ("configure", "on_configure", "active"),
        ("uninstall", "on_deactivate", "gone"),
        ("uninstall", "on_uninstall", "gone"),
    ],
)
async def test_the_next_node_ends_what_a_killed_one_began(house: House, verb: str, hook: str, state: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.lifecycle.killed_node", house.database.url, str(house.data_dir), verb, hook,
        cwd=ROOT,
    )  # fmt: skip
    assert await process.wait() == -signal.SIGKILL
    house.catalogue.add(with_config(with_hooks(plugin_of())))
    lifecycle = house.start()
    assert len(await lifecycle.recover()) == 1
    assert await house.state() == state
    if state == "gone":
        assert await house.residue() == {}
    if verb == "configure":
        seen = await lifecycle.get(TENANT, "points")
        assert seen.config["shop"] == "north"
        assert await house.secret(seen.id) == "s3cret-key"
    if verb == "install" and state == "gone":
        await lifecycle.install(TENANT, "points", config=CONFIG)
        assert await house.state() == "active"


@pytest.mark.parametrize(
    ("verb", "hook", "version"),
    [
        ("update", "migrate rename", "2.0.0-rc.1"),
        ("update", "migrate keep_count", "2.0.0-rc.1"),
        ("update", "on_update", "1.0.0"),
        ("rollback", "down keep_count", "1.0.0"),
        ("rollback", "down rename", "1.0.0"),
    ],
)
async def test_a_move_of_data_that_was_killed_ends_in_one_release_with_its_data(
    house: House, verb: str, hook: str, version: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.lifecycle.killed_node", house.database.url, str(house.data_dir), verb, hook,
        cwd=ROOT,
    )  # fmt: skip
    assert await process.wait() == -signal.SIGKILL
    releases(house)
    lifecycle = house.start()
    assert len(await lifecycle.recover()) == 1
    seen = await lifecycle.get(TENANT, "points")
    assert seen.version == version
    plugin = gated(lifecycle, seen)
    column = "amount" if version.startswith("2") else "points"
    rows = await plugin.call("tables", "find", table="ledger")
    assert sorted(row[column] for row in rows) == [0, 1, 2, 3, 4]
    await plugin.call("tables", "insert", table="ledger", row={"customer": "after", column: 9})
    assert await plugin.call("tables", "count", table="ledger", where=[["customer", "eq", "after"]]) == 1
    assert {row.installation_id[:5] for row in await house.rows(UsageRow)} == {"inst_"}, "no copy is left"
