"""`jackfield webhooks` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Ran

PLUGIN = """
import jackfield_sdk as jf

plugin = jf.Plugin("hooked", version="1.0.0")


@plugin.webhook("paid", verify="none")
def paid(ctx: jf.Context, request: jf.Request) -> None: ...
"""


def test_an_endpoint_from_its_beginning_to_its_end(owner: Callable[..., Ran]) -> None:
    assert "No endpoints" in owner("webhooks", "list").out
    made = owner("webhooks", "add", "https://127.0.0.1:1/hook", "--event", "demo.*", "--event", "x.y", "--json").json
    assert made["events"] == ["demo.*", "x.y"]
    assert made["secret"].startswith("whsec_")
    id = made["id"]
    assert made["secret"] not in owner("webhooks", "list").out
    tested = owner("webhooks", "test", id)
    assert tested.status == 1
    assert "public internet" in tested.out
    assert owner("webhooks", "rotate", id, "--json").json["secret"] != made["secret"]
    assert "is not shown again" in owner("webhooks", "rotate", id, "--overlap", "0").out
    owner("emit", "demo.ping", '{"n": 1}')
    changed = owner("webhooks", "change", id, "--off", "--event", "*", "--json").json
    assert (changed["is_active"], changed["events"]) == (False, ["*"])
    assert json.loads(owner("webhooks", "replay", id, "--since", "2026-01-01", "--json").err)["code"] == (
        "webhook-endpoint-inactive"
    )
    assert owner("webhooks", "change", id, "--on").status == 0
    assert "sent once more" in owner("webhooks", "replay", id, "--since", "2026-01-01T00:00").out
    assert owner("webhooks", "deliveries", id).status == 0
    assert owner("webhooks", "remove", id).status == 0
    assert json.loads(owner("webhooks", "test", id, "--json").err)["code"] == "webhook-endpoint-not-found"


def test_what_cannot_be_done_is_said(owner: Callable[..., Ran]) -> None:
    refused = owner("webhooks", "add", "ftp://example.com", "--json")
    assert (refused.status, json.loads(refused.err)["code"]) == (1, "webhook-url-invalid")
    refused = owner("webhooks", "add", "https://example.com", "--event", "a b", "--json")
    assert json.loads(refused.err)["code"] == "webhook-events-invalid"
    for wrong in (("change", "hook_1"), ("replay", "hook_1"), ("replay", "hook_1", "--since", "then")):
        assert owner("webhooks", *wrong).status == 2


def test_addresses_are_shown_once(owner: Callable[..., Ran], publisher: Callable[..., Ran], tmp_path: Path) -> None:
    project = tmp_path / "hooked"
    project.mkdir()
    (project / "plugin.py").write_text(PLUGIN)
    (project / "pyproject.toml").write_text('[project]\nname = "hooked"\nversion = "1.0.0"\n')
    assert publisher("pack", str(project), "-o", str(tmp_path / "out.jfp")).status == 0
    assert publisher("publish", str(tmp_path / "out.jfp")).status == 0
    assert owner("install", "hooked", "--grant-all").status == 0
    (shown,) = owner("webhooks", "addresses", "hooked", "--json").json
    assert "/api/webhooks/" in shown["url"]
    assert "shown before" in " ".join(owner("webhooks", "addresses", "hooked").out.split())
    other = owner("webhooks", "rotate-address", "hooked", "paid", "--json").json["url"]
    assert other != shown["url"]
    owner("uninstall", "hooked", "--yes")
