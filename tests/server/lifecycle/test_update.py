"""Updating: the new release is told first and may refuse; configuration, secrets and grants are carried over."""

from __future__ import annotations

from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield.errors import JackfieldError
from jackfield.invocation import Invocation
from jackfield.lifecycle import State
from tests.server.lifecycle.conftest import CONFIG, OWNER, TENANT, House, plugin_of, with_config, with_hooks


async def code_of(call: Any) -> str:
    with pytest.raises(JackfieldError) as refused:
        await call
    return refused.value.code


def newer(version: str = "1.1.0", **head: Any) -> jf.Plugin:
    return with_hooks(plugin_of(version=version, **head), "on_update", "on_activate")


async def test_the_new_release_hears_of_it_while_the_old_one_is_at_work(house: House) -> None:
    house.catalogue.add(plugin_of())
    before = await house.lifecycle.install(TENANT, "points")
    house.catalogue.add(newer())

    async def look(invocation: Invocation) -> None:
        assert invocation.installation.version == "1.1.0"
        assert (await house.active.get(TENANT)).by_slug["points"].version == "1.0.0"

    house.runner.handlers["on_update"] = look
    updated = await house.lifecycle.update(TENANT, "points", actor=OWNER)
    assert (updated.id, updated.version, updated.state) == (before.id, "1.1.0", State.ACTIVE)
    assert house.runner.names == ["points.on_update"], "nothing was deactivated, so nothing is activated"
    now = (await house.active.get(TENANT)).by_slug["points"]
    revisions = {before.revision, house.runner.calls[0].installation.revision, now.revision}
    assert (now.version, len(revisions)) == ("1.1.0", 3)
    assert house.runner.retired == [before.id]
    entry = (await house.audit())[-1]
    assert (entry.action, entry.actor, entry.before and entry.before["version"]) == (
        "plugin.update", OWNER.subject, "1.0.0",
    )  # fmt: skip


async def test_a_release_that_refuses_leaves_the_old_one_at_work(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    before = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    house.catalogue.add(with_config(newer()))
    house.fails("on_update", "cannot read the old rows")
    with pytest.raises(JackfieldError, match="cannot read the old rows") as refused:
        await house.lifecycle.update(TENANT, "points", config={"shop": "south", "api_key": "n3w"})
    assert refused.value.code == "update-failed"
    seen = await house.lifecycle.get(TENANT, "points")
    assert (seen.version, seen.state, seen.config["shop"]) == ("1.0.0", State.ACTIVE, "north")
    assert await house.secret(before.id) == CONFIG["api_key"]
    assert seen.revision > before.revision


async def test_configuration_and_secrets_are_carried_over(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    before = await house.lifecycle.install(TENANT, "points", config={**CONFIG, "rate": 2.5})
    plugin = plugin_of(version="2.0.0")

    class Config:
        shop: str
        api_key: jf.Secret
        currency: str = "EUR"

    plugin.config(Config)
    house.catalogue.add(plugin)
    updated = await house.lifecycle.update(TENANT, "points")
    assert (updated.config, updated.secrets) == ({"shop": "north", "currency": "EUR"}, {"api_key": True})
    assert await house.secret(before.id) == CONFIG["api_key"]


async def test_a_secret_that_the_new_release_lacks_is_removed(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    before = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    house.catalogue.add(plugin_of(version="2.0.0"))
    updated = await house.lifecycle.update(TENANT, "points")
    assert (updated.config, updated.secrets) == ({}, {})
    assert await house.secret(before.id) is None


async def test_what_the_configuration_lacks_for_the_new_release_has_to_be_given(house: House) -> None:
    house.catalogue.add(plugin_of())
    await house.lifecycle.install(TENANT, "points")
    house.catalogue.add(with_config(plugin_of(version="2.0.0")))
    assert await code_of(house.lifecycle.update(TENANT, "points")) == "needs-configuration"
    assert await code_of(house.lifecycle.update(TENANT, "points", config={"shop": 7})) == "config-invalid"
    assert (await house.lifecycle.get(TENANT, "points")).version == "1.0.0"
    updated = await house.lifecycle.update(TENANT, "points", config=CONFIG)
    assert (updated.version, updated.secrets) == ("2.0.0", {"api_key": True})


async def test_more_permissions_need_consent_and_no_grant_comes_by_itself(house: House) -> None:
    house.catalogue.add(plugin_of(permissions=["customers:read"]))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    await house.lifecycle.set_grants(TENANT, "points", ["customers:read"])
    house.catalogue.add(
        plugin_of(version="2.0.0", permissions=["customers:write"], optional_permissions=["customers:read"])
    )
    plan = await house.lifecycle.plan_update(TENANT, "points")
    assert (plan.old.version, plan.release.version, plan.conflicts) == ("1.0.0", "2.0.0", ())
    waiting = await house.lifecycle.update(TENANT, "points")
    assert (waiting.version, waiting.pending and waiting.pending.missing) == ("1.0.0", ["customers:write"])
    assert await code_of(house.lifecycle.update(TENANT, "points", grants=["sales:read"])) == "grants-unknown"
    updated = await house.lifecycle.update(TENANT, "points", grants=["customers:write"])
    assert updated.grants == ("customers:read", "customers:write")


async def test_there_is_no_way_back_and_no_way_to_where_one_is(house: House) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        house.catalogue.add(plugin_of(version=version))
    await house.lifecycle.install(TENANT, "points", version="1.1.0")
    assert await code_of(house.lifecycle.update(TENANT, "points", version="1.1.0")) == "update-not-newer"
    assert await code_of(house.lifecycle.update(TENANT, "points", version="1.0.0")) == "update-not-newer"
    assert await code_of(house.lifecycle.update(TENANT, "points", version="9.9.9")) == "not-found"
    assert await code_of(house.lifecycle.update("other", "points")) == "not-installed"
    assert (await house.lifecycle.update(TENANT, "points")).version == "1.2.0"


async def test_an_update_never_breaks_or_drags_along_another_plugin(house: House) -> None:
    house.catalogue.add(plugin_of("base"))
    house.catalogue.add(plugin_of("points", requires={"base": "^1.0"}))
    await house.lifecycle.install(TENANT, "points")
    house.catalogue.add(plugin_of("base", "2.0.0"))
    assert await code_of(house.lifecycle.update(TENANT, "base")) == "dependency-conflict"
    house.catalogue.add(plugin_of("points", "2.0.0", requires={"base": "^2.0"}))
    assert await code_of(house.lifecycle.update(TENANT, "points", version="2.0.0")) == "dependency-update-needed"
    house.catalogue.add(plugin_of("extra"))
    house.catalogue.add(plugin_of("points", "3.0.0", requires={"base": "^1.0", "extra": "*"}))
    assert await code_of(house.lifecycle.update(TENANT, "points")) == "update-needs-plugin"
    await house.lifecycle.install(TENANT, "extra")
    await house.lifecycle.deactivate(TENANT, "extra")
    assert await code_of(house.lifecycle.update(TENANT, "points")) == "dependencies-inactive"
    await house.lifecycle.activate(TENANT, "extra")
    assert (await house.lifecycle.update(TENANT, "points")).version == "3.0.0"


async def test_one_at_rest_stays_at_rest(house: House) -> None:
    house.catalogue.add(plugin_of())
    await house.lifecycle.install(TENANT, "points")
    await house.lifecycle.deactivate(TENANT, "points")
    house.catalogue.add(newer())
    updated = await house.lifecycle.update(TENANT, "points")
    assert (updated.version, updated.state) == ("1.1.0", State.INACTIVE)
    assert (await house.active.get(TENANT)).by_slug == {}


# -- quarantine ------------------------------------------------------------------------------------------------------


async def quarantined(house: House) -> str:
    seen = await house.lifecycle.get(TENANT, "points")
    assert await house.lifecycle.quarantine(TENANT, seen.id, ("crash-loop", "it died"), revision=seen.revision)
    return seen.id


async def test_a_quarantined_plugin_is_at_rest_until_it_is_activated(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of(), "on_activate", "on_deactivate"))
    before = await house.lifecycle.install(TENANT, "points")
    house.runner.calls.clear()
    await quarantined(house)
    seen = await house.lifecycle.get(TENANT, "points")
    assert (seen.state, seen.reason) == (State.QUARANTINED, ("crash-loop", "it died"))
    assert house.runner.names == [], "what only dies is not asked to say goodbye"
    plugins = await house.active.get(TENANT)
    assert (plugins.by_slug, list(plugins.held)) == ({}, [before.id])
    assert (await house.audit())[-1].action == "plugin.quarantine"
    again = await house.lifecycle.activate(TENANT, "points", actor=OWNER)
    assert (again.state, again.reason) == (State.ACTIVE, None)
    assert again.revision > before.revision, "what is known of the old revision's deaths does not count any more"
    assert (await house.active.get(TENANT)).held == {}
    assert (await house.audit())[-1].before == {"state": "quarantined"}


async def test_one_that_cannot_be_activated_is_quarantined_still_and_events_go_on_waiting(house: House) -> None:
    house.catalogue.add(with_hooks(plugin_of(), "on_activate"))
    await house.lifecycle.install(TENANT, "points")
    installation_id = await quarantined(house)

    async def look(_invocation: Invocation) -> None:
        assert list((await house.active.get(TENANT)).held) == [installation_id]
        raise jf.UserError("not yet")

    house.runner.handlers["on_activate"] = look
    assert await code_of(house.lifecycle.activate(TENANT, "points")) == "activation-failed"
    seen = await house.lifecycle.get(TENANT, "points")
    assert (seen.state, seen.reason) == (State.QUARANTINED, ("activation-failed", "not yet"))
    assert list((await house.active.get(TENANT)).held) == [installation_id]


async def test_one_that_has_changed_since_it_was_judged_is_left_at_work(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    seen = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    await house.lifecycle.configure(TENANT, "points", {"shop": "south"})
    reason = ("crash-loop", "it died")
    assert not await house.lifecycle.quarantine(TENANT, seen.id, reason, revision=seen.revision)
    assert not await house.lifecycle.quarantine("other", seen.id, reason, revision=seen.revision)
    assert not await house.lifecycle.quarantine(TENANT, "inst_gone", reason, revision=1)
    assert await house.state() == "active"


async def test_in_quarantine_it_can_be_changed_and_removed(house: House) -> None:
    house.catalogue.add(with_config(plugin_of(permissions=["customers:read"])))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"], config=CONFIG)
    await quarantined(house)
    assert (await house.lifecycle.configure(TENANT, "points", {"shop": "south"})).state is State.QUARANTINED
    assert (await house.lifecycle.set_grants(TENANT, "points", [])).missing_grants == ("customers:read",)
    assert await code_of(house.lifecycle.activate(TENANT, "points")) == "grants-withdrawn"
    house.catalogue.add(with_config(plugin_of(version="1.1.0")))
    updated = await house.lifecycle.update(TENANT, "points")
    assert (updated.version, updated.state, updated.reason) == (
        "1.1.0", State.QUARANTINED, ("crash-loop", "it died"),
    )  # fmt: skip
    assert (await house.lifecycle.deactivate(TENANT, "points")).state is State.INACTIVE
    await house.lifecycle.activate(TENANT, "points")
    await quarantined(house)
    await house.lifecycle.uninstall(TENANT, "points")
    assert await house.residue() == {}
