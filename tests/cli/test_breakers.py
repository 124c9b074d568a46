"""Handlers that are left alone, on the command line."""

from __future__ import annotations

from collections.abc import Callable

from jackfield_cli.installation import left_alone
from tests.cli.conftest import Ran, Server


def test_operators_list_them_and_tenants_see_their_own_in_a_plugins_details(
    jackfield: Callable[..., Ran], owner: Callable[..., Ran], server: Server
) -> None:
    assert jackfield("breakers", "--json", token=server.operator, url=server.url).json == []
    shown = jackfield("breakers", "--tenant", "acme", token=server.operator, url=server.url)
    assert (shown.status, "None is left alone." in shown.out) == (0, True)
    refused = owner("breakers")
    assert refused.status == 1
    assert "role-missing" in refused.err
    breakers = [
        {"handler": "award", "code": "plugin-error", "state": "open", "retry_after_s": 118.5},
        {"handler": "paid", "code": "timeout", "state": "half-open", "retry_after_s": 0.0},
    ]
    assert left_alone({"breakers": breakers}) == ["award (plugin-error), 118.5 s more", "paid (timeout), being tried"]
