"""`jackfield schedules`, `notifications` and `channels` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

PLUGIN = """
import jackfield_sdk as jf

plugin = jf.Plugin("by-day", version="1.0.0", permissions=["notify"])


@plugin.schedule("0 3 * * *", timezone="Europe/Vienna", name="tidy")
def tidy(ctx: jf.Context) -> None: ...


@plugin.function(public=True)
def remind(ctx: jf.Context) -> None:
    ctx.notify.send("all", "Stock is low", "Order more honey.")
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("by-day")
    (project / "plugin.py").write_text(PLUGIN)
    (project / "pyproject.toml").write_text('[project]\nname = "by-day"\nversion = "1.0.0"\n')
    return project


@pytest.fixture
def slug(owner: Callable[..., Ran], publisher: Callable[..., Ran], package: Path, tmp_path: Path) -> Iterator[str]:
    if not owner("search", "by-day", "--json").json:
        packed = publisher("pack", str(package), "-o", str(tmp_path / "out.jfp"))
        assert packed.status == 0, packed.err
        assert publisher("publish", str(tmp_path / "out.jfp")).status == 0
    installed = owner("install", "by-day", "--grant-all")
    assert installed.status == 0, installed.err
    yield "by-day"
    owner("uninstall", "by-day", "--yes")


def test_a_schedule_is_run_paused_and_goes_on(owner: Callable[..., Ran], slug: str) -> None:
    (tidy,) = owner("schedules", "list", slug, "--json").json
    assert (tidy["name"], tidy["cron"], tidy["timezone"]) == ("tidy", "0 3 * * *", "Europe/Vienna")
    assert "It has not run" in owner("schedules", "history", slug, "tidy").out
    assert owner("schedules", "run", slug, "tidy", "--json").json["delivery_id"].startswith("dlv_")
    assert len(owner("schedules", "history", slug, "tidy", "--json").json) == 1
    assert owner("schedules", "pause", slug, "tidy").status == 0
    assert "paused" in owner("schedules", "list", slug).out
    assert "runs next at 20" in owner("schedules", "resume", slug, "tidy").out
    refused = owner("schedules", "run", slug, "none", "--json")
    assert (refused.status, json.loads(refused.err)["code"]) == (1, "schedule-not-found")


def test_notifications_are_listed_read_and_muted(
    owner: Callable[..., Ran], person: Callable[..., Ran], slug: str
) -> None:
    called = owner("call", slug, "remind", "{}")
    assert called.status == 0, called.err
    listed = person("notifications", "list", "--unread", "--json")
    assert listed.status == 0, listed.err
    (told,) = listed.json
    assert (told["plugin"], told["title"]) == (slug, "Stock is low")
    assert "Order more honey." in person("notifications", "list").out
    assert person("notifications", "read", told["id"]).status == 0
    assert "Nothing is unread" in person("notifications", "list", "--unread").out
    assert person("notifications", "mute", slug).status == 0
    assert "not at all" in person("notifications", "preferences").out
    assert person("notifications", "unmute", slug).status == 0
    assert person("notifications", "read", "--all", "--json").json == {"marked": 0}
    assert person("notifications", "read").status == 2
    assert json.loads(owner("notifications", "list", "--json").err)["code"] == "member-needed"


def test_a_channel_from_its_beginning_to_its_end(owner: Callable[..., Ran], slug: str) -> None:
    made = owner("channels", "add", "web-chat", "Site", "--json").json
    assert made["state"] == "connected"
    assert owner("channels", "assign", "Site", slug, "--priority", "5").status == 0
    shown = owner("channels", "show", "Site", "--json").json
    assert [plugin["priority"] for plugin in shown["plugins"]] == [5]
    assert [function["name"] for function in shown["functions"]] == ["remind"]
    assert owner("channels", "disconnect", made["id"]).status == 0
    assert "disconnected" in owner("channels", "list").out
    assert owner("channels", "connect", "Site").status == 0
    assert owner("channels", "unassign", "Site", slug).status == 0
    assert "No plugin is on it" in owner("channels", "show", "Site").out
    assert owner("channels", "remove", "Site").status == 0
    assert json.loads(owner("channels", "show", "Site", "--json").err)["code"] == "channel-not-found"
    refused = owner("channels", "add", "pigeon", "Post", "--json")
    assert (refused.status, json.loads(refused.err)["code"]) == (1, "channel-settings-invalid")
    assert owner("channels", "add", "telegram", "Bot").status == 2
