"""`jackfield retention` says for how long records are kept, and changes it."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.conftest import Ran, Server


def test_a_tenant_has_its_logs_kept_for_a_week_and_then_as_everybody_else(owner: Callable[..., Ran]) -> None:
    def logs() -> tuple[int | None, bool]:
        (found,) = [kind for kind in owner("retention", "show", "--json").json if kind["kind"] == "logs"]
        return found["days"], found["is_own"]

    before = logs()
    assert not before[1]
    assert owner("retention", "set", "logs", "--days", "7").status == 0
    assert logs() == (7, True)
    shown = owner("retention", "show")
    assert shown.status == 0
    assert "7 days" in shown.out
    assert owner("retention", "set", "logs", "--default", "--json").json["is_own"] is False
    assert logs() == before


def test_what_is_unclear_unknown_or_not_allowed_is_refused(owner: Callable[..., Ran]) -> None:
    for arguments in (["logs"], ["logs", "--days", "7", "--default"]):
        refused = owner("retention", "set", *arguments)
        assert refused.status == 2
        assert "--days N" in refused.err
    unknown = owner("retention", "set", "dreams", "--days", "7")
    assert unknown.status == 1
    assert "retention-kind" in unknown.err
    evidence = owner("retention", "set", "audit", "--days", "1")
    assert evidence.status == 1
    assert "at least" in evidence.err


def test_operators_see_what_was_dropped_and_tenants_do_not(
    jackfield: Callable[..., Ran], owner: Callable[..., Ran], server: Server
) -> None:
    found = jackfield("retention", "runs", "--json", token=server.operator, url=server.url).json
    assert "logs" in {kind["kind"] for kind in found}
    assert jackfield("retention", "runs", token=server.operator, url=server.url).status == 0
    assert owner("retention", "runs").status == 1


def test_operators_look_at_one_tenant_and_set_what_its_plan_allows(
    jackfield: Callable[..., Ran], owner: Callable[..., Ran], server: Server
) -> None:
    def operator(*arguments: str) -> Ran:
        return jackfield("retention", *arguments, token=server.operator, url=server.url)

    assert operator("set", "logs", "--days", "8", "--tenant", "acme").status == 0
    (logs,) = [kind for kind in operator("show", "--tenant", "acme", "--json").json if kind["kind"] == "logs"]
    assert (logs["days"], logs["is_own"]) == (8, True)
    (entry, *_) = owner("audit", "list", "--json").json
    assert (entry["action"], entry["actor"].partition(":")[0]) == ("retention.set", "operator")
    assert operator("set", "logs", "--default", "--tenant", "acme").status == 0
    assert "tenant-not-found" in operator("show", "--tenant", "nobody").err
    assert "tenant-not-found" in operator("set", "logs", "--days", "8", "--tenant", "nobody").err
    assert "role-missing" in owner("retention", "show", "--tenant", "acme").err
    assert "role-missing" in operator("show").err
