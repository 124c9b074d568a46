"""What cannot be done is said in a line, with a code and a hint, and the exit status tells whose turn it is."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Server

Run = Callable[..., Ran]


def test_without_a_token_it_says_where_to_put_one(jackfield: Run, server: Server) -> None:
    ran = jackfield("list", url=server.url)
    assert (ran.status, ran.out) == (1, "")
    assert "[credentials-missing]" in ran.err
    assert "JACKFIELD_TOKEN" in ran.err


def test_an_unknown_token_is_refused(jackfield: Run, server: Server) -> None:
    ran = jackfield("list", url=server.url, token="jf_owner_nobody")
    assert (ran.status, "[token-invalid]" in ran.err) == (1, True)


def test_a_token_that_is_none_never_leaves(jackfield: Run, server: Server) -> None:
    ran = jackfield("list", url=server.url, token="a\r\nX-Evil: b")
    assert (ran.status, "[token-malformed]" in ran.err) == (2, True)


def test_a_server_that_is_down_is_named(jackfield: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    for command in (("me",), ("activate", "echo")):
        ran = jackfield(*command, url=url)
        assert ran.status == 1
        assert f"nobody answers at {url}" in ran.err
        assert "jackfield serve" in ran.err


@pytest.mark.parametrize("arguments", ['{"text"', "[]", "5", "@/does/not/exist", '{"n": NaN}', '{"n": 1' + "}" * 2])
def test_bad_json_is_a_usage_error(owner: Run, arguments: str) -> None:
    ran = owner("call", "echo", "echo", arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "error:" in ran.err


@pytest.mark.parametrize("slug", ["..", ".", "", "a/b", "echo?x=1", "../tenants"])
def test_a_name_never_becomes_another_path(owner: Run, slug: str) -> None:
    assert owner("show", slug).status == 2
    assert owner("uninstall", slug, "--yes").status == 2


def test_unknown_things_are_refused_with_the_next_step(owner: Run, echo: str) -> None:
    for command, code, hint in (
        (("install", "no-such-plugin"), "plugin-not-found", "jackfield search"),
        (("show", "no-such-plugin"), "not-installed", "jackfield list"),
        (("call", echo, "no_such_function"), "function-unknown", "jackfield functions"),
        (("call", echo, "echo", '{"text": 5}'), "arguments-invalid", "jackfield functions"),
        (("emit", "no.such.event", "{}"), "event-unknown", ""),
    ):
        ran = owner(*command)
        assert (ran.status, ran.out) == (1, ""), command
        assert f"[{code}]" in ran.err, (command, ran.err)
        assert hint in ran.err


def test_a_refused_call_is_an_answer_too(owner: Run, echo: str) -> None:
    ran = owner("call", echo, "echo", '{"text": 5}', "--json")
    assert (ran.status, ran.json["success"], ran.json["error"]["code"]) == (1, False, "arguments-invalid")
    ran = owner("call", echo, "sign", '{"text": "x"}', "--json")
    assert (ran.status, ran.json["success"], ran.json["error"]["code"]) == (1, False, "signing-key-missing")


def test_for_programs_the_error_is_json_and_stdout_is_empty(owner: Run) -> None:
    ran = owner("show", "no-such-plugin", "--json")
    problem = json.loads(ran.err)
    assert (ran.status, ran.out, problem["code"], problem["status"]) == (1, "", "not-installed", 404)


def test_nobody_to_ask_means_every_grant_must_be_named(owner: Run, publisher: Run, tmp_path: Path) -> None:
    folder = tmp_path / "curious"
    owner("new", "curious", "--dir", str(folder))
    code = (folder / "plugin.py").read_text()
    (folder / "plugin.py").write_text(
        code.replace('category="utility"', 'category="utility", permissions=["events:curious-friend.*"]')
    )
    package = str(tmp_path / "curious.jfp")
    assert publisher("pack", str(folder), "-o", package).status == 0
    assert publisher("publish", package).status == 0
    ran = owner("install", "curious")
    assert (ran.status, ran.out) == (1, "")
    assert "[grants-missing]" in ran.err
    assert "events:curious-friend.*" in ran.err
    assert "--grant-all" in ran.err
    assert json.loads(owner("install", "curious", "--yes", "--json").err)["missing"] == ["events:curious-friend.*"]
    unknown = owner("install", "curious", "--grant", "customers:read", "--grant", "events:curious-friend.*")
    assert (unknown.status, "[grants-unknown]" in unknown.err) == (1, True)
    assert owner("install", "curious", "--grant", "events:curious-friend.*").status == 0
    assert owner("uninstall", "curious", "--yes").status == 0


def test_nothing_is_removed_unasked(owner: Run, echo: str) -> None:
    ran = owner("uninstall", echo)
    assert (ran.status, "--yes" in ran.err) == (2, True)
    assert owner("show", echo).status == 0


def test_a_tampered_package_is_refused(publisher: Run, tmp_path: Path) -> None:
    publisher("new", "tampered", "--dir", str(tmp_path / "p"))
    package = tmp_path / "p.jfp"
    publisher("pack", str(tmp_path / "p"), "-o", str(package))
    data = bytearray(package.read_bytes())
    data[len(data) // 2] ^= 0xFF
    for damaged in (bytes(data), package.read_bytes()[:-100], package.read_bytes() + b"more", b"", b"no package"):
        package.with_name("damaged.jfp").write_bytes(damaged)
        ran = publisher("publish", str(package.with_name("damaged.jfp")))
        assert (ran.status, ran.out) == (1, "")
        assert "error:" in ran.err
    assert publisher("info", "tampered").status == 1


def test_only_publishers_publish(owner: Run, tmp_path: Path) -> None:
    owner("new", "not-mine", "--dir", str(tmp_path / "p"))
    owner("pack", str(tmp_path / "p"), "-o", str(tmp_path / "p.jfp"))
    ran = owner("publish", str(tmp_path / "p.jfp"))
    assert (ran.status, "[not-a-publisher]" in ran.err) == (1, True)


def test_members_may_look_and_not_touch(jackfield: Run, server: Server, echo: str) -> None:
    member = {"token": server.member, "url": server.url}
    assert jackfield("list", **member).status == 0
    assert jackfield("deactivate", echo, **member).status == 1


@pytest.mark.parametrize("slug", ["Upper", "under_score", "-x", "x-", "../up", "a" * 65])
def test_a_new_plugin_needs_a_name_that_fits(jackfield: Run, tmp_path: Path, slug: str) -> None:
    assert jackfield("new", "--dir", str(tmp_path / "p"), "--", slug).status == 2
    assert not (tmp_path / "p").exists()


def test_new_overwrites_nothing(jackfield: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    ran = jackfield("new", "fine", "--dir", str(tmp_path))
    assert (ran.status, "[folder-not-empty]" in ran.err) == (1, True)


def test_an_unknown_command_is_a_usage_error(jackfield: Run) -> None:
    assert jackfield("frobnicate").status == 2
    assert jackfield("install").status == 2
    assert jackfield("--version").out.startswith("jackfield ")
