"""`jackfield watch`: what happens on the server is told in the terminal as it happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.cli.conftest import Ran, Server

Run = Callable[..., Ran]


def test_what_happens_is_told_until_one_has_heard_enough(server: Server, owner: Run, echo: str) -> None:
    environment = {**os.environ, "JACKFIELD_URL": server.url, "JACKFIELD_TOKEN": server.owner}
    with subprocess.Popen(
        [sys.executable, "-m", "jackfield_cli", "watch", "--kinds", "installation", "--plugin", echo, "--json"],
        env=environment, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout is not None
        told = (json.loads(line) for line in watching.stdout)
        try:
            assert next(told)["kind"] == "ready"
            assert owner("deactivate", echo).status == 0
            state = None
            while state != ("done", "inactive"):
                event = next(told)
                assert (event["kind"], event["data"]["plugin"]) == ("installation", echo)
                state = event["data"]["operation"]["state"], event["data"]["state"]
        finally:
            watching.send_signal(signal.SIGINT)
        assert watching.wait(15) == 130


def test_an_operator_hears_of_all_tenants_or_of_one(server: Server, owner: Run, echo: str) -> None:
    def watching(*options: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "JACKFIELD_URL": server.url, "JACKFIELD_TOKEN": server.operator}
        command = [sys.executable, "-m", "jackfield_cli", "watch", "--json", *options]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    with watching() as all_of_them, watching("--tenant", "acme") as one, watching("--tenant", "globex") as other:
        try:
            for each in (all_of_them, one, other):
                assert each.stdout is not None
                assert json.loads(each.stdout.readline())["kind"] == "ready"
            assert owner("deactivate", echo).status == 0
            for each, tenant in ((all_of_them, "acme"), (one, None)):
                assert each.stdout is not None
                event = json.loads(each.stdout.readline())
                while event["kind"] != "installation":
                    event = json.loads(each.stdout.readline())
                assert (event["data"]["plugin"], event["data"].get("tenant")) == (echo, tenant)
        finally:
            for each in (all_of_them, one, other):
                each.send_signal(signal.SIGINT)
        assert [each.wait(15) for each in (all_of_them, one, other)] == [130] * 3
        assert other.stdout is not None
        assert other.stdout.read() == "", "of another tenant, nothing"
    assert owner("watch", "--tenant", "globex").status == 1


def test_what_cannot_be_heard_is_refused_at_once(server: Server, owner: Run, jackfield: Run) -> None:
    assert "stream-kind-unknown" in owner("watch", "--kinds", "secrets", "--json").err
    assert jackfield("watch", token="nobody's", url=server.url).status == 1
