"""The fake platform lets a call do what the real one lets it do, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, String, Table

import jackfield_sdk as jf
from jackfield.capabilities import AccessBook, CapabilityContext
from jackfield.capabilities.errors import PermissionDeniedError
from jackfield.data_adapters.conditions import holds as real_holds
from jackfield.surface import Access, Entity, Surface
from jackfield_sdk import wire
from jackfield_sdk.errors import PluginError
from jackfield_sdk.manifest import Manifest, parse_manifest
from jackfield_sdk.testing import FakePlatform
from jackfield_sdk.testing.nodes import holds
from jackfield_sdk.testing.rights import Rights

_TABLE = Table(
    "people", MetaData(), Column("id", String, primary_key=True), Column("tenant_id", String), Column("owner", String)
)

GRANTS = st.sets(st.sampled_from(["customers:read", "customers:write", "customers:*", "storage", "members:read"]))
PERMISSIONS = st.sampled_from(["customers:read", "customers:write", "storage", "members:read", "orders:read"])
WHERES = st.sampled_from(
    [
        [],
        [["owner", "eq", "$user.id"]],
        [["owner", "in", ["a", "$tenant.id"]]],
        [{"not": ["owner", "ne", "$user.id"]}],
        [{"or": [["owner", "eq", "a"], ["owner", "eq", "$user.role"]]}, ["id", "ne", "3"]],
    ]
)
HELD = st.booleans() | WHERES
ROLES = st.sampled_from(["owner", "admin", "member", "cashier"])
CALLERS = st.none() | ROLES.map(lambda role: wire.Caller("a", role))
ROWS = [{"id": str(n), "owner": owner} for n, owner in enumerate(["a", "acme", "member", "b", None])]


def manifest(asked: Any) -> Manifest:
    filters = {"customers:read": asked} if asked else {}
    base = {"slug": "tried", "version": "1.0.0", "name": "Tried", "permissions": ["customers:read"]}
    return parse_manifest({**base, "permission_filters": filters})


@given(
    GRANTS, PERMISSIONS, WHERES, WHERES,
    st.dictionaries(ROLES, st.fixed_dictionaries({"read": HELD, "write": HELD})), CALLERS,
)  # fmt: skip
def test_rights_are_the_same(
    grants: set[str], permission: str, asked: Any, narrowed: Any, access: dict[str, Any], caller: wire.Caller | None
) -> None:
    filters = {grant: narrowed for grant in ("customers:read", "customers:*") if narrowed}
    fake = Rights(manifest(asked), grants, filters, {"customers": access}, "acme")
    fake.caller = lambda: caller
    real = CapabilityContext(
        "acme", "inst_a", "tried", manifest(asked), frozenset(grants), caller, grant_filters=filters
    ).rights
    roles = {role: Access(held["read"], held["write"]) for role, held in access.items()}
    entity = Entity("customers", _TABLE, readable=("id", "owner"), access=roles)
    real.access = AccessBook(Surface(entities=[entity]))

    assert _allows(fake.require, permission) == _allows(real.require, permission)
    for use in ("read", "write"):
        assert _allows(fake.where, "customers", use) == _allows(real.where, "customers", use)
        if _allows(real.where, "customers", use):
            mine, theirs = fake.where("customers", use), real.where("customers", use)
            assert [holds(mine, row) for row in ROWS] == [real_holds(theirs, row) for row in ROWS]


def _allows(ask: Any, *arguments: Any) -> bool:
    try:
        ask(*arguments)
    except (PermissionDeniedError, jf.PermissionDeniedError):
        return False
    return True


plugin = jf.Plugin("tried", version="1.0.0", permissions=["customers:read", "customers:write"])


@plugin.function()
def names(ctx: jf.Context) -> list[str]:
    return [row["name"] for row in ctx.data["customers"].list(order="name")]


@plugin.function()
def rename(ctx: jf.Context, id: str, name: str, city: str = "Berlin") -> None:
    ctx.data["customers"].update(id, name=name, city=city)


@plugin.on("sale.created")
def sold(ctx: jf.Context, sale: dict[str, Any]) -> None:
    names(ctx)


CUSTOMERS = [
    {"id": "1", "name": "Ada", "city": "Berlin", "owner": "tester"},
    {"id": "2", "name": "Bob", "city": "Wien", "owner": "tester"},
    {"id": "3", "name": "Cy", "city": "Berlin", "owner": None},
]
BERLIN = [["city", "eq", "Berlin"]]


def tried(**options: Any) -> FakePlatform:
    return FakePlatform(plugin, entities={"customers": CUSTOMERS}, **options).start()


def test_a_narrowed_grant_reads_and_writes_its_rows() -> None:
    platform = tried(grant_filters={"customers:read": BERLIN, "customers:write": BERLIN})
    assert platform.call("names") == ["Ada", "Cy"]
    platform.call("rename", id="1", name="Eve")
    for id, city, code in (("2", "Berlin", "entity-not-found"), ("1", "Wien", "entity-out-of-scope")):
        with pytest.raises(PluginError) as refused:
            platform.call("rename", id=id, name="Mine", city=city)
        assert refused.value.code == code
    platform.grant_filters.clear()
    assert platform.call("names") == ["Bob", "Cy", "Eve"]


def test_a_role_sees_what_it_may() -> None:
    own = {"customers": {"member": {"read": [["owner", "eq", "$user.id"]], "write": False}}}
    platform = tried(access=own)
    assert platform.call("names") == ["Ada", "Bob", "Cy"]
    with platform.acting_as("tester", "member"):
        assert platform.call("names") == ["Ada", "Bob"]
        with pytest.raises(jf.PermissionDeniedError, match="the acting user may not"):
            platform.call("rename", id="1", name="Mine")


def test_rows_of_the_acting_user_are_nobodys_while_nobody_acts() -> None:
    platform = tried(grant_filters={"customers:read": [["owner", "eq", "$user.id"]]})
    assert platform.call("names") == ["Ada", "Bob"]
    with pytest.raises(jf.PermissionDeniedError, match="nobody acts"):
        platform.emit("sale.created", {})
