"""A node that dies: run as a program, it installs, configures or uninstalls, and kills itself at the hook named.

`python -m tests.server.lifecycle.killed_node DATA_FOLDER VERB HOOK`; the database is `jackfield.sqlite3` beside the
folder.
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
from tests.server.lifecycle.conftest import CONFIG, KEY, TENANT, House, plugin_of, with_config, with_hooks


async def main(data_dir: Path, verb: str, hook: str) -> None:
    house = House(
        Database(f"sqlite+aiosqlite:///{data_dir.parent / 'jackfield.sqlite3'}"), data_dir, Vault(parse_keys(KEY))
    )
    house.catalogue.add(with_config(with_hooks(plugin_of())))

    async def die(_invocation: Invocation) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

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
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
