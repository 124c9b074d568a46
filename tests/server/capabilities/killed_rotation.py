"""A node that dies while it replaces keys: `python -m tests.server.capabilities.killed_rotation DATA_FOLDER POINT`.

POINT is `before-file`, `after-file`, `between-keys`, `between-secrets`, `renewed` or `none`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from jackfield.capabilities import rotation, vault
from tests.server.capabilities.keys_house import KeysHouse


def die(*_arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(data_dir: Path, point: str) -> None:
    house = KeysHouse(data_dir)
    rotation._BATCH = 1
    if point == "before-file":
        Path.replace = die  # type: ignore[method-assign, assignment]
    elif point == "after-file":
        vault._sync_folder = die
    elif point == "between-keys":
        house.rotation._data_keys = after(2, house.rotation._data_keys)  # type: ignore[method-assign]
    elif point in ("between-secrets", "renewed"):
        house.rotation._seal_anew = after(1, house.rotation._seal_anew)  # type: ignore[method-assign]
    if point == "renewed":
        await house.rotation.renew("acme", "operator")
    else:
        await house.rotation.rotate("operator")
    await house.rotation.rewrap()
    await house.database.close()


def after(times: int, do: Any) -> Any:
    """Do it so many times, then die."""
    done = 0

    async def once_more(*arguments: Any) -> Any:
        nonlocal done
        if done == times:
            die()
        done += 1
        return await do(*arguments)

    return once_more


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
