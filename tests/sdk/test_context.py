"""The rest of the context: identifiers, counters, texts in many languages, validation, who else is there."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jackfield_sdk as jf
from jackfield_sdk import wire
from jackfield_sdk.identifiers import Ids
from jackfield_sdk.metrics import Metrics
from jackfield_sdk.testing import FakePlatform
from jackfield_sdk.translation import translate
from jackfield_sdk.validation import problems

TEXTS = {
    "en": {"hello": "Hello {name}", "items.one": "{count} item", "items.other": "{count} items", "only": "English"},
    "de": {"hello": "Hallo {name}", "items.zero": "nichts", "items.one": "ein Ding", "items.other": "{count} Dinge"},
    "de-AT": {"hello": "Servus {name}"},
    "ru": {"items.one": "{count} вещь", "items.few": "{count} вещи", "items.many": "{count} вещей"},
}


class Point(jf.Struct):
    x: int
    y: int = 0


plugin = jf.Plugin(
    "tried",
    version="1.0.0",
    permissions=["notify", "members:read", "functions:shop.price"],
    optional_permissions=["functions:shop.*"],
    requires={"shop": ">=1"},
    translations=TEXTS,
)


@plugin.function()
def speak(ctx: jf.Context, key: str, values: dict[str, Any]) -> str:
    return ctx._(key, **values)


@plugin.function()
def about(ctx: jf.Context) -> dict[str, Any]:
    return {
        "tenant": [ctx.tenant.id, ctx.tenant.name, ctx.tenant.plan, ctx.tenant.timezone, ctx.tenant.locale],
        "user": None if ctx.user is None else [ctx.user.id, ctx.user.role, ctx.user.name, ctx.user.locale],
        "kind": ctx.execution.kind,
        "shared": dict(ctx.shared),
    }


@plugin.function()
def step(ctx: jf.Context) -> Any:
    workflow = ctx.execution.workflow
    assert workflow is not None
    return [workflow.id, workflow.run_id, workflow.step, workflow.previous, workflow.variables]


@plugin.function()
def count(ctx: jf.Context, fail: bool = False) -> None:
    ctx.metrics.add("tokens_used", 120)
    ctx.metrics.add("api_calls")
    ctx.metrics.add("pages", 3)
    if fail:
        raise jf.UserError("too bad")


@plugin.function()
def price(ctx: jf.Context, item: str) -> Any:
    try:
        return ctx.functions["shop"].price(item=item)
    except jf.PluginCallError as error:
        return [error.kind, error.code, str(error), error.plugin, error.function]


@plugin.function()
def other(ctx: jf.Context, name: str) -> Any:
    return ctx.functions[name].call("anything")


@plugin.function()
def tell(ctx: jf.Context, to: str, key: str | None = None) -> int:
    return ctx.notify.send(to, "Late", "Two days.", level="warning", link="/orders/7", key=key)


@plugin.function()
def addresses(ctx: jf.Context) -> list[str]:
    mine = [ctx.user.email] if ctx.user else []
    return mine + [member.email for member in ctx.members.list(role="admin")]


@plugin.function()
def checked(ctx: jf.Context, value: Any) -> Any:
    return ctx.validate(Point, value).x


@pytest.fixture
def fake() -> FakePlatform:
    return FakePlatform(plugin).start()


# -- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "key", "values", "text"),
    [
        ("de-AT", "hello", {"name": "Ada"}, "Servus Ada"),
        ("de_at", "hello", {"name": "Ada"}, "Servus Ada"),
        ("de-CH-1996", "hello", {"name": "Ada"}, "Hallo Ada"),
        ("fr", "hello", {"name": "Ada"}, "Hello Ada"),
        ("de", "only", {}, "English"),
        ("de", "nothing", {}, "nothing"),
        ("de", "items", {"count": 0}, "nichts"),
        ("de-AT", "items", {"count": 1}, "ein Ding"),
        ("de", "items", {"count": 2}, "2 Dinge"),
        ("en", "items", {"count": 0}, "0 items"),
        ("ru", "items", {"count": 21}, "21 вещь"),
        ("ru", "items", {"count": 3}, "3 вещи"),
        ("ru", "items", {"count": 12}, "12 вещей"),
        ("en", "hello", {}, "Hello {name}"),
    ],
)
def test_a_text_is_found_in_the_nearest_language(locale: str, key: str, values: dict[str, Any], text: str) -> None:
    assert translate(TEXTS, locale, key, values) == text


def test_nothing_in_a_text_is_evaluated() -> None:
    texts = {"en": {"a": "{x.__class__} {x[0]} {x!r} {x:>99999999999} {} {0} {{x}} {x}"}}
    assert translate(texts, "en", "a", {"x": "v"}) == ("{x.__class__} {x[0]} {x!r} {x:>99999999999} {} {0} {x} v")
    assert translate({"en": {"a": "{x}"}}, "en", "a", {"x": "{y}", "y": "secret"}) == "{y}"


def test_a_handler_speaks_the_acting_users_language(fake: FakePlatform) -> None:
    fake.locale = "de-AT"
    assert fake.call("speak", key="hello", values={"name": "Ada"}) == "Servus Ada"


# -- identifiers and counters ----------------------------------------------------------------------------------------


def test_identifiers_sort_by_time_and_are_of_version_7() -> None:
    ids = Ids()
    made = [ids.new() for _ in range(2_000)]
    assert made == sorted(set(made))
    first = uuid.UUID(made[0])
    assert (first.version, first.variant) == (7, uuid.RFC_4122)
    assert abs((first.int >> 80) / 1000 - time.time()) < 60
    assert uuid.UUID(ids.new("order").removeprefix("order_")).version == 7
    for prefix in ("Order", "a b", "x" * 21, "a_b"):
        with pytest.raises(jf.PluginError):
            ids.new(prefix)


def test_what_is_counted_is_summed_whether_the_call_succeeds_or_not(fake: FakePlatform) -> None:
    fake.call("count")
    with pytest.raises(jf.UserError):
        fake.call("count", fail=True)
    assert fake.metrics == {"tokens_used": 240, "api_calls": 2, "pages": 6}


@pytest.mark.parametrize(
    ("name", "amount"), [("Tokens", 1), ("a b", 1), ("x" * 41, 1), ("ok", -1), ("ok", 1.5), ("ok", True), ("", 1)]
)
def test_a_counter_has_a_name_and_a_whole_number(name: str, amount: Any) -> None:
    with pytest.raises(jf.PluginError):
        Metrics().add(name, amount)


def test_there_are_only_so_many_counters() -> None:
    metrics = Metrics()
    for number in range(20):
        metrics.add(f"n{number}")
    metrics.add("n3")
    with pytest.raises(jf.PluginError):
        metrics.add("n20")


# -- validation ------------------------------------------------------------------------------------------------------


def test_a_value_becomes_its_type_or_says_what_is_wrong(fake: FakePlatform) -> None:
    assert fake.call("checked", value={"x": 1}) == 1
    with pytest.raises(jf.UserError, match="x: Expected `int`, got `str`"):
        fake.call("checked", value={"x": "1"})


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"enum": [1, "x", None, True]}}},
    {"type": "object", "additionalProperties": {"type": ["string", "null"], "maxLength": 2}, "maxProperties": 2},
    {"type": "object", "properties": {"a": {}}, "additionalProperties": False, "minProperties": 1},
    {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^a"}]}, "minItems": 1},
    {"type": "array", "prefixItems": [{"const": 1}, {"type": "boolean"}], "items": False, "uniqueItems": True},
    {"oneOf": [{"type": "integer"}, {"type": "number", "multipleOf": 2}]},
    {"not": {"type": "string"}, "allOf": [{"type": ["object", "integer", "array"]}]},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 3},
    {"propertyNames": {"maxLength": 1}, "dependentRequired": {"a": ["b"]}},
    {"patternProperties": {"^b": {"type": "null"}}, "additionalProperties": {"type": "integer"}},
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.sampled_from([0.5, 1.0, 2.0, -1.5])
    | st.sampled_from(["", "a", "ab", "abc", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "bc"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(SCHEMAS), VALUES)
def test_the_same_fits_here_as_on_the_platform(schema: dict[str, Any], value: Any) -> None:
    assert (not problems(schema, value)) == jsonschema_rs.Draft202012Validator(schema).is_valid(value)


def test_problems_say_where_and_what() -> None:
    schema = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"properties": {"n": {"minimum": 0}}}}},
    }
    assert problems(schema, {"items": [{"n": 1}, {"n": -1}]}) == ["items[1].n: -1 is less than the minimum of 0"]
    assert problems({"required": ["a"], "additionalProperties": False}, {"b": 1}) == [
        "a: is missing", "b: is not known",
    ]  # fmt: skip
    assert problems({"format": "date"}, "2026-02-30") != []
    assert problems({"format": "date-time"}, "2026-02-03T04:05:06Z") == []
    assert len(problems({"items": {"type": "string"}}, list(range(99)))) == 20


@pytest.mark.parametrize("schema", [{"maximun": 3}, {"$ref": "https://evil.example/x"}, {"$ref": "#/$defs/none"}])
def test_a_schema_that_cannot_be_used_is_no_silent_yes(schema: dict[str, Any]) -> None:
    with pytest.raises(jf.ManifestError):
        problems(schema, 1)


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert problems({"$ref": "#"}, 1) == ["nested deeper than 64 levels"]


# -- tenant, members, other plugins ----------------------------------------------------------------------------------


def test_the_context_knows_tenant_and_user(fake: FakePlatform) -> None:
    fake.member("ada", "owner", name="Ada")
    with fake.acting_as("ada", "owner"):
        assert fake.call("about") == {
            "tenant": ["acme", "acme", "free", "UTC", "en"], "user": ["ada", "owner", "Ada", "en"],
            "kind": "standalone", "shared": {"correlation_id": "invocation_1"},
        }  # fmt: skip
    with fake.acting_as(None):
        assert fake.call("about")["user"] is None


def test_a_step_of_a_workflow_knows_its_run(fake: FakePlatform) -> None:
    fake.execution = wire.Execution("workflow", workflow=wire.Workflow("wf", "run", 2, {"n": 1}, {"city": "Vienna"}))
    fake.shared = {"variables": {"city": "Vienna"}}
    assert fake.call("step") == ["wf", "run", 2, {"n": 1}, {"city": "Vienna"}]
    assert fake.call("about")["kind"] == "workflow"


def test_another_plugin_answers_as_the_test_says(fake: FakePlatform) -> None:
    assert fake.call("price", item="i1")[:2] == ["platform", "plugin-not-active"]

    def broken(item: str) -> int:
        raise jf.UserError("sold out", code="sold-out")

    fake.neighbour("shop", price=lambda item: 7)
    assert fake.call("price", item="i1") == 7
    assert fake.calls_out == [("shop", "price", {"item": "i1"})]
    fake.neighbour("shop", price=broken)
    assert fake.call("price", item="i1") == ["user", "sold-out", "sold out", "shop", "price"]
    fake.grants.discard("functions:shop.price")
    fake.grants.discard("functions:shop.*")
    with pytest.raises(jf.PermissionDeniedError):
        fake.call("price", item="i1")
    fake.grants.add("functions:stranger.*")
    with pytest.raises(jf.PluginError, match="does not say that it needs"):
        fake.call("other", name="stranger")


def test_members_are_notified_once_for_a_key(fake: FakePlatform) -> None:
    fake.member("ada", "owner")
    fake.member("bob")
    assert fake.call("tell", to="all", key="order-7") == 2
    assert fake.call("tell", to="owner", key="order-7") == 0
    assert [told.member for told in fake.notified] == ["ada", "bob"]
    with pytest.raises(jf.PluginError, match="no member"):
        fake.call("tell", to="nobody")


def test_addresses_take_a_permission(fake: FakePlatform) -> None:
    fake.member("ada", "admin", email="ada@shop.example")
    with fake.acting_as("ada", "admin"):
        assert fake.call("addresses") == ["ada@shop.example", "ada@shop.example"]
        fake.grants.discard("members:read")
        with pytest.raises(jf.PermissionDeniedError):
            fake.call("addresses")
