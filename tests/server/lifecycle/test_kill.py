"""kill -9 of a real process, in the middle of a hook; then another node starts on the same database."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from tests.server.lifecycle.conftest import CONFIG, TENANT, House, plugin_of, with_config, with_hooks
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
        sys.executable, "-m", "tests.server.lifecycle.killed_node", str(house.data_dir), verb, hook, cwd=ROOT
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
