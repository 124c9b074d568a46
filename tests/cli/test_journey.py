"""From nothing to a running plugin and away again, as the README tells it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from jackfield_cli.keys import list_keys
from tests.cli.conftest import Ran, Server
from tools.committed import ROOT

Run = Callable[..., Ran]


def test_a_plugin_goes_all_the_way(owner: Run, publisher: Run, tmp_path: Path) -> None:
    folder, package = tmp_path / "first-steps", tmp_path / "first-steps.jfp"
    made = owner("new", "first-steps", "--dir", str(folder))
    assert (made.status, str(folder) in made.out) == (0, True)

    checked = owner("check", str(folder))
    assert "first-steps 0.1.0 can be packed" in checked.out
    assert "greet, greeted" in checked.out
    assert sorted(tmp_path.iterdir()) == [folder], "checking writes nothing"

    assert publisher("pack", str(folder), "-o", str(package)).status == 0
    published = publisher("publish", str(package), "--json")
    assert published.json["slug"] == "first-steps"
    assert published.json["key_id"] in list_keys()

    installed = owner("install", "first-steps", "--grant-all", "--config", '{"greeting": "Ahoy"}')
    assert (installed.status, "first-steps 0.1.0 is installed" in installed.out) == (0, True)
    called = owner("call", "first-steps", "greet", '{"name": "Ada"}')
    assert (called.status, called.json, called.err) == (0, "Ahoy, Ada!", "")
    assert owner("call", "first-steps", "greeted").json == 1
    whole = owner("call", "first-steps", "greeted", "--json").json
    assert (whole["success"], whole["output"], whole["metrics"]["host_calls"]) == (True, 1, 1)

    assert 'greeted  name="Ada"' in owner("logs", "first-steps").out
    assert owner("stats", "first-steps", "--json").json["calls"] >= 3
    assert owner("inventory", "first-steps", "--json").json["owned"]["table_rows"] == 1
    assert "plugin.install" in owner("audit", "list", "--target", "first-steps").out

    export = tmp_path / "export.jsonl"
    removed = owner("uninstall", "first-steps", "--data", "export", "--out", str(export), "--yes")
    assert removed.status == 0, removed.err
    saved = [json.loads(line) for line in export.read_text().splitlines()]
    assert saved[0]["kind"] == "export"
    assert "Ada" in str(saved)
    assert owner("show", "first-steps").status == 1


def test_the_scaffolds_own_tests_pass(owner: Run, tmp_path: Path) -> None:
    owner("new", "tested-plugin", "--dir", str(tmp_path / "p"))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "p")],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_first_package_registers_its_key_and_the_second_need_not(
    jackfield: Run, server: Server, tmp_path: Path
) -> None:
    first = {"token": server.stranger, "url": server.url}
    jackfield("new", "key-trial", "--dir", str(tmp_path / "p"))
    key = jackfield("keys", "new", "--json").json["key_id"]
    package = str(tmp_path / "p.jfp")
    assert jackfield("pack", str(tmp_path / "p"), "-o", package, "--key", key).status == 0
    published = jackfield("publish", package, **first)
    assert "now registered as yours" in published.out
    assert f"registered the key {key} with the publisher stranger" in published.err
    again = jackfield("publish", package, **first)
    assert (again.status, again.out) == (1, "")
    assert "[version-not-greater]" in again.err
    assert "registered" not in again.err


def test_installing_again_with_all_grants_is_no_failure(owner: Run, echo: str) -> None:
    assert owner("grants", echo, "--withdraw", "storage").status == 0
    assert "storage" not in owner("grants", echo, "--json").json["grants"]
    again = owner("install", echo, "--grant-all")
    assert (again.status, "installed already" in again.out) == (0, True)
    assert "storage" in owner("grants", echo, "--json").json["grants"]
    refused = owner("install", echo)
    assert (refused.status, "[already-installed]" in refused.err) == (1, True)
    other = owner("install", echo, "--grant-all", "--version", "9.9.9")
    assert other.status == 1


def test_events_and_filters_reach_it(owner: Run, echo: str) -> None:
    assert owner("emit", "demo.ping", '{"n": 4}', "--json").json["id"].startswith("evt_")
    booking = (
        '{"id": "b1", "customer_id": "c1", "service": "cut", "starts_at": "2030-01-01T10:00:00Z", '
        '"duration_minutes": 30}'
    )
    ran = owner("filter", "booking.beforeCreate", booking, "--dry-run", "--json")
    assert ran.status == 0, ran.err
    assert [step["plugin"] for step in ran.json["steps"]] == [echo]
    assert "Hello from Echo" in owner("filter", "booking.beforeCreate", booking).out


def test_it_can_be_configured_rested_and_woken(owner: Run, echo: str) -> None:
    assert owner("configure", echo, '{"greeting": "Hi", "signing_key": "s3cr3t"}').status == 0
    shown = owner("show", echo)
    assert "s3cr3t" not in shown.out + owner("show", echo, "--json").out
    assert ('"Hi"' in shown.out, "signing_key" in shown.out) == (True, True)
    assert owner("deactivate", echo).status == 0
    assert owner("health", echo).status == 1
    assert owner("call", echo, "pings").status == 1
    assert owner("activate", echo).status == 0
    assert owner("health", echo).status == 0


def test_every_reading_command_answers_people_and_programs(owner: Run, echo: str) -> None:
    for command in (
        ("search",), ("info", echo), ("plan", echo), ("list",), ("show", echo), ("grants", echo), ("functions",),
        ("functions", echo), ("logs", echo), ("errors", echo), ("stats", echo), ("deliveries", "list", echo),
        ("deliveries", "replay", "--plugin", echo, "--dry-run"), ("health",),
        ("health", echo), ("inventory", echo), ("permissions", echo), ("audit", "list"), ("me",), ("keys", "list"),
    ):  # fmt: skip
        people, program = owner(*command), owner(*command, "--json")
        assert (people.status, program.status) == (0, 0), (command, people.err, program.err)
        assert people.out.strip()
        json.loads(program.out)


def test_reference_plugins_pass_the_check(owner: Run) -> None:
    checked = owner("check", str(ROOT / "plugins" / "loyalty-points"), "--json")
    assert (checked.status, checked.json["permissions"]) == (0, ["customers:read"])


def test_the_audit_trail_can_be_taken_along_and_verified(owner: Run, echo: str, tmp_path: Path) -> None:
    assert owner("configure", echo, '{"greeting": "Hi"}').status == 0
    entry = owner("audit", "list", "--action", "plugin.configure", "--json").json[0]
    assert (entry["plugin"], entry["ip"], bool(entry["user_agent"]), entry["node_id"][:5]) == (
        echo, "127.0.0.1", True, "node_",
    )  # fmt: skip
    whole, some = tmp_path / "audit.ndjson", tmp_path / "some.ndjson"
    assert owner("audit", "export", "-o", str(whole)).status == 0
    assert owner("audit", "export", "-o", str(some), "--action", "plugin.").status == 0
    head = owner("audit", "verify", "--json").json["head"]
    assert (owner("audit", "verify", "--head", head).status, owner("audit", "verify", str(whole)).status) == (0, 0)
    filtered = owner("audit", "verify", str(some), "--json").json
    assert (filtered["is_good"], filtered["is_whole"], filtered["entries"] > 1) == (True, False, True)

    lines = whole.read_bytes().splitlines(keepends=True)
    found: dict[str, str] = {}
    for name, changed in {
        "value": [line.replace(b'"Hi"', b'"Ho"') for line in lines],
        "gone": lines[:2] + lines[3:],
        "order": [lines[0], lines[2], lines[1], *lines[3:]],
        "cut": lines[:-1],
        "end": [*lines[:-2], lines[-1]],
        "more": [*lines, lines[1]],
        "empty": lines[:1],
        "garbage": [*lines[:2], b"\xff{\n", *lines[3:]],
    }.items():
        file = tmp_path / name
        file.write_bytes(b"".join(changed))
        ran = owner("audit", "verify", str(file), "--json")
        assert ran.status == 1, name
        found[name] = ran.json["fault"]
    assert found["value"].endswith("does not say what it said")
    assert found["gone"].startswith("entries are missing")
    assert found["cut"] == found["empty"] == "its end is missing"
    stranger = owner("audit", "verify", str(whole), "--key", "A" * 43 + "=", "--json")
    assert (stranger.status, stranger.json["fault"], stranger.json["is_trusted"]) == (1, None, False)
    assert owner("audit", "verify", str(tmp_path / "nothing")).status == 1
    (tmp_path / "other").write_text("{}\n")
    assert "no export" in owner("audit", "verify", str(tmp_path / "other")).err
