"""Changing what is installed: activation, configuration, grants."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield.errors import JackfieldError
from jackfield.invocation import Invocation
from jackfield.lifecycle import State
from jackfield.lifecycle.models import InstallationRow
from tests.server.lifecycle.conftest import CONFIG, OWNER, TENANT, House, plugin_of, with_config, with_hooks


async def code_of(call: Any) -> str:
    with pytest.raises(JackfieldError) as refused:
        await call
    return refused.value.code


# -- activating and deactivating --------------------------------------------------------------------------------------


async def test_it_can_be_switched_off_and_on_again(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of()))
    await house.lifecycle.install(TENANT, "points")
    house.runner.calls.clear()
    off = await house.lifecycle.deactivate(TENANT, "points", actor=OWNER)
    assert off.state is State.INACTIVE
    assert off.reason is None
    assert (await house.active.get(TENANT)).by_slug == {}
    on = await house.lifecycle.activate(TENANT, "points", actor=OWNER)
    assert on.state is State.ACTIVE
    assert on.id == off.id
    assert house.runner.names == ["points.on_deactivate", "points.on_activate"]
    assert [entry.action for entry in await house.audit()] == ["plugin.install", "plugin.deactivate", "plugin.activate"]


async def test_while_it_is_deactivated_nothing_reaches_it_any_more(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of(), "on_deactivate"))
    await house.lifecycle.install(TENANT, "points")

    async def look(_invocation: Invocation) -> None:
        assert await house.state() == "deactivating"
        assert (await house.active.get(TENANT)).by_slug == {}

    house.runner.handlers["on_deactivate"] = look
    await house.lifecycle.deactivate(TENANT, "points")
    assert await house.steps() == [
        ("reserve", "done"), ("settle:points@default", "done"),
        ("begin", "done"), ("on_deactivate", "done"), ("finish", "done"),
    ]  # fmt: skip


async def test_doing_it_twice_is_doing_it_once(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of()))
    await house.lifecycle.install(TENANT, "points")
    await house.lifecycle.activate(TENANT, "points")
    await house.lifecycle.deactivate(TENANT, "points")
    await house.lifecycle.deactivate(TENANT, "points")
    assert house.runner.names == ["points.on_install", "points.on_activate", "points.on_deactivate"]


async def test_a_failing_on_activate_leaves_it_inactive_with_the_reason(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of()))
    await house.lifecycle.install(TENANT, "points")
    await house.lifecycle.deactivate(TENANT, "points")
    house.fails("on_activate", "the till is closed")
    with pytest.raises(JackfieldError, match="the till is closed") as refused:
        await house.lifecycle.activate(TENANT, "points")
    assert refused.value.code == "activation-failed"
    seen = await house.lifecycle.get(TENANT, "points")
    assert seen.state is State.INACTIVE
    assert seen.reason == ("activation-failed", "the till is closed")
    house.runner.handlers.clear()
    assert (await house.lifecycle.activate(TENANT, "points")).reason is None


async def test_a_failing_on_deactivate_is_recorded_and_stops_nothing(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of()))
    await house.lifecycle.install(TENANT, "points")
    house.fails("on_deactivate")
    assert (await house.lifecycle.deactivate(TENANT, "points")).state is State.INACTIVE
    assert ("on_deactivate", "failed") in await house.steps()
    assert await house.operations() == [("install", "done"), ("deactivate", "done")]


async def test_what_others_need_cannot_be_switched_off_under_them(house: House) -> None:
    house.catalogue.add(plugin_of("base"))
    house.catalogue.add(plugin_of("points", requires={"base": ">=1"}))
    await house.lifecycle.install(TENANT, "points")
    assert await code_of(house.lifecycle.deactivate(TENANT, "base")) == "dependants-active"
    await house.lifecycle.deactivate(TENANT, "points")
    await house.lifecycle.deactivate(TENANT, "base")
    assert await code_of(house.lifecycle.activate(TENANT, "points")) == "dependencies-inactive"
    await house.lifecycle.activate(TENANT, "base")
    assert (await house.lifecycle.activate(TENANT, "points")).state is State.ACTIVE


async def test_without_required_configuration_it_cannot_be_activated(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    await house.lifecycle.install(TENANT, "points")
    assert await code_of(house.lifecycle.activate(TENANT, "points")) == "needs-configuration"
    configured = await house.lifecycle.configure(TENANT, "points", CONFIG)
    assert configured.reason is None
    assert configured.missing_config == ()
    assert (await house.lifecycle.activate(TENANT, "points")).state is State.ACTIVE


async def test_what_is_not_installed_cannot_be_changed(house: House) -> None:
    house.catalogue.add(plugin_of())
    await house.lifecycle.install(TENANT, "points")
    for tenant, slug in ((TENANT, "other"), ("someone-else", "points")):
        assert await code_of(house.lifecycle.activate(tenant, slug)) == "not-installed"
        assert await code_of(house.lifecycle.deactivate(tenant, slug)) == "not-installed"
        assert await code_of(house.lifecycle.configure(tenant, slug, {})) == "not-installed"
        assert await code_of(house.lifecycle.set_grants(tenant, slug, [])) == "not-installed"
        assert await code_of(house.lifecycle.uninstall(tenant, slug)) == "not-installed"
        assert await code_of(house.lifecycle.get(tenant, slug)) == "not-installed"
    assert await house.state() == "active"


# -- configuring ------------------------------------------------------------------------------------------------------


async def test_a_configuration_is_in_force_for_the_next_call(house: House) -> None:
    house.catalogue.add(with_config(with_hooks(plugin_of(), "on_configure")))
    await house.lifecycle.install(TENANT, "points", config=CONFIG)
    before = (await house.active.get(TENANT)).by_slug["points"]
    seen: list[Any] = []

    async def look(invocation: Invocation) -> None:
        seen.append(invocation.installation)
        assert (await house.active.get(TENANT)).by_slug["points"].config["shop"] == "north"

    house.runner.handlers["on_configure"] = look
    after = await house.lifecycle.configure(TENANT, "points", {"shop": "south", "rate": 2}, actor=OWNER)
    assert dict(after.config) == {"shop": "south", "rate": 2}
    assert after.secrets == {"api_key": True}
    [tried] = seen
    assert tried.config["shop"] == "south"
    active = (await house.active.get(TENANT)).by_slug["points"]
    assert active.config["shop"] == "south"
    assert before.revision < tried.revision < active.revision
    entry = (await house.audit())[-1]
    assert (entry.action, entry.before, entry.after) == (
        "plugin.configure",
        {"config": {"shop": "north"}},
        {"config": {"shop": "south", "rate": 2}, "secret_names": []},
    )  # fmt: skip


async def test_a_refused_configuration_changes_nothing(house: House) -> None:
    house.catalogue.add(with_config(with_hooks(plugin_of(), "on_configure")))
    installed = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    old = await house.secret(installed.id)
    tried: list[tuple[int, str | None]] = []

    async def refuse(invocation: Invocation) -> None:
        tried.append((invocation.installation.revision, await house.secret(installed.id)))
        raise jf.UserError("the key is not valid")

    house.runner.handlers["on_configure"] = refuse
    with pytest.raises(JackfieldError, match="the key is not valid") as refused:
        await house.lifecycle.configure(TENANT, "points", {"shop": "south", "api_key": "n3w-key"})
    assert refused.value.code == "configure-failed"
    seen = await house.lifecycle.get(TENANT, "points")
    assert seen.config["shop"] == "north"
    assert seen.state is State.ACTIVE
    [(revision, secret)] = tried
    assert secret == "n3w-key"
    assert await house.secret(installed.id) == old == "s3cret-key"
    assert seen.revision > revision


async def test_secrets_are_written_removed_and_left_alone(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    installed = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    await house.lifecycle.configure(TENANT, "points", {"shop": "south"})
    assert await house.secret(installed.id) == "s3cret-key"
    await house.lifecycle.configure(TENANT, "points", {"shop": "south", "api_key": "n3w-key"})
    assert await house.secret(installed.id) == "n3w-key"
    assert await code_of(house.lifecycle.configure(TENANT, "points", {"shop": "south", "api_key": None})) == (
        "needs-configuration"
    )
    assert await house.secret(installed.id) == "n3w-key"


async def test_configuration_has_to_fit_and_be_whole(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    await house.lifecycle.install(TENANT, "points", config=CONFIG)
    assert await code_of(house.lifecycle.configure(TENANT, "points", {"shop": 1})) == "config-invalid"
    assert await code_of(house.lifecycle.configure(TENANT, "points", {"what": 1, "shop": "x"})) == "config-invalid"
    assert await code_of(house.lifecycle.configure(TENANT, "points", {})) == "needs-configuration"


# -- trying a configuration -------------------------------------------------------------------------------------------


async def test_a_configuration_can_be_tried_without_being_saved(house: House) -> None:
    house.catalogue.add(with_config(plugin_of(), check=True))
    installed = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    seen: list[tuple[Invocation, str | None]] = []

    async def check(invocation: Invocation) -> None:
        seen.append((invocation, await house.secret(invocation.installation.id)))
        await house.owns(invocation.installation.id)

    house.runner.handlers["config_check"] = check
    tested = await house.lifecycle.test_config(TENANT, "points", {"shop": "south", "api_key": "n3w-key"}, actor=OWNER)
    assert (tested.is_ok, tested.is_checked) == (True, True)
    [(call, secret)] = seen
    assert (call.kind, call.handler) == ("config-check", "try_config")
    assert call.installation.id != installed.id
    assert call.installation.config["shop"] == "south"
    assert secret == "n3w-key"
    assert (await house.lifecycle.get(TENANT, "points")).config["shop"] == "north"
    assert await house.residue() == {"jf_installations": 1, "jf_secrets": 1}
    assert await house.secret(installed.id) == "s3cret-key"
    assert call.installation.id in house.runner.retired


async def test_a_trial_knows_the_secrets_that_are_left_out(house: House) -> None:
    house.catalogue.add(with_config(plugin_of(), check=True))
    await house.lifecycle.install(TENANT, "points", config=CONFIG)
    seen: list[str | None] = []

    async def check(invocation: Invocation) -> None:
        seen.append(await house.secret(invocation.installation.id))

    house.runner.handlers["config_check"] = check
    await house.lifecycle.test_config(TENANT, "points", {"shop": "south"})
    assert seen == ["s3cret-key"]


async def test_a_configuration_that_fails_its_check_says_why(house: House) -> None:
    house.catalogue.add(with_config(plugin_of(), check=True))
    await house.lifecycle.install(TENANT, "points", config=CONFIG)
    house.fails("config_check", "the key is not valid")
    tested = await house.lifecycle.test_config(TENANT, "points", {"shop": "south"})
    assert (tested.is_ok, tested.code, tested.message) == (False, "refused-by-plugin", "the key is not valid")
    assert await house.residue() == {"jf_installations": 1, "jf_secrets": 1}


async def test_without_a_check_only_the_schema_speaks(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    await house.lifecycle.install(TENANT, "points", config=CONFIG)
    tested = await house.lifecycle.test_config(TENANT, "points", {"shop": "south"})
    assert (tested.is_ok, tested.is_checked) == (True, False)
    assert await code_of(house.lifecycle.test_config(TENANT, "points", {"shop": 1})) == "config-invalid"


# -- grants -----------------------------------------------------------------------------------------------------------


async def test_grants_are_replaced_whole(house: House) -> None:
    house.catalogue.add(plugin_of(permissions=["customers:read"], optional_permissions=["customers:write"]))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    before = (await house.active.get(TENANT)).by_slug["points"]
    more = await house.lifecycle.set_grants(TENANT, "points", ["customers:read", "customers:write", "log"], actor=OWNER)
    assert set(more.grants) == {"customers:read", "customers:write", "log"}
    active = (await house.active.get(TENANT)).by_slug["points"]
    assert active.grants == {"customers:read", "customers:write", "log"}
    assert active.revision > before.revision
    entry = (await house.audit())[-1]
    assert entry.action == "plugin.grants"
    assert entry.before == {"grants": ["cache", "customers:read", "files", "log", "storage"]}
    assert entry.after == {"grants": ["customers:read", "customers:write", "log"]}


async def test_only_what_is_asked_for_can_be_given(house: House) -> None:
    house.catalogue.add(plugin_of(permissions=["customers:read"]))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    assert await code_of(house.lifecycle.set_grants(TENANT, "points", ["customers:read", "tables"])) == "grants-unknown"


async def test_what_is_required_can_be_withdrawn_at_rest_only(house: House) -> None:
    house.catalogue.add(plugin_of(permissions=["customers:read"]))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    assert await code_of(house.lifecycle.set_grants(TENANT, "points", [])) == "grants-missing"
    await house.lifecycle.deactivate(TENANT, "points")
    bare = await house.lifecycle.set_grants(TENANT, "points", [])
    assert bare.grants == ()
    assert bare.missing_grants == ("customers:read",)
    assert await code_of(house.lifecycle.activate(TENANT, "points")) == "grants-withdrawn"
    await house.lifecycle.set_grants(TENANT, "points", ["customers:read"])
    assert (await house.lifecycle.activate(TENANT, "points")).state is State.ACTIVE


async def test_revisions_never_repeat(house: House) -> None:
    house.catalogue.add(with_config(with_hooks(plugin_of(), "on_configure")))
    await house.lifecycle.install(TENANT, "points", config=CONFIG)
    revisions: list[int] = []

    async def keep(invocation: Invocation) -> None:
        revisions.append(invocation.installation.revision)
        if len(revisions) % 2:
            raise jf.UserError("no")

    house.runner.handlers["on_configure"] = keep
    for number in range(6):
        revisions.append((await house.active.get(TENANT)).by_slug["points"].revision)
        with suppress(JackfieldError):
            await house.lifecycle.configure(TENANT, "points", {"shop": str(number)})
        house.lifecycle = house.start()
    [row] = await house.rows(InstallationRow)
    assert len(set(revisions)) == len(revisions)
    assert row.revision > max(revisions)
