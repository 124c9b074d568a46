"""`jackfield connections`, `connect` and `disconnect` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Ran

SETTINGS = {
    "adapter": "rest",
    "settings": {
        "base_url": "https://127.0.0.1:1/v1",
        "entities": {"people": {"fields": {"id": {"type": "integer"}}, "list": {"path": "/people"}}},
    },
    "credentials": {"kind": "bearer", "token": "tok-of-nobody"},
}


def test_what_does_not_work_is_told_and_not_saved(owner: Callable[..., Ran], echo: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(SETTINGS))
    (listed,) = owner("connections", echo, "--json").json
    assert (listed["name"], listed["state"]) == ("data", "missing")
    tried = owner("connect", echo, "data", "--settings", f"@{file}", "--test")
    assert tried.status == 1
    assert "public internet" in tried.out
    refused = owner("connect", echo, "data", "--settings", f"@{file}", "--json")
    assert refused.status == 1
    problem = json.loads(refused.err)
    assert problem["code"] == "connection-test-failed"
    assert problem["report"]["findings"][0]["step"] == "dns"
    assert "tok-of-nobody" not in refused.err + tried.out + tried.err
    assert "missing" in owner("connections", echo).out
    assert json.loads(owner("disconnect", echo, "data", "--json").err)["code"] == "connection-missing"


def test_an_account_elsewhere_takes_settings_first(owner: Callable[..., Ran], echo: str) -> None:
    ran = owner("connect", echo, "data")
    assert ran.status == 2
    assert "--settings" in ran.err
    ran = owner("connect", echo, "calendar", "--settings", "{}", "--json")
    assert json.loads(ran.err)["code"] == "connection-not-declared"
