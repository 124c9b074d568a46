"""`jackfield run`: what is saved is at work a moment later; and `jackfield update`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jackfield_cli.keys import create_key
from tests.cli.conftest import Ran, Server

Run = Callable[..., Ran]

SOURCE = """\
import jackfield_sdk as jf

plugin = jf.Plugin("draft", version="VERSION"MORE)


@plugin.function()
def said(ctx: jf.Context) -> str:
    ctx.log.info("asked")
    return "WORD"


@plugin.function()
def fails(ctx: jf.Context) -> None:
    raise RuntimeError("this is broken")
"""


def write(folder: Path, word: str, version: str = "0.1.0", more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    source = SOURCE.replace("VERSION", version).replace("WORD", word).replace("MORE", more)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "draft"\nversion = "{version}"\n')
    (folder / "plugin.py").write_text(source)


class Watching:
    """`jackfield run DIR --json` in a process of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        environment = {**os.environ, "JACKFIELD_URL": server.url, "JACKFIELD_TOKEN": server.owner}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jackfield_cli", "run", str(folder), "--json"],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next thing of this kind that happens."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if told["event"] == event:
                return told
        raise AssertionError(f"it ended before {event}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@pytest.fixture
def watching(server: Server, owner: Run, tmp_path: Path) -> Iterator[Watching]:
    write(tmp_path / "draft", "first")
    watching = Watching(server, tmp_path / "draft")
    yield watching
    if watching.process.poll() is None:
        watching.process.kill()
        watching.process.wait()
    assert watching.process.stdout is not None
    watching.process.stdout.close()
    owner("uninstall", "draft", "--yes")


def test_each_save_is_at_work_and_a_broken_one_changes_nothing(watching: Watching, owner: Run, tmp_path: Path) -> None:
    first = watching.wait_for("running")
    assert (first["slug"], first["state"], first["replaces"]) == ("draft", "active", None)
    assert first["version"].startswith("0.1.0-dev.1.")
    assert owner("call", "draft", "said").json == "first"
    assert watching.wait_for("log")["message"] == "asked"

    write(tmp_path / "draft", "second")
    second = watching.wait_for("running")
    assert (second["replaces"], second["version"].startswith("0.1.0-dev.2.")) == (first["version"], True)
    assert owner("call", "draft", "said").json == "second"

    (tmp_path / "draft" / "plugin.py").write_text("this is no Python")
    refused = watching.wait_for("refused")
    assert "plugin.py" in refused["detail"] + refused["hint"]
    assert owner("call", "draft", "said").json == "second"

    write(tmp_path / "draft", "third", more=', permissions=["bookings:write"]')
    assert watching.wait_for("refused")["code"] == "entity-unknown", "the platform's refusals are told too"
    assert owner("call", "draft", "said").json == "second"

    write(tmp_path / "draft", "fourth", version="0.2.0")
    assert watching.wait_for("running")["version"].startswith("0.2.0-dev.")
    assert owner("call", "draft", "said").json == "fourth"
    assert owner("call", "draft", "fails").status == 1
    assert "this is broken" in watching.wait_for("error")["error_trace"]

    assert watching.stop() == 0
    assert owner("show", "draft", "--json").json["state"] == "active", "it stays when nobody watches any more"
    assert not owner("search", "draft", "--json").json, "nothing was published"


def test_once_puts_it_to_work_and_ends(owner: Run, tmp_path: Path) -> None:
    write(tmp_path / "draft", "once")
    ran = owner("run", str(tmp_path / "draft"), "--once", "--json")
    assert (ran.status, ran.json["state"], ran.json["replaces"]) == (0, "active", None)
    assert owner("call", "draft", "said").json == "once"
    again = owner("run", str(tmp_path / "draft"), "--once")
    assert (again.status, "is installed" in again.out) == (0, True)
    (tmp_path / "draft" / "plugin.py").write_text("1 +")
    broken = owner("run", str(tmp_path / "draft"), "--once")
    assert (broken.status, broken.out) == (1, "")
    assert owner("call", "draft", "said").json == "once"
    assert owner("uninstall", "draft", "--yes").status == 0


def test_who_may_not_install_may_not_develop(jackfield: Run, server: Server, tmp_path: Path) -> None:
    write(tmp_path / "draft", "once")
    for token in (server.member, server.publisher):
        ran = jackfield("run", str(tmp_path / "draft"), "--once", token=token, url=server.url)
        assert (ran.status, "[role-missing]" in ran.err) == (1, True)


def test_an_update_asks_for_what_is_new_and_keeps_the_rest(
    owner: Run, publisher: Run, keys_home: Path, tmp_path: Path
) -> None:
    create_key(keys_home / "keys")
    package = tmp_path / "p.jfp"

    def publish(word: str, version: str, more: str = "") -> None:
        write(tmp_path / "p", word, version, more)
        project = tmp_path / "p"
        for name in ("plugin.py", "pyproject.toml"):
            (project / name).write_text((project / name).read_text().replace("draft", "steady"))
        key = owner("keys", "list", "--json").json[0]["key_id"]
        assert publisher("pack", str(project), "-o", str(package), "--key", key).status == 0
        assert publisher("publish", str(package)).status == 0

    publish("one", "1.0.0")
    assert owner("install", "steady").status == 0
    assert "[update-not-newer]" in owner("update", "steady").err
    publish("two", "1.1.0")
    updated = owner("update", "steady")
    assert (updated.status, "1.0.0 → 1.1.0" in updated.out) == (0, True)
    assert owner("call", "steady", "said").json == "two"

    publish("three", "1.2.0", ', permissions=["http:api.example.com"]')
    refused = owner("update", "steady", "--yes")
    assert (refused.status, "[consent-needed]" in refused.err) == (1, True)
    assert "http:api.example.com  (high risk: exchange data with api.example.com)" in refused.err
    assert "an update to 1.2.0 waits for http:api.example.com" in " ".join(owner("list").out.split())
    assert "An update to 1.2.0 waits" in owner("show", "steady").out
    assert owner("update", "steady", "--forget", "--json").json["pending_update"] is None
    assert "[grants-unknown]" in owner("grant", "steady", "http:api.example.com").err
    assert json.loads(owner("update", "steady", "--json").err)["pending_update"]["version"] == "1.2.0"
    assert owner("call", "steady", "said").json == "two"
    granted = owner("grant", "steady", "http:api.example.com")
    assert (granted.status, "1.1.0 → 1.2.0" in granted.out) == (0, True)
    assert owner("call", "steady", "said").json == "three"
    assert "[development-over-published]" in _develop_over(owner, tmp_path).err
    assert owner("uninstall", "steady", "--yes").status == 0


def _develop_over(owner: Run, tmp_path: Path) -> Ran:
    return owner("run", str(tmp_path / "p"), "--once")
