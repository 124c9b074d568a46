"""What no plugin may ever see, lying where a plugin would look; and tripwires around it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["Canaries", "planted"]

_SIGNALS = (signal.SIGUSR1, signal.SIGIO, signal.SIGURG)
_VARIABLE = "JACKFIELD_TEST_CANARY"


@dataclass
class Canaries:
    """Secrets of the server, of its machine and of a neighbouring tenant.

    Attributes:
        folder: Everybody may write here, and nobody must.
        facts: What an attacker is told; where things are, never what is in them.
    """

    folder: Path
    mark: str
    listeners: list[socket.socket]
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    signals: list[int] = field(default_factory=list[int])
    before: list[str] = field(default_factory=list[str])

    def make(self, name: str) -> str:
        """A secret of this name. The mark in front of it is what any sight of it is recognised by."""
        return f"{self.mark}:{name}:{secrets.token_hex(8)}"

    def seen_in(self, text: str) -> bool:
        """Whether a text shows any of them."""
        return f"{self.mark}:" in text

    def tripped(self) -> list[str]:
        """Tripwires that somebody has touched."""
        found = [f"signal {number}" for number in self.signals]
        entries = listing(self.folder)
        if entries != self.before:
            found.append(f"files: {entries}")
        found += [f"socket {where}" for listener in self.listeners if (where := _visitor(listener))]
        self.signals.clear()
        return found


def listing(folder: Path) -> list[str]:
    """Everything about a folder's entries that an attack could change."""
    return sorted(
        f"{path.name} {status.st_mode:o} {status.st_nlink} {status.st_uid} {status.st_size} {status.st_mtime_ns}"
        for path in folder.rglob("*")
        for status in (path.lstat(),)
    )


def _visitor(listener: socket.socket) -> str:
    """Who has come by, if anybody."""
    with contextlib.suppress(BlockingIOError):
        if listener.type == socket.SOCK_DGRAM:
            return f"datagram {listener.recv(64)!r}"
        connection, _address = listener.accept()
        connection.close()
        return f"connection to {listener.getsockname()!r}"
    return ""


@contextlib.contextmanager
def planted() -> Generator[Canaries]:
    """Lay them out, and take them away again."""
    folder = Path(tempfile.mkdtemp(prefix="jackfield-hostile-"))
    mark = f"canary-{secrets.token_hex(6)}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_watching(canaries := Canaries(folder, mark, [])))
        folder.chmod(0o777)  # attacks are to write here
        (folder / "secret").write_text(canaries.make("file"))
        (folder / "planted.py").write_text(f"VALUE = {canaries.make('module')!r}\n")
        for path in folder.iterdir():
            path.chmod(0o666)
        stack.enter_context(mock.patch.dict(os.environ, {_VARIABLE: canaries.make("environment")}))
        kinds: Iterable[tuple[str, Any, int, int]] = (
            ("tcp_port", ("127.0.0.1", 0), socket.AF_INET, socket.SOCK_STREAM),
            ("udp_port", ("127.0.0.1", 0), socket.AF_INET, socket.SOCK_DGRAM),
            ("abstract", f"\0{mark}", socket.AF_UNIX, socket.SOCK_STREAM),
            ("socket", str(folder / "socket"), socket.AF_UNIX, socket.SOCK_STREAM),
        )
        for name, address, family, kind in kinds:
            listener = stack.enter_context(socket.socket(family, kind))
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen(64)
            listener.setblocking(False)  # the socket's own signature
            canaries.listeners.append(listener)
            canaries.facts[name] = listener.getsockname()[1] if family == socket.AF_INET else address.strip("\0")
        (folder / "socket").chmod(0o777)
        canaries.facts |= {
            "pid": os.getpid(), "folder": str(folder), "secret": str(folder / "secret"), "mark": mark,
        }  # fmt: skip
        canaries.before = listing(folder)
        yield canaries


@contextlib.contextmanager
def _watching(canaries: Canaries) -> Generator[None]:
    """Signals that arrive are written down."""
    old = {number: signal.signal(number, lambda n, _frame: canaries.signals.append(n)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
