"""A plan says everything that an administrator has to know before anything happens, and changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import jackfield_sdk as jf
from jackfield.errors import JackfieldError
from jackfield.lifecycle.presentation import install_plan_out, uninstall_plan_out
from jackfield_sdk.manifest import Manifest
from tests.server.lifecycle.conftest import CONFIG, TENANT, House, plugin_of, with_config


def rich() -> jf.Plugin:
    """A plugin with something of everything that this host offers."""
    plugin = with_config(
        plugin_of(
            permissions=["customers:read"],
            optional_permissions=["customers:write"],
            emits={"points.awarded": dict[str, int]},
            permission_reasons={"customers:read": "To show their points at the till."},
            summary="Points for customers",
        )
    )

    @plugin.filter("booking.beforeCreate", priority=5, when="booking.total > 0.0")
    def check(ctx: jf.Context, booking: dict[str, Any]) -> dict[str, Any]: ...

    @plugin.on("sale.created")
    def award(ctx: jf.Context, sale: dict[str, Any]) -> None: ...

    @plugin.function(description="Points a customer holds", read_only=True)
    def balance(ctx: jf.Context, customer_id: str) -> int: ...

    @plugin.route("GET", "/top")
    def top(ctx: jf.Context, request: jf.Request) -> dict[str, Any]: ...

    @plugin.widget("POS.AfterCheckout", title="Points")
    def card(ctx: jf.Context, sale: dict[str, Any]) -> dict[str, Any]: ...

    @plugin.table("ledger")
    class Ledger:
        customer_id: str
        points: int

    return plugin


async def code_of(house: House, slug: str = "points", version: str | None = None) -> str:
    with pytest.raises(JackfieldError) as refused:
        await house.lifecycle.plan_install(TENANT, slug, version)
    return refused.value.code


def changed(plugin: jf.Plugin, **parts: Any) -> Manifest:
    """A manifest that never went through the SDK's checks: what is read from a database is not believed either."""
    return msgspec.convert({**msgspec.to_builtins(plugin.manifest()), **parts}, Manifest)


class Written:
    """Stands where a plugin stands, with a manifest of its own."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def manifest(self) -> Manifest:
        return self._manifest


async def test_a_plan_tells_contributions_permissions_and_configuration(house: House) -> None:
    house.catalogue.add(rich())
    plan = install_plan_out(await house.lifecycle.plan_install(TENANT, "points"))
    assert plan.is_possible
    assert plan.contributes["filters"] == [
        {
            "hook": "booking.beforeCreate", "priority": 5, "when": "booking.total > 0.0", "on_error": "continue",
            "observe": False,
        }
    ]  # fmt: skip
    assert [part["event"] for part in plan.contributes["events"]] == ["sale.created"]
    assert [part["name"] for part in plan.contributes["functions"]] == ["balance"]
    assert plan.contributes["widgets"] == [{"slot": "POS.AfterCheckout", "title": "Points"}]
    assert plan.contributes["tables"] == [{"name": "ledger", "columns": ["customer_id", "points"]}]
    assert plan.contributes["emits"] == [{"event": "points.awarded"}]
    said = {permission.permission: permission for permission in plan.permissions}
    assert said["customers:read"].text == "see your customers"
    assert said["customers:read"].reason == "To show their points at the till."
    assert (said["customers:read"].kind, said["customers:read"].risk) == ("required", "medium")
    assert (said["customers:write"].kind, said["customers:write"].risk) == ("optional", "high")
    assert {name for name, permission in said.items() if permission.kind == "implied"} == {
        "storage", "log", "cache", "files", "tables", "events:points.*", "secrets:api_key",
    }  # fmt: skip
    assert plan.config_schema is not None
    assert plan.secrets == ["api_key"]
    assert plan.missing_config == ["api_key", "shop"]
    assert await house.residue() == {}
    assert await house.operations() == []
    assert house.runner.calls == []


async def test_a_plan_tells_what_comes_along_and_why(house: House) -> None:
    house.catalogue.add(plugin_of("base", permissions=["customers:read"]))
    house.catalogue.add(plugin_of("points", requires={"base": "^1.0"}))
    plan = install_plan_out(await house.lifecycle.plan_install(TENANT, "points"))
    [base] = plan.dependencies
    assert (base.slug, base.version) == ("base", "1.0.0")
    assert "points 1.0.0 needs base ^1.0" in base.because
    assert [part.permission for part in base.permissions if part.kind == "required"] == ["customers:read"]


async def test_the_newest_release_that_fits_is_planned_unless_one_is_named(house: House) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0-beta.1"):
        house.catalogue.add(plugin_of("points", version))
    assert (await house.lifecycle.plan_install(TENANT, "points")).release.version == "1.1.0"
    assert (await house.lifecycle.plan_install(TENANT, "points", "1.0.0")).steps[-1].release.version == "1.0.0"
    assert (await house.lifecycle.plan_install(TENANT, "points", "2.0.0-beta.1")).steps[
        -1
    ].release.version == "2.0.0-beta.1"


async def test_conflicts_are_part_of_a_plan(house: House) -> None:
    house.catalogue.add(plugin_of())
    await house.lifecycle.install(TENANT, "points")
    plan = install_plan_out(await house.lifecycle.plan_install(TENANT, "points"))
    assert not plan.is_possible
    assert [conflict.code for conflict in plan.conflicts] == ["already-installed"]
    house.catalogue.add(plugin_of("club", requires={"nowhere": "*"}))
    plan = install_plan_out(await house.lifecycle.plan_install(TENANT, "club"))
    assert [conflict.code for conflict in plan.conflicts] == ["dependency-missing"]
    assert plan.conflicts[0].data["explanation"]


async def test_what_does_not_exist_cannot_be_planned(house: House) -> None:
    assert await code_of(house, "nothing") == "not-found"
    house.catalogue.add(plugin_of())
    assert await code_of(house, "points", "9.9.9") == "not-found"


async def test_a_release_for_another_host_is_refused_by_name(house: House) -> None:
    plugin = plugin_of(permissions=["orders:read"])

    @plugin.filter("order.beforeShip")
    def check(ctx: jf.Context, order: dict[str, Any]) -> dict[str, Any]: ...

    @plugin.on("order.shipped")
    def shipped(ctx: jf.Context, order: dict[str, Any]) -> None: ...

    @plugin.widget("Order.Details")
    def card(ctx: jf.Context, order: dict[str, Any]) -> dict[str, Any]: ...

    house.catalogue.add(plugin)
    with pytest.raises(JackfieldError, match=r"order\.beforeShip") as refused:
        await house.lifecycle.plan_install(TENANT, "points")
    assert refused.value.code == "hook-unknown"
    assert [problem["code"] for problem in refused.value.data["problems"]] == [
        "hook-unknown", "event-unknown", "slot-unknown", "entity-unknown",
    ]  # fmt: skip
    with pytest.raises(JackfieldError) as refused:
        await house.lifecycle.install(TENANT, "points", grants=["orders:read"])
    assert refused.value.code == "hook-unknown"


@pytest.mark.parametrize(
    ("permission", "code"),
    [("orders:read", "entity-unknown"), ("orders:write", "entity-unknown"), ("customers:read", "")],
)
async def test_entities_have_to_be_those_of_the_host(house: House, permission: str, code: str) -> None:
    house.catalogue.add(plugin_of(optional_permissions=[permission]))
    if code:
        assert await code_of(house) == code
    else:
        await house.lifecycle.plan_install(TENANT, "points")


@pytest.mark.parametrize(
    ("event", "is_known"),
    [
        ("sale.created", True),
        ("sale.deleted", False),
        ("base.anything", True),
        ("stranger.happened", False),
        ("points.awarded", True),
        ("points.forgotten", False),
    ],
)
async def test_events_come_from_the_host_from_itself_or_from_another_plugin(
    house: House, event: str, is_known: bool
) -> None:
    house.catalogue.add(plugin_of("base"))
    plugin = plugin_of(emits={"points.awarded": dict[str, int]}, uses={"base": "*"})

    @plugin.on(event)
    def listen(ctx: jf.Context, payload: dict[str, Any]) -> None: ...

    house.catalogue.add(plugin)
    if is_known:
        await house.lifecycle.plan_install(TENANT, "points")
    else:
        assert await code_of(house) == "event-unknown"


async def test_another_plugins_events_take_a_declared_dependency(house: House) -> None:
    house.catalogue.add(plugin_of("base"))
    plugin = plugin_of()

    @plugin.on("base.anything")
    def listen(ctx: jf.Context, payload: dict[str, Any]) -> None: ...

    house.catalogue.add(plugin)
    assert await code_of(house) == "event-dependency-missing"


async def test_a_needed_plugin_is_held_to_the_host_too(house: House) -> None:
    base = plugin_of("base")

    @base.filter("order.beforeShip")
    def check(ctx: jf.Context, order: dict[str, Any]) -> dict[str, Any]: ...

    house.catalogue.add(base)
    house.catalogue.add(plugin_of(requires={"base": "*"}))
    assert await code_of(house) == "hook-unknown"


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/schema", "file:///etc/passwd", "#/properties/shop"])
async def test_a_configuration_schema_that_reaches_out_is_refused(house: House, reference: str) -> None:
    schema = {"type": "object", "properties": {"shop": {"$ref": reference}}}
    house.catalogue.add(Written(changed(plugin_of(), config={"schema": schema})))  # type: ignore[arg-type]  # has `manifest` too
    assert await code_of(house) == "config-schema-invalid"


async def test_a_condition_that_could_hold_the_node_is_refused(house: House) -> None:
    when = "sale.items.all(a, sale.items.all(b, sale.items.all(c, a != b)))"
    events = [{"event": "sale.created", "handler": "listen", "when": when}]
    house.catalogue.add(Written(changed(plugin_of(), events=events)))  # type: ignore[arg-type]  # has `manifest` too
    assert await code_of(house) == "condition-invalid"


async def test_the_plan_of_a_removal_counts_what_goes_and_names_who_needs_it(house: House) -> None:
    house.catalogue.add(with_config(plugin_of()))
    house.catalogue.add(plugin_of("club", requires={"points": "*"}))
    installed = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    await house.owns(installed.id)
    plan = uninstall_plan_out(await house.lifecycle.plan_uninstall(TENANT, "points"))
    assert plan.is_possible
    assert (plan.owned["storage_keys"], plan.owned["table_rows"], plan.owned["secrets"]) == (1, 1, 1)
    await house.lifecycle.install(TENANT, "club")
    plan = uninstall_plan_out(await house.lifecycle.plan_uninstall(TENANT, "points"))
    assert [conflict.code for conflict in plan.conflicts] == ["has-dependants"]
    assert plan.conflicts[0].data["dependants"] == {"points": ["club"]}


async def test_a_circle_of_needs_is_told(house: House) -> None:
    house.catalogue.add(plugin_of("points", requires={"base": "*"}))
    house.catalogue.add(plugin_of("base", requires={"points": "*"}))
    plan = await house.lifecycle.plan_install(TENANT, "points")
    assert [conflict.code for conflict in plan.conflicts] == ["dependency-cycle"]
