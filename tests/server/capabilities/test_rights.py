"""A call may do what everybody may who takes part in it, at this moment: plugin, acting user, plugins that called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from jackfield.capabilities import AccessBook, CapabilityContext, Gate
from jackfield.capabilities.errors import PermissionDeniedError
from jackfield.capabilities.rights import NOTHING, Granted, Rights
from jackfield.data_adapters.conditions import Condition
from jackfield.db import Database
from jackfield.surface import Access, Entity, Surface
from jackfield_sdk.wire import Caller
from tests.server.capabilities.installations import Installed, customers, host, installed, make_gate, manifest

OWN = [["email", "eq", "$user.id"]]
OWNED = Condition("email", "eq", "mem_ada")
BERLIN = [["name", "eq", "Berlin"]]
IN_BERLIN = Condition("name", "eq", "Berlin")


def book(**access: Access) -> AccessBook:
    return AccessBook(
        Surface(entities=[Entity("customers", customers, readable=("id", "name", "email"), access=access)])
    )


@dataclasses.dataclass
class Holding:
    grants: frozenset[str]
    grant_filters: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Source:
    """Grants of this moment, as the test says."""

    def __init__(self) -> None:
        self.held: dict[str, Granted] = {}
        self.is_in_memory = True
        self.loads = 0

    def peek(self, tenant_id: str, installation_id: str) -> Granted | None:
        return self.held.get(installation_id, NOTHING) if self.is_in_memory else None

    async def get(self, tenant_id: str, installation_id: str) -> Granted:
        self.loads += 1
        return self.held.get(installation_id, NOTHING)


def context(*grants: str, role: str | None = None, **parts: Any) -> CapabilityContext:
    caller = None if role is None else Caller("mem_ada", role)
    return CapabilityContext("acme", "inst_a", "loyalty", manifest(), frozenset(grants), caller, **parts)


def rights(*grants: str, access: AccessBook | None = None, **about: Any) -> Rights:
    found = context(*grants, **about).rights
    found.access = access
    return found


# -- the acting user -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "may"),
    [("member", False), ("owner", True), ("admin", True), ("cashier", False), ("operator", False), (None, True)],
)
def test_a_role_that_the_host_leaves_out_has_what_members_have_and_owners_and_admins_have_all(
    role: str | None, *, may: bool
) -> None:
    limited = rights("customers:read", role=role, access=book(member=Access(read=False)))
    assert limited.covers("customers:read") is may


def test_the_refusal_says_that_it_is_the_acting_user_who_lacks_it() -> None:
    limited = rights("customers:read", "customers:write", role="member", access=book(member=Access(write=False)))
    limited.require("customers:read")
    with pytest.raises(PermissionDeniedError, match="the acting user may not") as refused:
        limited.require("customers:write")
    assert refused.value.data == {"permission": "customers:write", "lacks": "user", "role": "member"}
    with pytest.raises(PermissionDeniedError, match="the acting user may not"):
        limited.where("customers", "write")


def test_no_role_gives_what_the_plugin_does_not_hold() -> None:
    with pytest.raises(PermissionDeniedError, match="is not granted"):
        rights("customers:read", role="owner", access=book()).require("customers:write")


def test_a_role_limits_entities_alone() -> None:
    limited = rights("storage", "notify", "members:read", role="member", access=book(member=Access(False, False)))
    for permission in ("storage", "notify", "members:read"):
        limited.require(permission)


def test_a_host_that_names_a_hidden_field_is_told_at_start() -> None:
    from jackfield.capabilities.errors import RowFilterInvalidError

    with pytest.raises(RowFilterInvalidError, match="notes"):
        book(member=Access(read=[["notes", "eq", "x"]]))


# -- rows ------------------------------------------------------------------------------------------------------------


def test_filters_of_manifest_grant_and_role_add_up() -> None:
    asked = manifest(permissions=["customers:read"], permission_filters={"customers:read": [["id", "gt", 1]]})
    both = CapabilityContext(
        "acme", "inst_a", "loyalty", asked, frozenset({"customers:read"}), Caller("mem_ada", "member"),
        grant_filters={"customers:read": BERLIN, "customers:write": OWN},
    ).rights  # fmt: skip
    both.access = book(member=Access(read=OWN))
    assert both.where("customers", "read") == [Condition("id", "gt", 1), IN_BERLIN, OWNED]


def test_a_wider_grant_does_not_undo_a_narrower_one() -> None:
    both = rights("customers:read", "customers:*", grant_filters={"customers:read": BERLIN})
    assert both.where("customers", "read") == [IN_BERLIN]
    assert both.where("customers", "write") == []


def test_a_filter_on_a_grant_with_a_wildcard_is_on_both_uses() -> None:
    wild = rights("customers:*", grant_filters={"customers:*": BERLIN})
    assert wild.where("customers", "read") == wild.where("customers", "write") == [IN_BERLIN]


def test_rows_of_the_acting_user_are_nobodys_while_nobody_acts() -> None:
    mine = rights("customers:read", grant_filters={"customers:read": OWN})
    with pytest.raises(PermissionDeniedError, match="nobody acts"):
        mine.where("customers", "read")
    assert rights("customers:read", role="owner", grant_filters={"customers:read": OWN}).where(
        "customers", "read"
    ) == [OWNED]  # fmt: skip


def test_without_the_grant_there_are_no_rows_to_ask_about() -> None:
    with pytest.raises(PermissionDeniedError):
        rights("customers:read").where("customers", "write")


# -- calls of other plugins ------------------------------------------------------------------------------------------


def test_a_plugin_does_for_another_only_what_both_may() -> None:
    caller = context("customers:read", grant_filters={"customers:read": BERLIN})
    callee = context("customers:read", "customers:write", "storage", chain=(caller,)).rights
    callee.require("customers:read")
    callee.require("storage")
    assert callee.where("customers", "read") == [IN_BERLIN]
    with pytest.raises(PermissionDeniedError, match="not granted to loyalty, on whose behalf") as refused:
        callee.require("customers:write")
    assert refused.value.data["lacks"] == "plugin"


# -- at the gate, as grants change -----------------------------------------------------------------------------------


@pytest.fixture
async def live(database: Database) -> tuple[Gate, Source]:
    async with database.engine.begin() as connection:
        await connection.run_sync(host.create_all)
    gate, source = make_gate(database, access=book(member=Access(read=False))), Source()
    gate.follow(source)
    return gate, source


async def denied(plugin: Installed, capability: str, operation: str, **arguments: Any) -> bool:
    try:
        await plugin.call(capability, operation, **arguments)
    except PermissionDeniedError:
        return True
    return False


async def test_what_is_withdrawn_while_a_call_runs_it_has_lost(live: tuple[Gate, Source]) -> None:
    gate, source = live
    plugin = installed(gate)
    source.held["inst_a"] = Holding(plugin.context.grants)
    await plugin.call("storage", "set", key="k", value=1)
    source.held["inst_a"] = Holding(plugin.context.grants - {"storage"})
    assert await denied(plugin, "storage", "get", key="k")
    assert not await denied(plugin, "data", "count", entity="customers")
    source.held["inst_a"] = Holding(plugin.context.grants)
    assert not await denied(plugin, "storage", "get", key="k")


async def test_what_is_granted_while_a_call_runs_the_next_one_has(live: tuple[Gate, Source]) -> None:
    gate, source = live
    plugin = installed(gate, grants=["storage"])
    source.held["inst_a"] = Holding(frozenset({"storage", "customers:read"}))
    assert await denied(plugin, "data", "count", entity="customers")


async def test_a_filter_that_is_set_while_a_call_runs_is_in_force_and_one_that_is_lifted_stays(
    live: tuple[Gate, Source],
) -> None:
    gate, source = live
    plugin = installed(gate, grants=["customers:read"])
    source.held["inst_a"] = Holding(frozenset({"customers:read"}), {"customers:read": BERLIN})
    await plugin.call("data", "entities")
    assert plugin.context.rights.where("customers", "read") == [IN_BERLIN]
    narrow = Installed(gate, dataclasses.replace(plugin.context, grant_filters={"customers:read": BERLIN}))
    source.held["inst_a"] = Holding(frozenset({"customers:read"}))
    await narrow.call("data", "entities")
    assert narrow.context.rights.where("customers", "read") == [IN_BERLIN]


async def test_an_installation_that_is_gone_may_nothing(live: tuple[Gate, Source]) -> None:
    gate, _ = live
    assert await denied(installed(gate), "storage", "get", key="k")


async def test_a_tenant_that_is_not_in_memory_is_looked_up(live: tuple[Gate, Source]) -> None:
    gate, source = live
    plugin = installed(gate, grants=["storage"])
    source.held["inst_a"], source.is_in_memory = Holding(frozenset({"storage"})), False
    await plugin.call("storage", "get", key="k")
    assert source.loads == 1


async def test_a_step_of_an_operation_has_the_grants_that_it_was_given(live: tuple[Gate, Source]) -> None:
    gate, _ = live
    plugin = installed(gate, grants=["storage"])
    settled = Installed(gate, dataclasses.replace(plugin.context, is_settled=True))
    await settled.call("storage", "get", key="k")


async def test_the_gate_minds_the_acting_user_whoever_made_the_context(live: tuple[Gate, Source]) -> None:
    gate, source = live
    plugin = installed(gate)
    source.held["inst_a"] = Holding(plugin.context.grants)
    member = Installed(gate, dataclasses.replace(plugin.context, caller=Caller("mem_ada", "member")))
    assert await denied(member, "data", "count", entity="customers")
    assert await member.call("data", "entities") == []
    owner = Installed(gate, dataclasses.replace(plugin.context, caller=Caller("mem_bob", "owner")))
    assert await owner.call("data", "count", entity="customers") == 0


async def test_a_plugin_that_called_loses_what_is_withdrawn_from_it(live: tuple[Gate, Source]) -> None:
    gate, source = live
    callee = installed(gate)
    caller = dataclasses.replace(callee.context, installation_id="inst_b", slug="shop")
    source.held |= {"inst_a": Holding(callee.context.grants), "inst_b": Holding(callee.context.grants)}
    chained = Installed(gate, dataclasses.replace(callee.context, chain=(caller,)))
    await chained.call("data", "count", entity="customers")
    source.held["inst_b"] = Holding(frozenset({"customers:write"}))
    assert await denied(chained, "data", "count", entity="customers")


# -- counting --------------------------------------------------------------------------------------------------------


async def test_each_use_is_counted_for_the_grant_that_gave_it_and_a_refused_one_is_not(gate: Gate) -> None:
    plugin = installed(gate, grants=["storage", "customers:*"])
    for _ in range(3):
        await plugin.call("storage", "get", key="k")
    await plugin.call("data", "count", entity="customers")
    assert await denied(plugin, "tables", "count", table="ledger")
    assert plugin.context.tally.permissions == {"storage": 3, "customers:*": 1}
