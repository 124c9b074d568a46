"""A real server to send hostile packages to, and eyes on all that it might leave behind."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.sdk.crafted import KEY, Key
from tests.server.registry.uploads import package

__all__ = ["OTHER_KEY", "PUBLISHED", "REVOKED_KEY", "UPLOAD", "House", "Watch", "running_house"]

UPLOAD = "/api/registry/releases"
PUBLISHER, OTHER = "pub_corner", "pub_other"
OTHER_KEY, REVOKED_KEY = Key(3), Key(5)
PUBLISHED = package("points", "2.0.0")
"""What the first publisher has published before anything else."""

_START_S = 90.0
_TABLES = (
    "jf_audit", "jf_kept_answers", "jf_outbox", "jf_plugin_tags", "jf_plugins", "jf_publisher_keys", "jf_publishers",
    "jf_releases",
)  # fmt: skip
"""All that publishing may write to."""
_TYPES = {"Content-Type": "application/vnd.jackfield.package"}


@dataclass
class Watch:
    """What the rest of the world saw of the server meanwhile.

    Attributes:
        slowest_s: The longest that `/api/health` took.
        growth_bytes: By how much the server's memory grew at its highest.
    """

    slowest_s: float = 0.0
    asked: int = 0
    failures: list[str] = field(default_factory=list[str])
    growth_bytes: int = 0


@dataclass(frozen=True)
class House:
    """The server, its folder, and two publishers' tokens."""

    url: str
    folder: Path
    pid: int
    publisher: str
    other: str

    def send(self, package: bytes | Iterable[bytes], token: str | None = None, **headers: str) -> httpx.Response:
        """Upload a package."""
        with self.client(token) as http:
            return http.post(UPLOAD, content=package, headers={**_TYPES, **headers})

    def client(self, token: str | None = None) -> httpx.Client:
        """A client of the API, as the first publisher unless a token says who."""
        token = self.publisher if token is None else token
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=100, verify=False)

    def left(self) -> dict[str, Any]:
        """Everything that an upload could leave: files of the store and of the temporary folder, rows, open files."""
        data = self.folder / "data"
        files = [
            str(path.relative_to(self.folder))
            for root in (data, self.folder / "tmp")
            for path in root.rglob("*")
            if "sqlite3" not in path.name
        ]
        with contextlib.closing(sqlite3.connect(f"file:{data}/jackfield.sqlite3?mode=ro", uri=True)) as database:
            rows = {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in _TABLES}
        return {"files": sorted(files), "rows": rows, "open": sorted(self._open_files())}

    def rss_bytes(self, what: str = "VmRSS") -> int:
        """Memory of the server's process; `VmHWM` is the highest since `watched` began."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"no {what}")

    @contextlib.contextmanager
    def watched(self) -> Iterator[Watch]:
        """Ask for the server's health all the time, and see how its memory grows."""
        watch, is_over, has_begun = Watch(), threading.Event(), threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=self.url, timeout=30, verify=False) as http:
                while not is_over.is_set():
                    started = time.monotonic()
                    try:
                        answer = http.get("/api/health")
                        if answer.status_code != 200:
                            watch.failures.append(answer.text)
                    except httpx.HTTPError as error:
                        watch.failures.append(repr(error))
                    watch.slowest_s = max(watch.slowest_s, time.monotonic() - started)
                    watch.asked += 1
                    has_begun.set()
                    is_over.wait(0.02)

        thread = threading.Thread(target=ask)
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the highest mark counts from here
        before = self.rss_bytes()
        thread.start()
        has_begun.wait(30)
        try:
            yield watch
        finally:
            is_over.set()
            thread.join()
            watch.growth_bytes = self.rss_bytes("VmHWM") - before

    def _open_files(self) -> Iterator[str]:
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(link)
                if target.startswith((str(self.folder / "data" / "store"), str(self.folder / "tmp"))):
                    yield target


@contextlib.contextmanager
def running_house(folder: Path) -> Iterator[House]:
    """Start the server on a free port, with two publishers and a release; one of the keys is revoked."""
    (folder / "tmp").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    log = folder / "log"
    # Its own folder for temporary files, so that what is left there can be told.
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "JACKFIELD_ISOLATE_BUDGET": "16"}
    tokens = _tokens(folder / "data")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jackfield", "serve", "--data", str(folder / "data"), "--port", str(port)],
            stdout=output, stderr=output, env=environment,
        )  # fmt: skip
    try:
        house = House(f"http://127.0.0.1:{port}", folder, process.pid, *tokens)
        _wait(house, process, log)
        _add_key(house, house.publisher, PUBLISHER, KEY)
        _add_key(house, house.publisher, PUBLISHER, REVOKED_KEY)
        _add_key(house, house.other, OTHER, OTHER_KEY)
        with house.client() as http:
            http.post(f"/api/registry/keys/{REVOKED_KEY.key_id}/revoke").raise_for_status()
        house.send(PUBLISHED).raise_for_status()
        yield house
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _tokens(data: Path) -> list[str]:
    """Of both publishers; one process for two saves a start."""
    wanted = [["publisher", "--publisher", publisher] for publisher in (PUBLISHER, OTHER)]
    code = f"from jackfield.__main__ import main\nfor one in {wanted}: main(['token', *one, '--data', {str(data)!r}])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return ran.stdout.split()


def _add_key(house: House, token: str, publisher: str, key: Key) -> None:
    proof = key.sign(f"jackfield-key-v1\n{publisher}".encode())
    body = {"public_key": base64.b64encode(key.public).decode(), "proof": base64.b64encode(proof).decode()}
    with house.client(token) as http:
        http.post("/api/registry/keys", json=body).raise_for_status()


def _wait(house: House, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{house.url}/api/health", verify=False).status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start:\n{log.read_text()}")
        threading.Event().wait(0.05)
