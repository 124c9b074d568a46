"""Develops a plugin on a running platform: what is saved is at work a moment later, and what is broken is said.

The folder is looked at a few times a second rather than watched by the system: a plugin has a handful of files, and
looking works on every file system, in containers and over the network.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.text import Text

from jackfield_cli.client import Client
from jackfield_cli.errors import CliError
from jackfield_cli.installation import path_of
from jackfield_cli.keys import SigningKey
from jackfield_cli.pack import pack_project
from jackfield_cli.printable import printable
from jackfield_cli.problems import problem_in
from jackfield_cli.sources import project_files
from jackfield_cli.terminal import Terminal
from jackfield_cli.views import done, failure_view, log_line
from jackfield_sdk.errors import PluginError

__all__ = ["Development"]

_LOOK_S = 0.25
_NEWS_EVERY = 4
_MEDIA_TYPE = "application/vnd.jackfield.package"
_AWAY = frozenset({"server-unreachable", "connection-lost", "server-timeout"})

Seen = Mapping[Path, tuple[int, int]]


@dataclass
class Development:
    """One plugin that is being written.

    Attributes:
        config: For the first installation; None: as it is, or defaults.
    """

    client: Client
    terminal: Terminal
    folder: Path
    config: dict[str, Any] | None = None
    _slug: str | None = None
    _newest_log: int = 0
    _errors: set[str] = field(default_factory=set[str])
    _is_away: bool = False

    def once(self) -> dict[str, Any]:
        """Pack the folder, upload it and put it to work; the installation.

        Raises:
            CliError, PluginError: It cannot be packed, or the platform refuses it; what was at work before still is.
        """
        with tempfile.TemporaryDirectory(prefix="jackfield-run-") as elsewhere:
            # The key signs this once and is gone: the token says who answers for it.
            packed = pack_project(self.folder, Path(elsewhere), key=SigningKey(Ed25519PrivateKey.generate()))
            with packed.path.open("rb") as file:
                uploaded = self.client.upload(
                    ("plugins", "development"), _chunks(file), size=packed.size, media_type=_MEDIA_TYPE
                )
        if self._slug is None:
            self._begin_listening(uploaded["slug"])
        before = self._installed(uploaded["slug"])
        installed = self._install(uploaded) if before is None else self._update(uploaded)
        self._slug = installed["slug"]
        return {**installed, "replaces": None if before is None else before["version"]}

    def for_ever(self) -> None:
        """Do it again with every save, and tell what the plugin logs, until somebody presses Ctrl-C."""
        seen: Seen = {}
        wanted, round_ = True, 0
        while True:
            now = _look(self.folder)
            if now != seen:
                # Editors write in several steps: only what has come to rest is worth packing.
                seen, wanted = now, True
            elif wanted:
                wanted = not self._replace()
            elif self._slug is not None and round_ % _NEWS_EVERY == 0:
                self._tell_news()
            round_ += 1
            time.sleep(_LOOK_S)

    def _replace(self) -> bool:
        """Whether that is settled: done, or refused. Not when nobody answers."""
        try:
            installed = self.once()
        except (CliError, PluginError) as error:
            failure = error if isinstance(error, CliError) else _translated(error)
            if failure.code in _AWAY:
                self._tell_away(failure)
                return False
            self._tell_refused(failure)
            return True
        self._is_away = False
        self._tell_running(installed)
        return True

    def _install(self, uploaded: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"slug": uploaded["slug"], "version": uploaded["version"]}
        planned = self.client.write("POST", "plugins", "plan", body=body)
        # Whoever writes a plugin knows what it asks for, and the tenant is theirs.
        others = {other["slug"]: _asked(other) for other in planned["dependencies"]}
        grants = {"grants": _asked(planned), "grants_for": others, "config": self.config}
        return self.client.write("POST", "plugins", "install", body=body | grants)

    def _update(self, uploaded: dict[str, Any]) -> dict[str, Any]:
        slug = uploaded["slug"]
        body: dict[str, Any] = {"slug": slug, "version": uploaded["version"], "action": "update"}
        planned = self.client.write("POST", "plugins", "plan", body=body)
        wanted = {"version": uploaded["version"], "grants": _asked(planned), "config": self.config}
        updated = self.client.write("POST", "plugins", path_of(slug), "update", body=wanted)
        if updated["state"] in ("inactive", "quarantined"):
            updated = self.client.write("POST", "plugins", path_of(slug), "activate")
        return updated

    def _installed(self, slug: str) -> dict[str, Any] | None:
        response = self.client.attempt("GET", "plugins", path_of(slug))
        if response.is_success:
            return response.json()
        problem = problem_in(response)
        if problem.code == "not-installed":
            return None
        raise problem

    def _begin_listening(self, slug: str) -> None:
        """What was logged before is of no interest."""
        if self._installed(slug) is None:
            return
        lines = self.client.get("plugins", path_of(slug), "logs", limit=1)["items"]
        self._newest_log = max((line["id"] for line in lines), default=0)
        failures = self.client.get("plugins", path_of(slug), "errors")["items"]
        self._errors = {failure["id"] for failure in failures}

    def _tell_news(self) -> None:
        name = path_of(self._slug or "")
        try:
            lines = self.client.pages("plugins", name, "logs", limit=500)
            failures = self.client.get("plugins", name, "errors")["items"]
        except CliError as error:
            if error.code in _AWAY:
                self._tell_away(error)
            return  # somebody may have uninstalled it; the next save installs it again
        self._is_away = False
        for line in reversed(lines):
            if line["id"] > self._newest_log:
                self._newest_log = line["id"]
                self._tell({"event": "log", **line}, log_line(line))
        for failure in reversed(failures):
            if failure["id"] not in self._errors and failure["status"] != "refused":
                self._tell({"event": "error", **failure}, None)
                if not self.terminal.is_json:
                    self.terminal.show(failure_view(failure))
        self._errors = {failure["id"] for failure in failures}

    def _tell_running(self, installed: dict[str, Any]) -> None:
        what = "is at work" if installed["state"] == "active" else f"is {installed['state']}"
        because: dict[str, Any] = installed.get("reason") or {}
        names = ("slug", "version", "state", "reason", "replaces")
        text = f"{installed['slug']} {installed['version']} {what}"
        if message := because.get("message"):
            text += f": {message}"
        self._tell({"event": "running", **{name: installed[name] for name in names}}, done(text))

    def _tell_refused(self, error: CliError) -> None:
        self._tell(
            {"event": "refused", **error.document()},
            Text.assemble(("✗ ", "red bold"), printable(str(error)), "  ", (f"[{error.code}]", "dim")),
        )
        if not self.terminal.is_json:
            for line in (*error.details, error.hint):
                if line:
                    self.terminal.line(Text(f"  {printable(line)}"))
            if self._slug is not None:
                self.terminal.line(Text("  What was at work before still is.", style="dim"))

    def _tell_away(self, error: CliError) -> None:
        if not self._is_away:  # once is enough
            self._is_away = True
            self._tell({"event": "away", **error.document()}, Text(f"… {printable(str(error))}", style="yellow"))

    def _tell(self, data: dict[str, Any], text: Text | None) -> None:
        if self.terminal.is_json:
            self.terminal.json(data, indent=None)
        elif text is not None:
            self.terminal.line(text)


def _asked(planned: dict[str, Any]) -> list[str]:
    return [p["permission"] for p in planned["permissions"] if p["kind"] in ("required", "optional")]


def _look(folder: Path) -> Seen:
    """Every file that could matter, with its time and size. One that goes while we look is seen the next time."""
    found: dict[Path, tuple[int, int]] = {}
    with contextlib.suppress(OSError):
        for path in project_files(folder):
            with contextlib.suppress(OSError):
                about = path.stat()
                found[path] = (about.st_mtime_ns, about.st_size)
    return found


def _chunks(file: Any) -> Iterator[bytes]:
    while chunk := file.read(64 * 1024):
        yield chunk


def _translated(error: PluginError) -> CliError:
    return CliError(str(error), code=error.code, hint=error.hint)
