"""The fake platform is as strict as the real one: what passes here passes in an isolate."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pytest

import jackfield_sdk as jf
from jackfield_sdk.errors import ManifestError
from jackfield_sdk.testing import FakePlatform


class Done(jf.Struct):
    n: int


plugin = jf.Plugin(
    "tried",
    version="1.0.0",
    permissions=["customers:read"],
    optional_permissions=["customers:write", "products:read"],
    emits={"tried.done": Done},
)


@plugin.config
class Config:
    rate: Annotated[float, jf.Meta(ge=0)] = 1.0
    key: jf.Secret | None = None


@plugin.table("things", unique=[["name"], ["kind", "number"]])
class Thing:
    name: str
    number: int | None = None
    kind: Literal["a", "b"] = "a"


@plugin.function()
def store(ctx: jf.Context, key: str, value: Any) -> None:
    ctx.storage.set(key, value)


@plugin.function()
def stored(ctx: jf.Context, key: str) -> Any:
    return ctx.storage.get(key)


@plugin.function()
def keys(ctx: jf.Context, prefix: str = "", limit: int = 100, after: str | None = None) -> list[str]:
    return ctx.storage.keys(prefix, limit=limit, after=after)


@plugin.function()
def add(ctx: jf.Context, row: dict[str, Any]) -> dict[str, Any]:
    return ctx.tables["things"].insert(**row)


@plugin.function()
def change(ctx: jf.Context, id: str, changes: dict[str, Any]) -> dict[str, Any]:
    return ctx.tables["things"].update(id, **changes)


@plugin.function()
def find(
    ctx: jf.Context,
    where: list[Any] | None = None,
    order: list[str] | None = None,
    limit: int = 100,
    offset: int = 0,
    table: str = "things",
) -> list[Any]:
    rows = ctx.tables[table].find(where, order=order, limit=limit, offset=offset)
    assert ctx.tables[table].count(where) >= len(rows)
    return [row["name"] for row in rows]


@plugin.function()
def remove(ctx: jf.Context, id: str) -> bool:
    return ctx.tables["things"].delete(id)


@plugin.function()
def customer(ctx: jf.Context, id: str) -> Any:
    return ctx.data["customers"].get(id)


@plugin.function()
def add_customer(ctx: jf.Context, name: str) -> Any:
    made = ctx.data["customers"].create(name=name)
    ctx.data["customers"].update(made["id"], name=name.upper())
    return ctx.data["customers"].list({"name": name.upper()})


@plugin.function()
def entities(ctx: jf.Context) -> list[str]:
    return ctx.data.entities()


@plugin.function()
def finish(ctx: jf.Context, n: Any, name: str = "tried.done") -> str:
    return ctx.events.emit(name, {"n": n})


@plugin.function(role="admin")
def secret(ctx: jf.Context) -> str | None:
    return ctx.config.key.reveal() if ctx.config.key else None


@plugin.function()
def lie(ctx: jf.Context) -> int:
    return "not a number"  # pyright: ignore[reportReturnType]  # a mistake that authors make


@plugin.function()
async def wait(ctx: jf.Context, n: int) -> int:
    await asyncio.sleep(0)
    return n


@plugin.function()
def moment(ctx: jf.Context) -> str:
    return ctx.now.isoformat()


@plugin.function()
def whose(ctx: jf.Context) -> list[str] | None:
    return [ctx.user.id, ctx.user.role] if ctx.user else None


@plugin.on("sale.created", when="sale.total > 10.0 && sale.customer_id != null")
def big_sale(ctx: jf.Context, sale: dict[str, Any]) -> None:
    assert ctx.delivery is not None
    assert ctx.user is None
    ctx.storage.set("deliveries", [*ctx.storage.get("deliveries", []), [ctx.delivery.id, ctx.delivery.attempt]])


@plugin.on("sale.refunded")
def refunded(ctx: jf.Context, sale: dict[str, Any]) -> None:
    raise jf.RetryLaterError("busy", after_s=5)


@plugin.filter("sale.beforeCreate", priority=2)
def double(ctx: jf.Context, sale: dict[str, Any]) -> dict[str, Any]:
    return {**sale, "total": sale["total"] * 2}


@plugin.filter("sale.beforeCreate", priority=1, when="sale.total < 100.0")
def add_one(ctx: jf.Context, sale: dict[str, Any]) -> dict[str, Any]:
    return {**sale, "total": sale["total"] + 1}


@plugin.filter("booking.beforeCreate")
def refuse(ctx: jf.Context, booking: jf.hooks.Booking) -> None:
    if booking.notes == "veto":
        raise jf.VetoError("not on Sundays")
    if booking.notes == "user":
        raise jf.UserError("not like that")


@plugin.route("GET", "/open/{name}", auth="public")
def show(ctx: jf.Context, request: jf.Request) -> Any:
    return [request.params, request.query, request.headers, request.body.decode()]


@plugin.route("POST", "/mine", auth="admin")
def mine(ctx: jf.Context, request: jf.Request) -> jf.Response:
    return jf.Response(request.json(), status=201)


@plugin.widget("Shop.Page", order=2)
def second(ctx: jf.Context, context: dict[str, Any]) -> jf.ui.Text:
    return jf.ui.Text("second")


@plugin.widget("Shop.Page", order=1, when="payload.show")
def first(ctx: jf.Context, context: dict[str, Any]) -> jf.ui.Text:
    return jf.ui.Text("first")


@plugin.widget("Shop.Empty")
def empty(ctx: jf.Context, context: Any) -> None: ...


@plugin.widget("Shop.Broken")
def broken(ctx: jf.Context, context: Any) -> jf.ui.Link:
    return jf.ui.Link("x", "javascript:alert(1)")


@plugin.config_check
def check(ctx: jf.Context) -> None:
    if ctx.config.rate == 13:
        raise jf.UserError("unlucky")


@plugin.on_configure
def configured(ctx: jf.Context) -> None:
    if ctx.config.rate == 99:
        raise ValueError("too much")
    ctx.log.info("configured", rate=ctx.config.rate)


@plugin.on_install
def installed(ctx: jf.Context) -> None:
    ctx.storage.set("installed", value=True)
    if ctx.config.rate == 7:
        raise ValueError("no")


@plugin.on_deactivate
def deactivated(ctx: jf.Context) -> None:
    raise ValueError("whatever")


@plugin.health
def health(ctx: jf.Context) -> jf.Health:
    return jf.Health(ctx.storage.get("well", default=True), "so so")


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(plugin, entities={"customers": [{"id": "c1", "name": "Ada"}]}).start()


def code_of(error: pytest.ExceptionInfo[jf.PluginError]) -> str:
    return error.value.code


# -- functions -------------------------------------------------------------------------------------------------------


def test_a_function_answers_plain_data(platform: FakePlatform) -> None:
    assert platform.call("add", row={"name": "x"}) == {"id": "row_000001", "name": "x", "number": None, "kind": "a"}


@pytest.mark.parametrize("arguments", [{}, {"key": 5}, {"key": "a", "more": 1}])
def test_arguments_are_checked_before_the_handler_runs(platform: FakePlatform, arguments: dict[str, Any]) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("stored", **arguments)
    assert code_of(caught) == "arguments-invalid"


def test_a_result_must_be_what_was_declared(platform: FakePlatform) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("lie")
    assert code_of(caught) == "result-invalid"


def test_a_slip_of_the_pen_is_told_with_the_closest_name(platform: FakePlatform) -> None:
    with pytest.raises(LookupError, match="did you mean `customer`"):
        platform.call("custmer")
    with pytest.raises(LookupError, match=r"sale\.created"):
        platform.emit("sale.create", {})


def test_a_function_is_called_by_whoever_may(platform: FakePlatform) -> None:
    assert platform.call("whose") == ["tester", "owner"]
    with platform.acting_as("u1"):
        assert platform.call("whose") == ["u1", "member"]
        with pytest.raises(jf.PluginError) as caught:
            platform.call("secret")
        assert code_of(caught) == "role-too-low"
    with platform.acting_as(None):
        assert platform.call("whose") is None
        platform.call("secret")
    assert platform.call("whose") == ["tester", "owner"]


def test_async_handlers_run_in_plain_tests(platform: FakePlatform) -> None:
    assert [platform.call("wait", n=n) for n in (1, 2)] == [1, 2]


async def test_async_handlers_run_in_async_tests(platform: FakePlatform) -> None:
    assert [platform.call("wait", n=n) for n in (1, 2)] == [1, 2]


def test_time_can_be_set() -> None:
    platform = FakePlatform(plugin, now=datetime(2026, 3, 1, 12, tzinfo=UTC)).start()
    assert platform.call("moment") == "2026-03-01T12:00:00+00:00"


def test_a_defect_brings_its_trace(platform: FakePlatform) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.configure(rate=99)
    assert "ValueError: too much" in "".join(caught.value.__notes__)


# -- permissions -----------------------------------------------------------------------------------------------------


def test_what_the_manifest_asks_for_is_granted() -> None:
    assert FakePlatform(plugin).grants == {
        "customers:read", "customers:write", "products:read", "storage", "log", "cache", "files", "tables",
        "events:tried.*", "secrets:key",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("permission", "call"),
    [
        ("storage", {"function": "stored", "key": "a"}),
        ("tables", {"function": "find"}),
        ("customers:read", {"function": "customer", "id": "c1"}),
        ("customers:write", {"function": "add_customer", "name": "x"}),
        ("events:tried.*", {"function": "finish", "n": 1}),
        ("secrets:key", {"function": "secret"}),
    ],
)
def test_what_is_withheld_is_denied(permission: str, call: dict[str, Any]) -> None:
    platform = FakePlatform(plugin, config={"key": "value"}).start()
    platform.grants.discard(permission)
    with pytest.raises(jf.PermissionDeniedError):
        platform.call(call.pop("function"), **call)
    platform.grants.add(permission)


def test_withholding_what_nobody_asks_for_is_a_mistake_in_the_test() -> None:
    with pytest.raises(ValueError, match="customer:read"):
        FakePlatform(plugin, withhold=["customer:read"])


def test_a_log_that_may_not_be_written_is_not() -> None:
    platform = FakePlatform(plugin, withhold=["log"]).start().configure(rate=2.0)
    assert platform.logs == []


def test_entities_are_those_that_may_be_read(platform: FakePlatform) -> None:
    assert platform.call("entities") == ["customers", "products"]


# -- storage, tables, entities ---------------------------------------------------------------------------------------


def test_storage_keeps_values_apart_from_the_plugins_own(platform: FakePlatform) -> None:
    platform.call("store", key="a/2", value={"n": [1]})
    platform.call("store", key="a/1", value=None)
    assert platform.storage["a/2"] == {"n": [1]}
    assert platform.call("stored", key="a/1") is None
    assert platform.call("keys", prefix="a/") == ["a/1", "a/2"]
    assert platform.call("keys", prefix="a/", after="a/1") == ["a/2"]
    assert platform.call("keys", prefix="a/", limit=1) == ["a/1"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("", 1), ("a\n", 1), ("x" * 257, 1), ("a", "x" * 300_000), ("a", 2**63), ("a", [[[[]] * 50_000]])],
    ids=["empty", "control", "long key", "large", "integer", "many"],
)
def test_storage_takes_what_the_platform_takes(platform: FakePlatform, key: str, value: Any) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("store", key=key, value=value)
    assert code_of(caught) == "arguments-invalid"


@pytest.mark.parametrize(
    "row",
    [{}, {"name": 5}, {"name": "x", "more": 1}, {"name": "x", "kind": "c"}, {"name": "x", "id": "mine"}],
)
def test_a_row_fits_its_table(platform: FakePlatform, row: dict[str, Any]) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("add", row=row)
    assert code_of(caught) == "row-invalid"


def test_unique_groups_are_unique_unless_a_value_is_absent(platform: FakePlatform) -> None:
    platform.call("add", row={"name": "x", "number": 1})
    platform.call("add", row={"name": "y", "number": None})
    platform.call("add", row={"name": "z", "number": None})
    for clash in ({"name": "x"}, {"name": "w", "number": 1}):
        with pytest.raises(jf.PluginError) as caught:
            platform.call("add", row=clash)
        assert code_of(caught) == "unique-violation"
    assert [row["name"] for row in platform.rows("things")] == ["x", "y", "z"]
    with pytest.raises(jf.PluginError) as caught:
        platform.call("change", id="row_000002", changes={"name": "x"})
    assert code_of(caught) == "unique-violation"
    assert platform.call("change", id="row_000001", changes={"name": "x", "kind": "b"})["kind"] == "b"


def test_an_unknown_row_is_not_found(platform: FakePlatform) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("change", id="nobody", changes={})
    assert code_of(caught) == "row-not-found"
    assert platform.call("remove", id="nobody") is False


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ([["number", "eq", 2]], ["b"]),
        ([["number", "eq", 2.0]], ["b"]),
        ([["number", "eq", "2"]], []),
        ([["number", "eq", True]], []),
        ([["number", "ne", 2]], ["a", "c", "none"]),
        ([["number", "eq", None]], ["none"]),
        ([["number", "ne", None]], ["a", "b", "c"]),
        ([["number", "gt", 1], ["number", "lte", 3]], ["b", "c"]),
        ([["number", "gte", 3]], ["c"]),
        ([["number", "lt", 2]], ["a"]),
        ([["number", "gt", "1"]], []),
        ([["number", "in", [1, 3, None]]], ["a", "c", "none"]),
        ([["name", "like", "N%"]], ["none"]),
        ([["name", "like", "_"]], ["a", "b", "c"]),
        ([["name", "like", "\\_"]], []),
    ],
)
def test_conditions_mean_what_they_mean_on_the_platform(
    platform: FakePlatform, where: list[Any], found: list[str]
) -> None:
    for name, number in (("a", 1), ("b", 2), ("c", 3), ("none", None)):
        platform.call("add", row={"name": name, "number": number})
    assert platform.call("find", where=where) == found


def test_rows_come_in_order_and_in_pages(platform: FakePlatform) -> None:
    for name, number, kind in (("a", 2, "b"), ("b", None, "a"), ("c", 2, "a"), ("d", 1, "a")):
        platform.call("add", row={"name": name, "number": number, "kind": kind})
    assert platform.call("find", order=["number"]) == ["b", "d", "a", "c"]
    assert platform.call("find", order=["-number"]) == ["a", "c", "d", "b"]
    assert platform.call("find", order=["kind", "-number"]) == ["c", "d", "b", "a"]
    assert platform.call("find", order=["name"], limit=2, offset=1) == ["b", "c"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"table": "nothing"}, "table-not-declared"),
        ({"where": [["nothing", "eq", 1]]}, "arguments-invalid"),
        ({"order": ["nothing"]}, "arguments-invalid"),
        ({"where": [["name", "near", 1]]}, "arguments-invalid"),
        ({"where": [["name", "in", "x"]]}, "comparison-invalid"),
        ({"where": [["name", "gt", None]]}, "comparison-invalid"),
        ({"where": [["name", "like", 5]]}, "comparison-invalid"),
        ({"limit": 0}, "arguments-invalid"),
        ({"limit": 1001}, "arguments-invalid"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    platform: FakePlatform, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("find", **arguments)
    assert code_of(caught) == code


def test_entities_are_read_and_written_by_grant(platform: FakePlatform) -> None:
    assert platform.call("customer", id="c1") == {"id": "c1", "name": "Ada"}
    assert platform.call("customer", id="nobody") is None
    assert [row["name"] for row in platform.call("add_customer", name="bob")] == ["BOB"]
    assert [row["name"] for row in platform.entities("customers")] == ["Ada", "BOB"]


def test_own_events_are_kept_and_checked(platform: FakePlatform) -> None:
    platform.call("finish", n=5)
    assert [(event.name, event.payload) for event in platform.emitted] == [("tried.done", {"n": 5})]
    for arguments, code in (
        ({"n": "x"}, "event-payload-mismatch"),
        ({"n": 1, "name": "tried.other"}, "event-not-declared"),
    ):
        with pytest.raises(jf.PluginError) as caught:
            platform.call("finish", **arguments)
        assert code_of(caught) == code


def test_an_event_of_somebody_else_may_not_be_sent(platform: FakePlatform) -> None:
    with pytest.raises(jf.PermissionDeniedError):
        platform.call("finish", n=1, name="sale.created")


# -- events, filters, routes, widgets --------------------------------------------------------------------------------


def test_an_event_reaches_the_handlers_whose_condition_holds(platform: FakePlatform) -> None:
    assert platform.emit("sale.created", {"total": 5, "customer_id": "c"}) == []
    assert platform.emit("sale.created", {"total": 50}) == []
    assert platform.emit("sale.created", {"total": 50, "customer_id": None}) == []
    assert len(platform.emit("sale.created", {"total": 50, "customer_id": "c"})) == 1


def test_a_delivery_that_comes_again_is_the_same_delivery_and_has_one_effect(platform: FakePlatform) -> None:
    made = platform.emit("sale.created", {"total": 50, "customer_id": "c"}, attempts=2)
    assert [delivery.attempt for delivery in made] == [1, 2]
    assert made[0].id == made[1].id
    platform.emit("sale.created", {"total": 50, "customer_id": "c"})
    (first, attempt), (other, _) = platform.storage["deliveries"]
    assert (first, attempt) == (made[0].id, 2)
    assert other != first


def test_a_handler_may_ask_for_another_try(platform: FakePlatform) -> None:
    with pytest.raises(jf.RetryLaterError) as caught:
        platform.emit("sale.refunded", {})
    assert caught.value.after_s == 5


def test_filters_run_by_priority_as_far_as_their_conditions_hold(platform: FakePlatform) -> None:
    assert platform.filter("sale.beforeCreate", {"total": 1.0, "other": 1}) == {"total": 4.0, "other": 1}
    assert platform.filter("sale.beforeCreate", {"total": 100.0}) == {"total": 200.0}


def test_a_filter_gives_back_the_type_it_took(platform: FakePlatform) -> None:
    booking = jf.hooks.Booking(customer_id="c", starts_at="2026-01-01T10:00:00Z")
    assert platform.filter("booking.beforeCreate", booking) == booking


@pytest.mark.parametrize("notes", ["veto", "user"])
def test_a_veto_stops_the_host(platform: FakePlatform, notes: str) -> None:
    with pytest.raises(jf.VetoError, match="not"):
        platform.filter(
            "booking.beforeCreate", jf.hooks.Booking(customer_id="c", starts_at="2026-01-01T10:00:00Z", notes=notes)
        )


def test_a_route_gets_the_request_as_the_platform_hands_it_on(platform: FakePlatform) -> None:
    with platform.acting_as(None):
        answer = platform.route(
            "get",
            "/open/Ada%20L?a=1",
            query={"b": "2"},
            headers={"Authorization": "secret", "Cookie": "secret", "X-Own": "x", "User-Agent": "me"},
            body=b"raw",
        )
    assert answer.body == [{"name": "Ada L"}, {"a": "1", "b": "2"}, {"user-agent": "me"}, "raw"]


def test_a_route_answers_with_its_response(platform: FakePlatform) -> None:
    answer = platform.route("POST", "/mine", body={"a": 1})
    assert (answer.status, answer.body) == (201, {"a": 1})


@pytest.mark.parametrize(
    ("member", "method", "path", "code"),
    [
        ("u1", "POST", "/mine", "role-too-low"),
        (None, "POST", "/mine", "role-too-low"),
        ("u1", "GET", "/mine", "route-unknown"),
        ("u1", "GET", "/open/a/b", "route-unknown"),
    ],
)
def test_a_route_that_may_not_be_used(
    platform: FakePlatform, member: str | None, method: str, path: str, code: str
) -> None:
    with platform.acting_as(member), pytest.raises(jf.PluginError) as caught:
        platform.route(method, path)
    assert code_of(caught) == code


def test_widgets_come_in_order_where_their_conditions_hold(platform: FakePlatform) -> None:
    assert [tree["text"] for tree in platform.widgets("Shop.Page", {"show": True})] == ["first", "second"]
    assert [tree["text"] for tree in platform.widgets("Shop.Page", {})] == ["second"]
    assert platform.widget("Shop.Empty") is None


def test_a_widget_that_no_page_would_show_fails_here(platform: FakePlatform) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.widget("Shop.Broken")
    assert code_of(caught) == "widget-invalid"


# -- life cycle and configuration ------------------------------------------------------------------------------------


def test_nothing_runs_before_it_is_active() -> None:
    platform = FakePlatform(plugin).install()
    for trigger in (
        lambda: platform.call("whose"),
        lambda: platform.emit("sale.created", {}),
        lambda: platform.filter("sale.beforeCreate", {}),
        lambda: platform.route("GET", "/open/x"),
        lambda: platform.widget("Shop.Page"),
    ):
        with pytest.raises(jf.PluginError) as caught:
            trigger()
        assert code_of(caught) == "plugin-not-active"


def test_a_failed_install_leaves_nothing() -> None:
    platform = FakePlatform(plugin, config={"rate": 7})
    with pytest.raises(jf.PluginError):
        platform.install()
    assert (platform.state, platform.storage) == ("available", {})


def test_a_failed_deactivation_is_told_in_the_log_and_does_not_stop_it(platform: FakePlatform) -> None:
    platform.deactivate()
    assert platform.state == "inactive"
    assert [line.level for line in platform.logs] == ["error"]


def test_uninstalling_leaves_nothing(platform: FakePlatform) -> None:
    platform.configure(key="value")
    platform.call("add", row={"name": "x"})
    platform.uninstall()
    assert (platform.state, platform.storage, platform.rows("things")) == ("available", {}, [])


def test_a_new_configuration_is_what_handlers_see(platform: FakePlatform) -> None:
    platform.configure(rate=2, key="value")
    assert platform.call("secret") == "value"
    assert platform.config == {"rate": 2}
    assert [line.fields for line in platform.logs] == [{"rate": 2.0}]


@pytest.mark.parametrize(
    ("values", "code"),
    [({"rate": -1}, "config-invalid"), ({"rat": 1}, "config-invalid"), ({"key": 5}, "config-invalid"),
     ({"rate": 13}, "user-error"), ({"rate": 99}, "plugin-error")],
)  # fmt: skip
def test_a_configuration_that_is_refused_changes_nothing(values: dict[str, Any], code: str) -> None:
    platform = FakePlatform(plugin, config={"rate": 2, "key": "old"}).start()
    with pytest.raises(jf.PluginError) as caught:
        platform.configure(**values)
    assert code_of(caught) == code
    assert platform.config == {"rate": 2}
    assert platform.call("secret") == "old"


def test_health_is_what_the_plugin_says_or_that_it_cannot(platform: FakePlatform) -> None:
    assert platform.health() == jf.Health(True, "so so")
    platform.storage["well"] = "perhaps"
    assert platform.health().ok is False
    platform.fail("storage.get")
    assert platform.health() == jf.Health(False, "storage.get failed, as the test asked")


def test_a_plugin_without_hooks_lives_as_well() -> None:
    bare = FakePlatform(jf.Plugin("bare", version="1.0.0")).start()
    assert bare.health().ok
    assert bare.uninstall().state == "available"
    with pytest.raises(jf.UserError):
        bare.configure(a=1)


def test_a_plugin_that_the_registry_would_refuse_is_refused_here() -> None:
    with pytest.raises(ManifestError):
        FakePlatform(jf.Plugin("Bad Slug", version="1"))


# -- faults ----------------------------------------------------------------------------------------------------------


def test_a_capability_can_be_made_to_fail(platform: FakePlatform) -> None:
    platform.fail("storage.get", code="unavailable", times=2)
    for _ in range(2):
        with pytest.raises(jf.PluginError) as caught:
            platform.call("stored", key="a")
        assert code_of(caught) == "unavailable"
    assert platform.call("stored", key="a") is None


def test_somebody_else_may_act_in_the_midst_of_a_handler(platform: FakePlatform) -> None:
    platform.before("storage.get", lambda: platform.call("store", key="a", value="quicker"))
    assert platform.call("stored", key="a") == "quicker"


# -- migrations ----------------------------------------------------------------------------------------------------


def people() -> jf.Plugin:
    """A plugin that splits names, and joins them again."""
    plugin = jf.Plugin("people", version="2.0.0")

    @plugin.table("people", unique=[["last", "first"]])
    class Person:
        first: str = ""
        last: str = ""

    @plugin.migration(to="2.0.0")
    def split(ctx: jf.Context) -> None:
        def parts(row: dict[str, str]) -> dict[str, str] | None:
            if "name" not in row:
                return None
            first, _, last = row["name"].partition(" ")
            if not last:
                raise jf.UserError(f"{first} has no last name")
            return {"first": first, "last": last}

        ctx.migration.each("people", parts, drop=["name"], batch=2)
        ctx.migration.delete("gone", [row["id"] for row in ctx.migration.rows("gone")])

    @split.down
    def join(ctx: jf.Context) -> None:
        ctx.migration.each("people", lambda row: {"name": f"{row['first']} {row['last']}"}, drop=["first", "last"])

    @plugin.migration(to="2.0.0")
    def wrong(ctx: jf.Context) -> None:
        ctx.migration.put("people", {"row_1": {"first": 5}})

    @plugin.function()
    def peek(ctx: jf.Context) -> int:
        return len(list(ctx.migration.rows("people")))

    return plugin


def test_a_migration_is_tried_on_rows_as_the_old_release_left_them() -> None:
    names = ["Ada Lovelace", "Alan Turing", "Grace Hopper"]
    old = [{"id": f"row_{number}", "name": name} for number, name in enumerate(names)]
    with FakePlatform(people()).start() as platform:
        platform.put_rows("people", old).put_rows("gone", [{"id": "x"}]).migrate("split")
        assert platform.rows("people")[1] == {"id": "row_1", "first": "Alan", "last": "Turing"}
        assert platform.rows("gone") == []
        assert platform.migrate("split").rows("people")[1]["last"] == "Turing"
        platform.migrate_back("split")
        assert platform.rows("people") == old
        with pytest.raises(jf.PluginError) as refused:
            platform.call("peek")
        assert refused.value.code == "migration-only"


def test_a_migration_that_fails_leaves_the_rows_as_they_were() -> None:
    old = [{"id": "row_1", "name": "Ada Lovelace"}, {"id": "row_2", "name": "Plato"}]
    with FakePlatform(people()).start() as platform:
        platform.put_rows("people", old).put_rows("gone", [])
        with pytest.raises(jf.UserError, match="Plato"):
            platform.migrate("split")
        with pytest.raises(jf.PluginError) as refused:
            platform.migrate("wrong")
        assert refused.value.code == "row-invalid"
        assert platform.rows("people") == old
        with pytest.raises(LookupError, match="no `down`"):
            platform.migrate_back("wrong")


HOOKED = jf.Plugin("hooked", version="1.0.0")


@HOOKED.config
class _HookedConfig:
    key: jf.Secret | None = None


@HOOKED.webhook("paid", verify="stripe", secret="key")
def _paid(ctx: jf.Context, request: jf.Request) -> jf.Response:
    assert ctx.delivery is not None
    ctx.storage.set("seen", [request.path, request.query, request.headers, request.json(), ctx.delivery.attempt])
    return jf.Response("nobody reads it")


HEADERS = {
    "X-Event": "charge", "Stripe-Signature": "t=1,v1=a", "Authorization": "Basic x", "Cookie": "a=b", "Host": "x",
    "X-Telegram-Bot-Api-Secret-Token": "s", "X-Forwarded-For": "10.0.0.1", "X-Long": "x" * 5000,
}  # fmt: skip


def test_a_webhook_gets_the_request_as_the_platform_hands_it_on() -> None:
    from jackfield.extension_points.webhooks import kept_headers

    with FakePlatform(HOOKED, config={"key": "whsec_x"}).start() as platform:
        delivery = platform.webhook("paid", {"id": "evt_1"}, HEADERS, query={"a": "1"}, attempts=2)
        assert delivery.attempt == 2
        path, query, headers, body, attempt = platform.storage["seen"]
        assert (path, query, body, attempt) == ("/webhooks/paid", {"a": "1"}, {"id": "evt_1"}, 2)
        sent = {**{name.lower(): value for name, value in HEADERS.items()}, "content-type": "application/json"}
        assert headers == kept_headers(sent) == {
            "content-type": "application/json", "stripe-signature": "t=1,v1=a", "x-event": "charge",
        }  # fmt: skip


def test_a_webhook_without_its_secret_lets_nothing_in() -> None:
    with FakePlatform(HOOKED).start() as platform, pytest.raises(jf.PluginError) as caught:
        platform.webhook("paid", {})
    assert code_of(caught) == "webhook-refused"


def test_widgets_that_changed_are_known_by_the_rules_of_the_platform() -> None:
    plugin = jf.Plugin("shown", version="1.0.0", name="Shown")

    @plugin.widget("Dashboard.Widgets")
    def card(ctx: jf.Context, context: dict[str, object]) -> jf.ui.Text:
        ctx.widgets.refresh("card")
        return jf.ui.Text("card")

    @plugin.function()
    def change(ctx: jf.Context, name: str) -> None:
        ctx.widgets.refresh(name)

    @plugin.on("sale.created")
    def fails(ctx: jf.Context, sale: dict[str, object]) -> None:
        ctx.widgets.refresh("card")
        raise RuntimeError("no such sale")

    platform = FakePlatform(plugin).start()
    assert platform.widget("Dashboard.Widgets") is not None
    with pytest.raises(jf.PluginError):
        platform.emit("sale.created", {})
    assert platform.refreshed == []
    platform.call("change", name="card")
    assert platform.refreshed == ["card"]
    with pytest.raises(jf.PluginError) as caught:
        platform.call("change", name="other")
    assert code_of(caught) == "arguments-invalid"


def test_a_delivery_whose_handler_fails_leaves_nothing_behind() -> None:
    plugin = jf.Plugin("tidy", version="1.0.0", name="Tidy")

    @plugin.on("sale.created")
    def note(ctx: jf.Context, sale: jf.hooks.Sale) -> None:
        ctx.storage.increment("sales", 1)
        if sale.total < 0:
            raise RuntimeError("no such sale")

    platform = FakePlatform(plugin).start()
    platform.emit("sale.created", jf.hooks.Sale(id="s1", total=1.0, customer_id="c1"))
    with pytest.raises(jf.PluginError):
        platform.emit("sale.created", jf.hooks.Sale(id="s2", total=-1.0, customer_id="c1"))
    assert platform.storage == {"sales": 1}
