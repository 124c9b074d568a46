"""The demo as an author of plugins: its key, and packing with the same command that every author has."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from jackfield_cli.keys import SigningKey, default_key

__all__ = ["PackError", "pack", "signing_key"]


class PackError(RuntimeError):
    """A plugin of the demo cannot be packed; the message is the command's."""


def signing_key(home: Path) -> SigningKey:
    """The key that `pack` signs with; made on first use."""
    return default_key(home / "keys")


async def pack(folder: Path, out: Path, home: Path) -> None:
    """Make a signed package of a plugin's folder, in a process of its own.

    Args:
        home: Where the signing key is kept; the first run makes one.

    Raises:
        PackError: It did not work.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jackfield_cli", "pack", str(folder), "--out", str(out),
        env={**os.environ, "JACKFIELD_HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise PackError(f"{folder.name} cannot be packed: {output.decode(errors='replace').strip()}")
