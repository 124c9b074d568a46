"""The programs that run beside us: how each is built, started and asked for a round.

Every peer is the real thing in a process of its own. One that cannot be built or that fails ends the run, by name: a
table with a silent gap reads as a win.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NAMES", "PeerError", "Program", "build"]

HERE = Path(__file__).resolve().parent
VENV = HERE.parent / ".venv-peers"
REQUIREMENTS = HERE / "requirements.txt"

OUR_PYTHON = sys.executable
PEERS_PYTHON = str(VENV / "bin" / "python")

NAMES = ("ping", "python", "isolated-vm", "dify_plugin", "pluggy", "sqlalchemy", "fastapi", "pgqueuer", "dbos")

# A round is seconds; this long means that the peer hangs.
ROUND_TIMEOUT_S = 120


class PeerError(Exception):
    """A peer cannot be built, or failed while it ran."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(
            f"the peer {peer} {reason}; `--without-peer {peer}` measures without it and leaves its figures empty"
        )


@dataclass(frozen=True)
class Program:
    """One way to ask one peer.

    Args:
        label: As printed, `isolated-vm apply`.
        peer: Whose it is, one of `NAMES`.
        command: Interpreter, file in this folder, arguments.
        once: A new process for each round, for figures that a first round would spoil for the second.
    """

    label: str
    peer: str
    command: tuple[str, ...]
    once: bool = False

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[Running]:
        """The program with further arguments; it starts with its first round."""
        running = Running(self, arguments)
        try:
            yield running
        finally:
            await running.stop()


class Running:
    """A program that answers rounds, one after the other."""

    def __init__(self, program: Program, arguments: tuple[str, ...]) -> None:
        self._program = program
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def sample(self, count: int) -> list[float]:
        """One round: `count` figures, in seconds or bytes."""
        if self._process is None:
            self._process = await self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                process.stdin.write(b"%d\n" % count)
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError as error:
            process.kill()
            raise PeerError(self._program.peer, f"did not answer within {ROUND_TIMEOUT_S} s") from error
        except ConnectionError:
            line = b""
        if not line:
            raise PeerError(self._program.peer, f"ended with status {await process.wait()} ({self._program.label})")
        if self._program.once:
            await self.stop()
        return json.loads(line)

    async def stop(self) -> None:
        """Close its input, which ends it; a program that lingers is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        interpreter, file, *arguments = self._program.command
        try:
            # A round is one line of some thousand figures: longer than the default limit.
            return await asyncio.create_subprocess_exec(
                interpreter, str(HERE / file), *arguments, *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
            )  # fmt: skip
        except OSError as error:
            raise PeerError(self._program.peer, f"cannot be started ({error})") from error


def build(peers: Iterable[str]) -> None:
    """Make what these peers run in; instant when it is there already.

    Raises:
        PeerError: One of them cannot be built.
    """
    with (HERE / ".setup-lock").open("w") as lock:
        # Two runs at once would pull the modules from under each other.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build(set(peers))


def _build(wanted: set[str]) -> None:
    # Also when the venv is there: each is imported once, so that a broken one is found before minutes of measuring.
    for peer in ("dify_plugin", "pluggy", "pgqueuer", "dbos"):
        if peer in wanted:
            _make_venv(peer)
            _run(peer, [PEERS_PYTHON, "-I", "-c", f"import os, {peer}; os._exit(0)"])
    if "isolated-vm" in wanted:
        _make_node_modules("isolated-vm")


def _make_venv(peer: str) -> None:
    digest = hashlib.sha256(repr(sys.version_info[:3]).encode() + REQUIREMENTS.read_bytes()).hexdigest()
    stamp = VENV / ".stamp"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    print("benchmarks: making the peers' venv", file=sys.stderr)
    _run(peer, [OUR_PYTHON, "-m", "venv", str(VENV)])
    _run(
        peer,
        [PEERS_PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--require-hashes",
         "--only-binary", ":all:", "-r", str(REQUIREMENTS)],
    )  # fmt: skip
    stamp.write_text(digest)


def _make_node_modules(peer: str) -> None:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise PeerError(peer, f"cannot be built: {tool} is not installed")
    # The module is native: made for another Node it does not load, whatever the lock files say.
    loads = ["node", "-e", "require('isolated-vm')"]
    if _installed_as_locked() and subprocess.run(loads, cwd=HERE, capture_output=True, check=False).returncode == 0:
        return
    print("benchmarks: building isolated-vm (about a minute)", file=sys.stderr)
    _run(peer, ["npm", "ci", "--no-audit", "--no-fund"])
    _run(peer, loads)


def _installed_as_locked() -> bool:
    """Whether npm's record of what it installed is what the lock file asks for."""
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.is_file():
        return False
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    found = json.loads(installed.read_text())["packages"]
    return {name: package["integrity"] for name, package in locked.items() if name} == {
        name: package["integrity"] for name, package in found.items()
    }


def _run(peer: str, command: list[str]) -> None:
    """Run a build step; what it printed is shown when it fails."""
    # PYTHON* of our own run (a path, a warnings filter) would reach into the peer's interpreter.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(peer, f"cannot be built: {error}") from error
    if done.returncode:
        print(done.stdout, done.stderr, sep="", file=sys.stderr)
        raise PeerError(peer, f"cannot be built: {' '.join(command[:4])} … ended with status {done.returncode}")
