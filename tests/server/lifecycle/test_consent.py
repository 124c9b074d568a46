"""Consent: nobody gives more than asked for, more than they have, or more rows than they mean; updates wait for it."""

from __future__ import annotations

from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield.errors import JackfieldError
from jackfield.invocation import Invocation
from jackfield.lifecycle import Actor, Grant, LiveGrants, State
from jackfield.lifecycle.consent import rows_of, still_held
from jackfield.lifecycle.presentation import install_plan_out, update_plan_out
from tests.server.lifecycle.conftest import CONFIG, OWNER, TENANT, House, plugin_of, with_config, with_hooks

ADMIN = Actor("mem_2", "admin", "member:mem_2")
BERLIN = [["name", "eq", "Berlin"]]
MUNICH = [["name", "eq", "Munich"]]
ADULT = [["id", "gt", "a"]]


async def refused(call: Any) -> JackfieldError:
    with pytest.raises(JackfieldError) as error:
        await call
    return error.value


def reading(version: str = "1.0.0", rows: list[Any] | None = None, **head: Any) -> jf.Plugin:
    filters = {} if rows is None else {"customers:read": rows}
    return plugin_of(version=version, permissions=["customers:read"], permission_filters=filters, **head)


# -- rows of a grant -------------------------------------------------------------------------------------------------


async def test_a_grant_is_narrowed_to_rows_and_stays_so_until_it_is_said_otherwise(house: House) -> None:
    house.catalogue.add(reading(optional_permissions=["customers:write"]))
    installed = await house.lifecycle.install(TENANT, "points", grants=[Grant("customers:read", BERLIN)])
    assert installed.grant_filters == {"customers:read": BERLIN}
    assert (await house.active.get(TENANT)).by_slug["points"].grant_filters == {"customers:read": BERLIN}

    more = await house.lifecycle.set_grants(TENANT, "points", ["customers:read", "customers:write"])
    assert more.grant_filters == {"customers:read": BERLIN}, "a grant that says nothing of rows keeps them"
    other = await house.lifecycle.set_grants(TENANT, "points", [Grant("customers:read", MUNICH)], actor=OWNER)
    assert other.grant_filters == {"customers:read": MUNICH}
    entry = (await house.audit())[-1]
    assert entry.before
    assert entry.before["grant_filters"] == {"customers:read": BERLIN}
    assert entry.after
    assert entry.after["grant_filters"] == {"customers:read": MUNICH}
    every = await house.lifecycle.set_grants(TENANT, "points", [Grant("customers:read", [])])
    assert every.grant_filters == {}


async def test_a_grant_that_was_withdrawn_comes_back_without_its_rows(house: House) -> None:
    house.catalogue.add(plugin_of(optional_permissions=["customers:read"]))
    await house.lifecycle.install(TENANT, "points", grants=[Grant("customers:read", BERLIN)])
    assert (await house.lifecycle.set_grants(TENANT, "points", [])).grant_filters == {}
    assert (await house.lifecycle.set_grants(TENANT, "points", ["customers:read"])).grant_filters == {}


@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        (Grant("customers:read", [["tenant_id", "eq", "other"]]), "no field"),
        (Grant("customers:read", [["name", "equals", "x"]]), "cannot be read"),
        (Grant("customers:read", [["name", "eq", "$user.email"]]), "no placeholder"),
        (Grant("storage", BERLIN), "only a permission for an entity"),
        (Grant("sales:read", BERLIN), "only a permission for an entity"),
    ],
)
async def test_a_filter_that_is_none_changes_nothing(house: House, grant: Grant, reason: str) -> None:
    house.catalogue.add(reading())
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    error = await refused(house.lifecycle.set_grants(TENANT, "points", ["customers:read", grant]))
    assert (error.code, reason in str(error)) == ("row-filter-invalid", True)
    assert (await house.lifecycle.get(TENANT, "points")).grant_filters == {}


async def test_one_permission_with_two_sets_of_rows_is_refused(house: House) -> None:
    house.catalogue.add(reading())
    both = [Grant("customers:read", BERLIN), Grant("customers:read", MUNICH)]
    assert (await refused(house.lifecycle.install(TENANT, "points", grants=both))).code == "row-filter-invalid"


async def test_the_plan_tells_in_words_which_rows_are_asked_for(house: House) -> None:
    house.catalogue.add(reading(rows=BERLIN))
    plan = install_plan_out(await house.lifecycle.plan_install(TENANT, "points"))
    (told,) = [p for p in plan.permissions if p.permission == "customers:read"]
    assert (told.text, told.where) == ("see your customers: those of which name is “Berlin”", BERLIN)


async def test_a_release_that_asks_for_rows_by_a_hidden_field_cannot_be_installed(house: House) -> None:
    house.catalogue.add(reading(rows=[["tenant_id", "ne", "x"]]))
    assert (await refused(house.lifecycle.install(TENANT, "points"))).code == "row-filter-invalid"


@pytest.mark.parametrize(
    ("permissions", "filters", "reason"),
    [
        (["customers:read"], {"customers:write": BERLIN}, "not a permission that is asked for"),
        (["storage"], {"storage": BERLIN}, "only a permission for an entity"),
        (["customers:read"], {"customers:read": [["name", "is", 1]]}, "not a condition"),
        (["customers:read"], {"customers:read": [{"nor": []}]}, "one key"),
        (["customers:read"], {"customers:read": [["name", "in", "x"]]}, "takes a list"),
        (["customers:read"], {"customers:read": []}, "length"),
    ],
)
def test_a_manifest_with_no_filter_where_one_should_be_is_refused(
    permissions: list[str], filters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(jf.ManifestError, match=reason) as error:
        plugin_of(permissions=permissions, permission_filters=filters).manifest()
    assert str(error.value).startswith("permission_filters") or "permission_filters" in str(error.value)


def test_a_deep_filter_of_a_manifest_is_refused() -> None:
    node: Any = ["name", "eq", "x"]
    for _ in range(9):
        node = {"not": node}
    with pytest.raises(jf.ManifestError, match="deeper"):
        reading(rows=[node]).manifest()


# -- who gives -------------------------------------------------------------------------------------------------------


def invoicing(*optional: str) -> jf.Plugin:
    return plugin_of(optional_permissions=["invoices:read", "invoices:write", "customers:read", *optional])


async def test_nobody_gives_what_their_own_role_does_not_hold(house: House) -> None:
    house.catalogue.add(invoicing())
    error = await refused(house.lifecycle.install(TENANT, "points", grants=["invoices:write"], actor=ADMIN))
    assert (error.code, error.data["permission"]) == ("grant-not-held", "invoices:write")
    assert await house.residue() == {}
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"], actor=ADMIN)
    error = await refused(house.lifecycle.set_grants(TENANT, "points", ["invoices:write"], actor=ADMIN))
    assert error.code == "grant-not-held"
    given = await house.lifecycle.set_grants(TENANT, "points", ["invoices:write"], actor=OWNER)
    assert given.grants == ("invoices:write",)


async def test_who_has_some_rows_gives_those_rows(house: House) -> None:
    house.catalogue.add(invoicing())
    await house.lifecycle.install(TENANT, "points")
    error = await refused(house.lifecycle.set_grants(TENANT, "points", ["invoices:read"], actor=ADMIN))
    assert (error.code, error.data["where"]) == ("grant-not-held", [["name", "eq", "$user.id"]])
    for own in ("$user.id", "mem_2"):
        rows = [["name", "eq", own], ["id", "ne", "x"]]
        given = await house.lifecycle.set_grants(TENANT, "points", [Grant("invoices:read", rows)], actor=ADMIN)
        assert given.grant_filters == {"invoices:read": rows}
    others = Grant("invoices:read", [["name", "eq", "mem_1"]])
    assert (await refused(house.lifecycle.set_grants(TENANT, "points", [others], actor=ADMIN))).code == "grant-not-held"


async def test_what_somebody_else_gave_stays_but_is_not_widened(house: House) -> None:
    house.catalogue.add(invoicing())
    await house.lifecycle.install(TENANT, "points")
    await house.lifecycle.set_grants(TENANT, "points", ["invoices:write", Grant("invoices:read", BERLIN)], actor=OWNER)
    kept = ["invoices:write", "invoices:read", "customers:read"]
    assert (await house.lifecycle.set_grants(TENANT, "points", kept, actor=ADMIN)).grants == (
        "customers:read", "invoices:read", "invoices:write",
    )  # fmt: skip
    wider = ["invoices:write", Grant("invoices:read", [])]
    assert (await refused(house.lifecycle.set_grants(TENANT, "points", wider, actor=ADMIN))).code == "grant-not-held"
    narrower = [Grant("invoices:write", BERLIN), Grant("invoices:read", BERLIN + ADULT)]
    given = await house.lifecycle.set_grants(TENANT, "points", narrower, actor=ADMIN)
    assert given.grant_filters == {"invoices:write": BERLIN, "invoices:read": BERLIN + ADULT}


async def test_what_a_plugin_brings_along_is_given_by_the_same_rule(house: House) -> None:
    house.catalogue.add(plugin_of("base", permissions=["invoices:read"]))
    house.catalogue.add(plugin_of("points", requires={"base": "*"}))
    error = await refused(
        house.lifecycle.install(TENANT, "points", grants_for={"base": ["invoices:read"]}, actor=ADMIN)
    )
    assert error.code == "grant-not-held"
    own = {"base": [Grant("invoices:read", [["name", "eq", "$user.id"]])]}
    await house.lifecycle.install(TENANT, "points", grants_for=own, actor=ADMIN)
    assert (await house.lifecycle.get(TENANT, "base")).grant_filters == {"invoices:read": own["base"][0].where}


# -- updates that ask for more ---------------------------------------------------------------------------------------


async def waiting(house: House, newer: jf.Plugin, *grants: Any) -> None:
    """Points 1.0.0 is installed, and an update to a release that asks for more was wanted."""
    house.catalogue.add(reading())
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    house.catalogue.add(newer)
    await house.lifecycle.update(TENANT, "points", grants=grants, actor=OWNER)


def more(**head: Any) -> jf.Plugin:
    reasons = {"customers:write": "To book points."}
    return plugin_of(
        version="2.0.0", permissions=["customers:read", "customers:write"], permission_reasons=reasons, **head
    )


async def test_an_update_that_asks_for_more_waits_and_everybody_can_see_it(house: House) -> None:
    await waiting(house, more())
    (seen,) = await house.lifecycle.list(TENANT)
    assert (seen.version, seen.state) == ("1.0.0", State.ACTIVE)
    assert seen.pending is not None
    assert (seen.pending.version, seen.pending.missing) == ("2.0.0", ["customers:write"])
    assert (seen.pending.asked_by, seen.pending.reasons) == (OWNER.subject, {"customers:write": "To book points."})
    assert (await house.audit())[-1].action == "plugin.update-waits"
    plan = update_plan_out(await house.lifecycle.plan_update(TENANT, "points"), ())
    assert plan.missing_grants == ["customers:write"]


async def test_it_goes_on_by_itself_once_everything_is_granted(house: House) -> None:
    await waiting(house, more())
    given = ["customers:read", "log", Grant("customers:write", BERLIN)]
    updated = await house.lifecycle.set_grants(TENANT, "points", given, actor=OWNER)
    assert (updated.version, updated.pending) == ("2.0.0", None)
    assert updated.grants == ("customers:read", "customers:write", "log")
    assert updated.grant_filters == {"customers:write": BERLIN}


async def test_what_is_granted_for_it_is_not_in_force_before(house: House) -> None:
    await waiting(house, plugin_of(version="2.0.0", permissions=["customers:write", "http:a.example"]))
    partly = await house.lifecycle.set_grants(TENANT, "points", ["customers:read", "customers:write"])
    assert (partly.version, partly.grants) == ("1.0.0", ("customers:read",))
    assert partly.pending is not None
    assert (partly.pending.missing, partly.pending.grants) == (["http:a.example"], ["customers:write"])
    again = await house.lifecycle.update(TENANT, "points", grants=["http:a.example"])
    assert (again.version, again.grants) == ("2.0.0", ("customers:write", "http:a.example"))


async def test_what_the_release_at_work_has_not_asked_for_is_refused_when_nothing_waits(house: House) -> None:
    await waiting(house, more())
    given = ["customers:read", "http:evil.example"]
    assert (await refused(house.lifecycle.set_grants(TENANT, "points", given))).code == "grants-unknown"
    freed = await house.lifecycle.give_up_update(TENANT, "points", actor=OWNER)
    assert freed.pending is None
    given = ["customers:read", "customers:write"]
    assert (await refused(house.lifecycle.set_grants(TENANT, "points", given))).code == "grants-unknown"
    assert (await refused(house.lifecycle.give_up_update(TENANT, "points"))).code == "nothing-pending"
    assert (await house.audit())[-1].action == "plugin.update-given-up"


async def test_an_update_that_fails_when_it_goes_on_waits_still_and_says_why(house: House) -> None:
    await waiting(house, with_hooks(more(), "on_update"))
    house.fails("on_update", "cannot read the old rows")
    seen = await house.lifecycle.set_grants(TENANT, "points", ["customers:read", "customers:write"])
    assert (seen.version, seen.state, seen.grants) == ("1.0.0", State.ACTIVE, ("customers:read",))
    assert seen.pending is not None
    assert seen.pending.failed is not None
    assert (seen.pending.missing, seen.pending.failed.code) == ([], "update-failed")
    house.runner.handlers.clear()
    assert (await house.lifecycle.update(TENANT, "points")).version == "2.0.0"


async def test_a_configuration_never_waits_for_it_may_hold_secrets(house: House) -> None:
    house.catalogue.add(with_config(reading()))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"], config=CONFIG)
    house.catalogue.add(with_config(more()))
    error = await refused(house.lifecycle.update(TENANT, "points", config=CONFIG))
    assert error.code == "grants-missing"
    assert (await house.lifecycle.get(TENANT, "points")).pending is None


async def test_nobody_gives_an_update_what_their_role_does_not_hold(house: House) -> None:
    newer = plugin_of(version="2.0.0", permissions=["customers:read", "invoices:write"])
    await waiting(house, newer)
    for call in (
        house.lifecycle.set_grants(TENANT, "points", ["customers:read", "invoices:write"], actor=ADMIN),
        house.lifecycle.update(TENANT, "points", grants=["invoices:write"], actor=ADMIN),
    ):
        assert (await refused(call)).code == "grant-not-held"
    updated = await house.lifecycle.set_grants(TENANT, "points", ["customers:read", "invoices:write"], actor=OWNER)
    assert updated.version == "2.0.0"


async def test_a_release_that_asks_for_other_rows_asks_for_more(house: House) -> None:
    house.catalogue.add(reading(rows=BERLIN))
    await house.lifecycle.install(TENANT, "points", grants=[Grant("customers:read", ADULT)])
    house.catalogue.add(reading("1.1.0", rows=[*BERLIN, ["id", "ne", "x"]]))
    narrower = await house.lifecycle.update(TENANT, "points")
    assert (narrower.version, narrower.grant_filters) == ("1.1.0", {"customers:read": ADULT})
    house.catalogue.add(reading("2.0.0"))
    wider = await house.lifecycle.update(TENANT, "points")
    assert (wider.version, wider.pending and wider.pending.missing) == ("1.1.0", ["customers:read"])
    # To give again what is held is no answer to the question.
    still = await house.lifecycle.set_grants(TENANT, "points", ["customers:read"])
    assert (still.version, still.pending is None) == ("1.1.0", False)
    agreed = await house.lifecycle.update(TENANT, "points", grants=["customers:read"])
    assert (agreed.version, agreed.grant_filters) == ("2.0.0", {"customers:read": ADULT})


def test_what_is_asked_for_in_other_rows_is_not_held_any_more() -> None:
    old, new = reading(rows=BERLIN).manifest(), reading("2.0.0", rows=MUNICH).manifest()
    assert still_held(old, new, ["customers:read", "storage"]) == {"storage"}
    assert still_held(old, old, ["customers:read", "storage"]) == {"customers:read", "storage"}
    assert rows_of(old, ["customers:read", "storage"], {"customers:read": ADULT}) == {"customers:read": BERLIN + ADULT}


# -- of this moment --------------------------------------------------------------------------------------------------


async def test_what_is_held_is_known_of_all_that_is_installed_and_of_nothing_else(house: House) -> None:
    live = LiveGrants(house.active)
    house.catalogue.add(plugin_of(optional_permissions=["customers:read"]))
    installed = await house.lifecycle.install(TENANT, "points", grants=[Grant("customers:read", BERLIN)])
    assert live.peek(TENANT, installed.id) is None, "the tenant is not in memory"
    held = await live.get(TENANT, installed.id)
    assert "customers:read" in held.grants
    assert held.grant_filters == {"customers:read": BERLIN}
    assert live.peek(TENANT, installed.id) is held
    assert (await live.get("other", installed.id)).grants == frozenset()

    await house.lifecycle.deactivate(TENANT, "points")
    await house.lifecycle.set_grants(TENANT, "points", ["log"])
    assert (await live.get(TENANT, installed.id)).grants == {"log"}, "a call that began before may still run"
    await house.lifecycle.uninstall(TENANT, "points")
    assert (await live.get(TENANT, installed.id)).grants == frozenset()


async def test_the_new_release_is_tried_with_the_grants_that_it_will_have(house: House) -> None:
    house.catalogue.add(reading())
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    house.catalogue.add(with_hooks(more(), "on_update"))
    seen: list[tuple[frozenset[str], Any]] = []

    async def look(invocation: Invocation) -> None:
        seen.append((invocation.installation.grants, invocation.installation.grant_filters))

    house.runner.handlers["on_update"] = look
    await house.lifecycle.update(TENANT, "points", grants=[Grant("customers:write", BERLIN)])
    assert [("customers:write" in grants, filters) for grants, filters in seen] == [(True, {"customers:write": BERLIN})]
