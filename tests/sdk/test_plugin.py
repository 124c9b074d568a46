"""Decorated functions become a manifest; what cannot be one is told where it stands."""

from __future__ import annotations

from typing import Any, Literal

import pytest

import jackfield_sdk as jf
from jackfield_sdk.errors import ManifestError


class Payload(jf.Struct):
    n: int


def small() -> jf.Plugin:
    return jf.Plugin("small", version="1.0.0")


def test_everything_declared_is_in_the_manifest() -> None:
    plugin = jf.Plugin("small", version="1.0.0", emits={"small.done": Payload}, requires={"other": ">=1,<2"})

    @plugin.config
    class Config:
        key: jf.Secret | None = None

    @plugin.table("things", unique=[["n"]], references={"other": "things"})
    class Thing:
        n: int
        other: str | None = None

    @plugin.filter("sale.beforeCreate", priority=5, when="sale.total > 1.0", on_error="abort")
    def change(ctx: jf.Context, sale: jf.hooks.Sale) -> jf.hooks.Sale:
        return sale

    @plugin.on("sale.created", ordered=False, retries=2)
    def hear(ctx: jf.Context, sale: dict[str, Any]) -> None: ...

    @plugin.function(read_only=True, examples=[{"n": 1}])
    def double(ctx: jf.Context, n: int) -> int:
        """Twice as much.

        Not told.
        """
        return 2 * n

    @plugin.route("GET", "/things/{id}", auth="public")
    def show(ctx: jf.Context, request: jf.Request) -> None: ...

    @plugin.widget("POS.AfterCheckout", title="Small", order=3)
    def widget(ctx: jf.Context, sale: jf.hooks.Sale) -> jf.ui.Text:
        return jf.ui.Text("")

    @plugin.schedule("0 3 * * *")
    def nightly(ctx: jf.Context) -> None: ...

    @plugin.webhook("paid", secret="key")
    def paid(ctx: jf.Context, request: jf.Request) -> None: ...

    @plugin.config_check
    def test_config(ctx: jf.Context) -> None: ...

    @plugin.on_install
    def install(ctx: jf.Context) -> None: ...

    @plugin.health
    def health(ctx: jf.Context) -> jf.Health:
        return jf.Health(True)

    manifest = plugin.manifest()
    assert manifest.name == "Small"
    assert [(f.hook, f.priority, f.on_error) for f in manifest.filters] == [("sale.beforeCreate", 5, "abort")]
    assert [(e.event, e.ordered, e.retries) for e in manifest.events] == [("sale.created", False, 2)]
    assert [(f.name, f.description, f.read_only) for f in manifest.functions] == [("double", "Twice as much.", True)]
    assert manifest.functions[0].parameters["required"] == ["n"]
    assert manifest.functions[0].returns == {"type": "integer"}
    assert [(r.method, r.path, r.auth) for r in manifest.routes] == [("GET", "/things/{id}", "public")]
    assert [(w.slot, w.title, w.order) for w in manifest.widgets] == [("POS.AfterCheckout", "Small", 3)]
    assert [(t.name, t.unique, t.references, t.required) for t in manifest.tables] == [
        ("things", [["n"]], {"other": "things"}, ["n"])
    ]
    assert [(s.name, s.cron) for s in manifest.schedules] == [("nightly", "0 3 * * *")]
    assert [(w.name, w.secret) for w in manifest.webhooks] == [("paid", "key")]
    assert manifest.config is not None
    assert (manifest.config.secrets, manifest.config.validate) == (["key"], "test_config")
    assert manifest.lifecycle.on_install == "install"
    assert manifest.health is not None
    assert [(r.slug, r.versions) for r in manifest.requires] == [("other", ">=1,<2")]
    assert set(manifest.emits) == {"small.done"}


def test_a_decorated_function_stays_an_ordinary_function() -> None:
    plugin = small()

    @plugin.function()
    def double(ctx: Any, n: int) -> int:
        return 2 * n

    assert double(None, 4) == 8


def test_one_function_may_serve_two_events() -> None:
    plugin = small()

    @plugin.on("sale.created")
    @plugin.on("sale.refunded")
    def hear(ctx: jf.Context, sale: jf.hooks.Sale) -> None: ...

    assert {event.handler for event in plugin.manifest().events} == {"hear"}


def test_a_column_brings_along_the_types_it_refers_to() -> None:
    plugin = small()

    @plugin.table("things")
    class Thing:
        payload: Payload
        kind: Literal["a", "b"]

    columns = plugin.manifest().tables[0].columns
    assert set(columns["payload"]["$defs"]) == {"Payload"}
    assert columns["kind"] == {"enum": ["a", "b"]}


def two_of_one_name(plugin: jf.Plugin) -> None:
    for _ in range(2):

        @plugin.function()
        def same(ctx: jf.Context) -> None: ...


def not_a_function(plugin: jf.Plugin) -> None:
    plugin.function()(len)


def an_instance(plugin: jf.Plugin) -> None:
    plugin.on_install(object())  # pyright: ignore[reportArgumentType]  # a mistake that authors make


def two_payloads(plugin: jf.Plugin) -> None:
    @plugin.on("sale.created")
    def hear(ctx: jf.Context, sale: Any, more: Any) -> None: ...


def too_much(plugin: jf.Plugin) -> None:
    @plugin.on_install
    def install(ctx: jf.Context, more: Any) -> None: ...


def two_configs(plugin: jf.Plugin) -> None:
    for _ in range(2):

        @plugin.config
        class Config:
            a: int = 1


def two_hooks(plugin: jf.Plugin) -> None:
    @plugin.on_install
    def one(ctx: jf.Context) -> None: ...

    @plugin.on_install
    def two(ctx: jf.Context) -> None: ...


def no_json(plugin: jf.Plugin) -> None:
    @plugin.function()
    def f(ctx: jf.Context, z: complex) -> None: ...


def bad_hook(plugin: jf.Plugin) -> None:
    @plugin.filter("nodots")
    def f(ctx: jf.Context, value: Any) -> Any: ...


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (two_of_one_name, "two handlers are named `same`"),
        (not_a_function, "a plain function"),
        (an_instance, "a plain function"),
        (two_payloads, "takes 2 values"),
        (too_much, "nothing else"),
        (two_configs, "declared twice"),
        (two_hooks, "declared twice"),
        (no_json, "complex"),
        (bad_hook, "filters[0].hook"),
    ],
)
def test_a_mistake_is_told_before_the_plugin_leaves_its_author(mistake: Any, told: str) -> None:
    def declare() -> None:
        plugin = small()
        mistake(plugin)
        plugin.manifest()

    with pytest.raises(ManifestError) as caught:
        declare()
    assert told in str(caught.value)


def test_a_manifest_of_what_is_no_data_is_refused() -> None:
    plugin = jf.Plugin("small", version="1.0.0", tags=[object()])  # pyright: ignore[reportArgumentType]  # the mistake
    with pytest.raises(ManifestError, match="not plain data"):
        plugin.manifest()
