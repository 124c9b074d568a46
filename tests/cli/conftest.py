"""A real server, as `jackfield serve` runs it, and the command line as people and programs use it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from jackfield_cli.main import main
from tools.committed import ROOT

_START_S = 60.0

SURFACE = """\
import jackfield_sdk as jf
from jackfield import Event, FilterHook, Slot, Surface

surface = Surface(
    filters=[FilterHook("booking.beforeCreate", jf.hooks.Booking)],
    events=[Event("demo.ping", jf.hooks.Ping)],
    slots=[Slot("Dashboard.Widgets"), Slot("POS.BeforeCheckout")],
)
"""


PERSON = """
import asyncio, pathlib, sys
from jackfield.app import Platform
from jackfield.settings import Settings


async def join():
    platform = Platform(Settings(data_dir=pathlib.Path(DATA)))
    await platform.open_trail()
    member = await platform.tenants.add_member("acme", "Mina Patel", "mina@example.com", "admin")
    issued = await platform.tenants.issue_token("admin", tenant_id="acme", member_id=member.id)
    print(issued.plaintext)
    await platform.database.close()


asyncio.run(join())
"""


@dataclass(frozen=True)
class Server:
    """A running platform and who may speak to it."""

    url: str
    owner: str
    member: str
    publisher: str
    stranger: str
    """Another publisher."""
    operator: str
    person: str
    """An admin who is somebody; the owner is a program."""


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "surface_under_test.py").write_text(SURFACE)
    data = folder / "data"
    tokens = _tokens(data)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    log = folder / "log"
    # Isolation has tests of its own, and the self-attack at the start takes seconds.
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jackfield_cli", "serve", "--data", "data", "--port", str(port),
             "--surface", "surface_under_test:surface", "--isolation", "none"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=output, env={**os.environ, "JACKFIELD_DEVELOPMENT": "1"},
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, log)
        yield Server(url, *tokens)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    # All that the tests of this folder have done has gone through this log: installs, calls, events, failures.
    text = log.read_text()
    for line in text.splitlines():
        assert {"timestamp", "level", "logger", "event", "node"} <= json.loads(line).keys(), line
    assert not [token for token in tokens if token in text]


@pytest.fixture(scope="session")
def keys_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("author")


@pytest.fixture
def jackfield(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, keys_home: Path
) -> Callable[..., Ran]:
    """Runs `jackfield ARGUMENTS` in this process, as nobody unless `token` says who."""
    monkeypatch.delenv("JACKFIELD_URL", raising=False)
    monkeypatch.setenv("JACKFIELD_HOME", str(keys_home))

    def run(*arguments: str, token: str | None = None, url: str | None = None) -> Ran:
        for name, value in (("JACKFIELD_TOKEN", token), ("JACKFIELD_URL", url)):
            if value is not None:
                monkeypatch.setenv(name, value)
            else:
                monkeypatch.delenv(name, raising=False)
        capsys.readouterr()
        status = main(arguments)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return run


@pytest.fixture
def owner(jackfield: Callable[..., Ran], server: Server) -> Callable[..., Ran]:
    """The same, as the owner of a tenant of the server."""
    return lambda *arguments: jackfield(*arguments, token=server.owner, url=server.url)


@pytest.fixture
def person(jackfield: Callable[..., Ran], server: Server) -> Callable[..., Ran]:
    """The same, as an admin who can be told things."""
    return lambda *arguments: jackfield(*arguments, token=server.person, url=server.url)


@pytest.fixture
def publisher(jackfield: Callable[..., Ran], server: Server) -> Callable[..., Ran]:
    """The same, as a publisher."""
    return lambda *arguments: jackfield(*arguments, token=server.publisher, url=server.url)


@pytest.fixture
def echo(server: Server, owner: Callable[..., Ran], publisher: Callable[..., Ran], tmp_path: Path) -> Iterator[str]:
    """The echo plugin, published and installed; removed afterwards."""
    if not owner("search", "echo", "--json").json:
        package = tmp_path / "echo.jfp"
        assert publisher("pack", str(ROOT / "plugins" / "echo"), "-o", str(package)).status == 0
        assert publisher("publish", str(package)).status == 0
    assert owner("install", "echo", "--grant-all").status == 0
    yield "echo"
    owner("uninstall", "echo", "--yes")


def _tokens(data: Path) -> list[str]:
    """Of owner, member, publisher, stranger, operator and person; one process for all saves five starts."""
    wanted = [
        ["owner", "--tenant", "acme"], ["member", "--tenant", "acme"],
        ["publisher", "--publisher", "corner-tools"], ["publisher", "--publisher", "stranger"],
        ["operator"],
    ]  # fmt: skip
    code = f"from jackfield.__main__ import main\nfor one in {wanted}: main(['token', *one, '--data', {str(data)!r}])"
    code += f"\nDATA = {str(data)!r}{PERSON}"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/api/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            if _ended_within(process, 0.1):
                break
    raise AssertionError(log.read_text())


def _ended_within(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True
