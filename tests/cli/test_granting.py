"""`jackfield permissions`, `grant` and `revoke`: what a plugin may do, what it made of it, and how that is changed."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.conftest import Ran

Run = Callable[..., Ran]


def test_what_is_taken_back_is_gone_and_can_be_given_again(owner: Run, echo: str) -> None:
    revoked = owner("revoke", echo, "storage")
    assert (revoked.status, "may not use storage any more" in revoked.out) == (0, True)
    shown = {p["permission"]: p for p in owner("permissions", echo, "--json").json}
    assert shown["storage"]["is_granted"] is False
    refused = owner("call", echo, "pings")
    assert (refused.status, "[permission-denied]" in refused.err) == (1, True)
    assert owner("grant", echo, "storage").status == 0
    assert owner("call", echo, "pings").status == 0


def test_uses_are_counted_with_who_they_were_for(owner: Run, echo: str) -> None:
    before = _uses(owner, echo)
    for _ in range(3):
        assert owner("call", echo, "pings").status == 0
    assert _uses(owner, echo) == before + 3
    (storage,) = [p for p in owner("permissions", echo, "--json").json if p["permission"] == "storage"]
    assert storage["last_used_at"] is not None
    assert sum(user["uses"] for user in storage["users"]) >= 3
    assert "storage" in owner("permissions", echo).out


def test_what_cannot_be_done_is_said(owner: Run, echo: str) -> None:
    assert "[grant-not-there]" in owner("revoke", echo, "customers:read").err
    assert "[grants-unknown]" in owner("grant", echo, "customers:read").err
    assert "[json-invalid]" in owner("grant", echo, "storage", "--where", "{}").err
    assert "[json-invalid]" in owner("grant", echo, "storage", "--where", "city").err
    assert "[row-filter-invalid]" in owner("grant", echo, "storage", "--where", '[["city", "eq", "Berlin"]]').err
    assert "[nothing-pending]" in owner("update", echo, "--forget").err


def _uses(owner: Run, echo: str) -> int:
    return next(p["uses"] for p in owner("permissions", echo, "--json").json if p["permission"] == "storage")
