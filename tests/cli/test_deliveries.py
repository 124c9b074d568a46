"""What became of events, on the command line: a tenant's, and for operators all tenants'."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran, Server


@pytest.mark.usefixtures("echo")
def test_operators_list_those_of_all_tenants_and_tenants_their_own(
    jackfield: Callable[..., Ran], owner: Callable[..., Ran], server: Server
) -> None:
    def all_of(*arguments: str) -> Ran:
        return jackfield("deliveries", "list", "--all-tenants", *arguments, token=server.operator, url=server.url)

    assert owner("emit", "demo.ping", '{"n": 918273645}').status == 0
    deadline = time.monotonic() + 20
    while not (found := all_of("echo", "--event", "demo.ping", "--state", "done", "--json").json):
        assert time.monotonic() < deadline
    (one, *_) = found
    assert (one["tenant_id"], one["slug"], one["state"]) == ("acme", "echo", "done")
    assert "918273645" not in str(found)
    mine = owner("deliveries", "list", "echo", "--until", "2020-01-01T00:00", "--json")
    assert (mine.status, mine.json) == (0, [])
    shown = all_of("--tenant", "nobody")
    assert (shown.status, "No deliveries." in shown.out) == (0, True)
    assert "acme" in all_of("echo").out
    refused = owner("deliveries", "list", "--all-tenants")
    assert (refused.status, "role-missing" in refused.err) == (1, True)
