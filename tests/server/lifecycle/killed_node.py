"""A node that dies: run as a program, it installs, changes or uninstalls, and kills itself at the hook named.

`python -m tests.server.lifecycle.killed_node DATABASE_URL DATA_FOLDER VERB HOOK`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from jackfield.capabilities import Vault
from jackfield.capabilities.vault import parse_keys
from jackfield.db import Database
from jackfield.invocation import Invocation
from tests.server.lifecycle.conftest import CONFIG, KEY, TENANT, Handler, House, plugin_of, with_config, with_hooks
from tests.server.lifecycle.migrating import gated, handlers, migrating, with_ledger


async def move(house: House, verb: str, hook: str, die: Handler) -> None:
    """Update, or go back, over data that has to be moved."""
    releases(house)
    seen = await house.lifecycle.install(TENANT, "points", version="1.0.0")
    plugin = gated(house.lifecycle, seen)
    for number in range(5):
        await plugin.call("tables", "insert", table="ledger", row={"customer": "c", "points": number})
    if verb == "rollback":
        await house.lifecycle.update(TENANT, "points", version="2.0.0-rc.1")
    house.runner.handlers[hook] = die
    if verb == "rollback":
        await house.lifecycle.rollback(TENANT, "points")
    await house.lifecycle.update(TENANT, "points", version="2.0.0-rc.1")


def releases(house: House) -> None:
    """Two of them, with migrations between."""
    house.catalogue.by_slug.clear()
    house.catalogue.add(with_ledger(plugin_of()))
    house.catalogue.add(with_hooks(migrating(), "on_update"))
    house.runner.handlers |= handlers(house)


async def main(url: str, data_dir: Path, verb: str, hook: str) -> None:
    house = House(Database(url), data_dir, Vault(parse_keys(KEY)))
    house.catalogue.add(with_config(with_hooks(plugin_of())))

    async def die(_invocation: Invocation) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if verb in ("update", "rollback"):
        await move(house, verb, hook, die)
        return
    if verb != "install":
        found = await house.lifecycle.install(TENANT, "points", config=CONFIG)
        await house.owns(found.id)
    house.runner.handlers[hook] = die
    if verb == "install":
        await house.lifecycle.install(TENANT, "points", config=CONFIG)
    elif verb == "configure":
        await house.lifecycle.configure(TENANT, "points", {"shop": "south", "api_key": "n3w-key"})
    else:
        await house.lifecycle.uninstall(TENANT, "points")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
