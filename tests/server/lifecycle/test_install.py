"""Installing: all of it or nothing, with exactly the consent that was given."""

from __future__ import annotations

from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield.capabilities.models import SecretValue
from jackfield.errors import JackfieldError
from jackfield.invocation import Invocation
from jackfield.lifecycle import State
from jackfield.lifecycle.models import InstallationRow
from tests.server.lifecycle.conftest import CONFIG, OWNER, TENANT, House, plugin_of, with_config, with_hooks


async def refusal(house: House, slug: str = "points", **options: Any) -> JackfieldError:
    with pytest.raises(JackfieldError) as refused:
        await house.lifecycle.install(TENANT, slug, **options)
    return refused.value


async def test_a_plugin_with_nothing_to_ask_is_active_at_once(house: House) -> None:
    house.catalogue.add(plugin_of())
    installed = await house.lifecycle.install(TENANT, "points", actor=OWNER)
    assert installed.state is State.ACTIVE
    assert installed.reason is None
    assert installed.activated_at is not None
    assert set(installed.grants) == {"storage", "log", "cache", "files"}
    assert list((await house.active.get(TENANT)).by_slug) == ["points"]
    assert (await house.active.get("other")).by_slug == {}


async def test_its_hooks_run_in_order_before_it_is_at_work(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of()))
    states: list[str] = []

    async def look(_invocation: Invocation) -> None:
        states.append(await house.state())
        assert (await house.active.get(TENANT)).by_slug == {}

    house.runner.handlers = {"on_install": look, "on_activate": look}
    await house.lifecycle.install(TENANT, "points", actor=OWNER)
    assert house.runner.names == ["points.on_install", "points.on_activate"]
    assert states == ["installing", "activating"]
    assert await house.state() == "active"
    call = house.runner.calls[0]
    assert (call.kind, call.handler, call.timeout_ms) == ("lifecycle", "do_on_install", 30_000)
    assert call.caller is not None
    assert (call.caller.id, call.caller.role) == ("mem_1", "owner")


async def test_a_hook_may_use_the_database_because_no_transaction_is_open(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of(), "on_install"))

    async def store(invocation: Invocation) -> None:
        await house.owns(invocation.installation.id)

    house.runner.handlers["on_install"] = store
    await house.lifecycle.install(TENANT, "points")
    assert await house.residue() == {"jf_installations": 1, "jf_storage": 1, "jf_table_rows": 1}


async def test_a_failing_on_install_leaves_nothing_but_the_journal(house: House) -> None:
    house.catalogue.add(with_config(with_hooks(plugin_of())))

    async def store_and_fail(invocation: Invocation) -> None:
        await house.owns(invocation.installation.id)
        raise jf.UserError("no licence for this shop")

    house.runner.handlers["on_install"] = store_and_fail
    refused = await refusal(house, config=CONFIG, actor=OWNER)
    assert refused.code == "install-failed"
    assert str(refused) == "no licence for this shop"
    assert refused.data["plugin_error"]["message"] == "no licence for this shop"
    assert await house.residue() == {}
    assert await house.operations() == [("install", "failed")]
    assert house.runner.names == ["points.on_install"]
    assert len(house.runner.retired) >= 1
    assert await house.lifecycle.list(TENANT) == []
    house.runner.handlers.clear()
    assert (await house.lifecycle.install(TENANT, "points", config=CONFIG)).state is State.ACTIVE


async def test_a_failing_on_activate_leaves_it_inactive_and_says_why(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of()))
    house.fails("on_activate", "the till is closed")
    installed = await house.lifecycle.install(TENANT, "points")
    assert installed.state is State.INACTIVE
    assert installed.reason == ("activation-failed", "the till is closed")
    assert await house.operations() == [("install", "done")]


async def test_everything_required_has_to_be_granted(house: House) -> None:
    house.catalogue.add(plugin_of(permissions=["customers:read", "customers:write"]))
    refused = await refusal(house, grants=["customers:read"])
    assert refused.code == "grants-missing"
    assert refused.data["missing"] == ["customers:write"]
    assert await house.residue() == {}
    assert await house.operations() == []


async def test_nothing_unasked_can_be_granted(house: House) -> None:
    house.catalogue.add(plugin_of(permissions=["customers:read"]))
    for extra in ("customers:write", "*", "customers:*", "secrets:api_key"):
        refused = await refusal(house, grants=["customers:read", extra])
        assert refused.code == "grants-unknown"
        assert refused.data["unknown"] == [extra]


async def test_optional_permissions_are_as_the_tenant_says(house: House) -> None:
    house.catalogue.add(plugin_of(permissions=["customers:read"], optional_permissions=["customers:write"]))
    without = await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    assert "customers:write" not in without.grants
    await house.lifecycle.uninstall(TENANT, "points")
    both = await house.lifecycle.install(TENANT, "points", grants=["customers:read", "customers:write"])
    assert "customers:write" in both.grants


async def test_what_is_installed_cannot_be_installed_again(house: House) -> None:
    house.catalogue.add(plugin_of())
    await house.lifecycle.install(TENANT, "points")
    assert (await refusal(house)).code == "already-installed"
    assert (await house.lifecycle.install("other", "points")).state is State.ACTIVE


async def test_it_can_be_installed_twice_under_two_names(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    first = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    second = await house.lifecycle.install(TENANT, "points", instance="south", config={**CONFIG, "shop": "south"})
    assert first.id != second.id
    assert (first.config["shop"], second.config["shop"]) == ("north", "south")
    assert list((await house.active.get(TENANT)).by_slug) == ["points", "points@south"]
    assert (await refusal(house, instance="south")).code == "already-installed"
    for name in ("", "South", "a b", "../x", "x" * 41):
        assert (await refusal(house, instance=name)).code == "instance-invalid"


async def test_missing_configuration_leaves_it_inactive_and_says_what_is_missing(house: House) -> None:
    house.catalogue.add(with_config(with_hooks(plugin_of())))
    installed = await house.lifecycle.install(TENANT, "points")
    assert installed.state is State.INACTIVE
    assert installed.missing_config == ("api_key", "shop")
    assert installed.reason is not None
    assert installed.reason[0] == "needs-configuration"
    assert house.runner.names == ["points.on_install"]


async def test_secrets_are_stored_apart_and_encrypted(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    installed = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    assert installed.state is State.ACTIVE
    assert dict(installed.config) == {"shop": "north", "rate": 1.0}
    assert dict(installed.secrets) == {"api_key": True}
    snapshot = (await house.active.get(TENANT)).by_slug["points"]
    assert dict(snapshot.config) == {"shop": "north", "rate": 1.0}
    assert snapshot.secret_names == ("api_key",)
    if house.database.is_sqlite:
        for name in ("jackfield.sqlite3", "jackfield.sqlite3-wal"):
            assert b"s3cret-key" not in (house.data_dir.parent / name).read_bytes()
    assert all("s3cret-key" not in str(vars(row)) for row in await house.rows(SecretValue))


async def test_configuration_that_does_not_fit_begins_nothing(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    refused = await refusal(house, config={**CONFIG, "rate": "much"})
    assert refused.code == "config-invalid"
    assert refused.data["errors"][0]["path"] == "rate"
    assert await house.operations() == []


async def test_every_installation_is_in_the_audit_trail_without_its_secrets(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    await house.lifecycle.install(TENANT, "points", config=CONFIG, actor=OWNER)
    [entry] = await house.audit()
    assert (entry.tenant_id, entry.actor, entry.action, entry.target) == (
        TENANT,
        "member:mem_1",
        "plugin.install",
        "points",
    )
    assert entry.before is None
    assert entry.after is not None
    assert entry.after["state"] == "active"
    assert entry.after["config"] == {"shop": "north"}


async def test_two_clicks_install_once(house: House) -> None:
    import asyncio

    house.catalogue.add(with_hooks(plugin_of(), "on_install"))
    answers = await asyncio.gather(
        *(house.lifecycle.install(TENANT, "points") for _ in range(5)), return_exceptions=True
    )
    codes = sorted(answer.code if isinstance(answer, JackfieldError) else "ok" for answer in answers)
    assert codes == ["already-installed"] * 4 + ["ok"]
    assert house.runner.names == ["points.on_install"]


async def test_a_caller_that_goes_away_does_not_stop_it(house: House) -> None:
    import asyncio

    house.catalogue.add(with_hooks(plugin_of(), "on_install"))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_invocation: Invocation) -> None:
        begun.set()
        await go_on.wait()

    house.runner.handlers["on_install"] = wait
    call = asyncio.create_task(house.lifecycle.install(TENANT, "points"))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await refusal(house)).code in ("already-installed", "operation-in-progress")
    go_on.set()
    await house.lifecycle.close()
    assert await house.state() == "active"


# -- with others ------------------------------------------------------------------------------------------------------


def family(house: House, *, permissions: list[str] | None = None) -> None:
    """`club` needs `points`, which needs `base`."""
    house.catalogue.add(with_hooks(plugin_of("base")))
    house.catalogue.add(with_hooks(plugin_of("points", requires={"base": ">=1"}, permissions=permissions)))
    house.catalogue.add(with_hooks(plugin_of("club", requires={"points": "^1.0"})))


async def test_what_is_needed_comes_along_and_comes_first(house: House) -> None:
    family(house)
    await house.lifecycle.install(TENANT, "club")
    assert house.runner.names == [
        f"{slug}.{hook}" for slug in ("base", "points", "club") for hook in ("on_install", "on_activate")
    ]
    assert {row.slug: row.state for row in await house.rows(InstallationRow)} == dict.fromkeys(
        ("base", "points", "club"), "active"
    )
    assert await house.operations() == [("install", "done")]
    assert [entry.target for entry in await house.audit()] == ["base", "points", "club"]


async def test_others_come_along_only_with_consent_of_their_own(house: House) -> None:
    family(house, permissions=["customers:read"])
    refused = await refusal(house, "club")
    assert refused.code == "dependency-consent-missing"
    assert refused.data["missing"] == {"points": ["customers:read"]}
    assert await house.residue() == {}
    await house.lifecycle.install(TENANT, "club", grants_for={"points": ["customers:read"]})
    assert "customers:read" in (await house.lifecycle.get(TENANT, "points")).grants
    assert "customers:read" not in (await house.lifecycle.get(TENANT, "club")).grants


async def test_others_get_nothing_unasked_either(house: House) -> None:
    family(house)
    refused = await refusal(house, "club", grants_for={"points": ["customers:write"]})
    assert refused.code == "grants-unknown"


async def test_when_one_cannot_be_installed_none_is(house: House) -> None:
    family(house)
    house.fails("club.on_install")
    refused = await refusal(house, "club")
    assert refused.code == "install-failed"
    assert await house.residue() == {}
    assert house.runner.names[-4:] == [
        "points.on_deactivate",
        "points.on_uninstall",
        "base.on_deactivate",
        "base.on_uninstall",
    ]
    assert (await house.active.get(TENANT)).by_slug == {}


async def test_when_one_cannot_be_activated_those_that_need_it_wait(house: House) -> None:
    family(house)
    house.fails("points.on_activate")
    club = await house.lifecycle.install(TENANT, "club")
    assert club.state is State.INACTIVE
    assert club.reason == ("dependencies-inactive", "club needs points to be active")
    assert await house.state("points") == "inactive"
    assert await house.state("base") == "active"


async def test_what_is_there_already_is_used(house: House) -> None:
    family(house)
    await house.lifecycle.install(TENANT, "base")
    house.fails("points.on_install")
    await refusal(house, "points")
    assert await house.state("base") == "active"
    assert await house.state("points") == "gone"


async def test_what_cannot_be_resolved_begins_nothing(house: House) -> None:
    house.catalogue.add(plugin_of("base"))
    house.catalogue.add(plugin_of("points", requires={"base": ">=2"}))
    refused = await refusal(house, "points")
    assert refused.code == "dependency-conflict"
    assert refused.data["explanation"]
    assert await house.operations() == []


async def test_an_update_is_not_smuggled_in(house: House) -> None:
    house.catalogue.add(plugin_of("base"))
    await house.lifecycle.install(TENANT, "base")
    house.catalogue.add(plugin_of("base", "2.0.0"))
    house.catalogue.add(plugin_of("points", requires={"base": ">=2"}))
    refused = await refusal(house, "points")
    assert refused.code == "dependency-update-needed"
    assert (await house.lifecycle.get(TENANT, "base")).version == "1.0.0"


async def test_a_withdrawn_release_is_not_installed_and_stays_where_it_is(house: House) -> None:
    release = house.catalogue.add(plugin_of())
    await house.lifecycle.install(TENANT, "points")
    house.catalogue.by_slug["points"] = []
    house.catalogue.add(plugin_of(), state="yanked")
    assert (await house.lifecycle.get(TENANT, "points")).version == release.version
    with pytest.raises(JackfieldError):
        await house.lifecycle.install("other", "points", version="1.0.0")
