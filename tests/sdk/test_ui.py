"""A tree is drawn or refused: whatever a plugin returns, a page gets known nodes, in limits, with safe addresses."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import jackfield_sdk as jf
from jackfield_sdk import ui
from jackfield_sdk.errors import PluginError

EVERY: list[ui.Node] = [
    ui.Text("hello", style="title"),
    ui.Image("https://shop.example/logo.png", alt="Our logo", width=40),
    ui.Icon("star"),
    ui.Row([ui.Text("a"), ui.Text("b")], align="between"),
    ui.Column([ui.Text("a")]),
    ui.Card([ui.Text("a")], title="Points"),
    ui.Tabs([ui.Tab("One", [ui.Text("a")]), ui.Tab("Two")]),
    ui.Divider(),
    ui.Button("Redeem", ui.Action("redeem", {"points": 5}, ui.Confirm("Sure?", "No way back.", "danger"))),
    ui.Grid([ui.Text("a")], columns=3),
    ui.Badge("new", tone="success"),
    ui.Alert("Nearly full", tone="warning"),
    ui.Stat("Points", 12, unit="pt", change="+3"),
    ui.Table(columns=[ui.TableColumn("n", "Number", "end")], rows=[{"n": 1}, {"n": None}], empty="Nothing"),
    ui.Chart("bar", [{"day": "Mon", "n": 1}], "day", ["n"], "Sales by day"),
    ui.Form({"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "$defs": {"N": {}}}, ui.Action("save")),
    ui.Link("More", "/points?a=1#b"),
    ui.Frame("web/index.html", "Points"),
]


def plain(node: ui.Node) -> dict[str, Any]:
    return msgspec.to_builtins(node)


def refusal(tree: Any) -> str:
    with pytest.raises(PluginError) as caught:
        ui.check_tree(tree)
    assert caught.value.code == "widget-invalid"
    return str(caught.value)


def test_every_kind_of_node_is_tried_here() -> None:
    assert {type(node) for node in EVERY} == set(get_args(ui.Node))


@pytest.mark.parametrize("node", EVERY, ids=lambda node: type(node).__name__)
def test_a_node_comes_out_as_it_went_in(node: ui.Node) -> None:
    tree = ui.check_tree(plain(node))
    assert tree["type"] == type(node).__name__
    assert msgspec.convert(tree, ui.Node) == node


def test_nodes_are_made_with_few_words() -> None:
    card = jf.ui.Card(title="Points", children=[jf.ui.Stat("Points", 12, id="points"), jf.ui.Text("hi")])
    assert plain(card) == {
        "type": "Card",
        "title": "Points",
        "children": [{"type": "Stat", "label": "Points", "value": 12, "id": "points"}, {"type": "Text", "text": "hi"}],
    }


# -- nodes from the future -------------------------------------------------------------------------------------------


def test_an_unknown_node_becomes_its_fallback() -> None:
    unknown = {"type": "Hologram", "beams": 3, "fallback": {"type": "Text", "text": "imagine"}}
    assert ui.check_tree({"type": "Row", "children": [unknown]}) == plain(ui.Row([ui.Text("imagine")]))


def test_an_unknown_node_without_fallback_becomes_a_harmless_line() -> None:
    (child,) = ui.check_tree({"type": "Row", "children": [{"type": "Hologram", "href": "javascript:1"}]})["children"]
    assert child["type"] == "Text"
    assert "javascript" not in str(child)


@pytest.mark.parametrize("unknown", [{}, {"type": None}, {"type": 5}, {"type": ["Text"]}, {"type": {"a": 1}}])
def test_what_names_no_type_is_an_unknown_node(unknown: dict[str, Any]) -> None:
    assert ui.check_tree(unknown)["type"] == "Text"


def test_a_fallback_is_checked_like_any_node() -> None:
    bad = {"type": "Link", "text": "x", "href": "javascript:alert(1)"}
    assert "fallback.href" in refusal({"type": "Hologram", "fallback": bad})
    assert "fallback.href" in refusal({"type": "Text", "text": "x", "fallback": bad})


def test_unknown_attributes_are_dropped() -> None:
    assert ui.check_tree({"type": "Text", "text": "x", "onclick": "alert(1)"}) == plain(ui.Text("x"))


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["https://shop.example/a?b=c#d", "http://shop.example", "mailto:ada@shop.example", "mailto:a@b?subject=x", "/a",
     "a/b", "./a", "../a", "?page=2", "#top", "HTTPS://shop.example/", "https://shop.example/%20%0a", "/caf\u00e9"],
)  # fmt: skip
def test_a_link_leads_to_the_web_to_mail_or_within_the_page(address: str) -> None:
    assert ui.check_tree(plain(ui.Link("x", address)))["href"] == address


ATTACKS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "\u00a0javascript:alert(1)",
    "\u200bjavascript:alert(1)",
    "javascript&colon;alert(1)",
    "javascript&colon;alert(1):",
    '/a" onclick="alert(1)',
    "/a?<script>",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://shop.example/1",
    "ftp://shop.example",
    "//elsewhere.example",
    "/\\elsewhere.example",
    "\\\\elsewhere.example",
    "https:elsewhere.example",
    "https:///elsewhere.example",
    "https://shop.example@elsewhere.example",
    "https://",
    "mailto:",
    "shop:a",
    "https://shop.example/\u202egnp.exe",
    "",
]


@pytest.mark.parametrize("address", ATTACKS)
def test_any_other_link_is_refused(address: str) -> None:
    assert "href" in refusal({"type": "Link", "text": "x", "href": address})


PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize("address", ["https://shop.example/a.png", "http://shop.example/a.png", PIXEL])
def test_an_image_comes_from_the_web_or_is_a_picture_itself(address: str) -> None:
    assert ui.check_tree(plain(ui.Image(address)))["src"] == address


@pytest.mark.parametrize(
    "address",
    [*ATTACKS, "/a.png", "data:image/svg+xml;base64,PHN2Zz4=", "data:image/png,<svg>", "data:text/html;base64,PHN2Zz4=",
     PIXEL + "\n", PIXEL + "<"],
)  # fmt: skip
def test_any_other_image_is_refused(address: str) -> None:
    assert "src" in refusal({"type": "Image", "src": address})


@pytest.mark.parametrize("path", ["/web/a.html", "../a.html", "web/../../a", "https://a.example", "a//b", "", "a\\b"])
def test_a_frame_shows_nothing_but_a_file_of_the_package(path: str) -> None:
    assert "src" in refusal({"type": "Frame", "src": path, "title": "x"})


def test_a_forms_schema_refers_to_itself_alone() -> None:
    schema = {"properties": {"a": {"$ref": "https://elsewhere.example/schema"}}}
    assert "outside itself" in refusal(plain(ui.Form(schema, ui.Action("save"))))


# -- limits ----------------------------------------------------------------------------------------------------------


def deep(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"type": "Text", "text": "x"}
    for _ in range(depth - 1):
        tree = {"type": "Row", "children": [tree]}
    return tree


def tall(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"type": "Text", "text": "x"}
    for _ in range(depth - 1):
        tree = {"type": "Hologram", "fallback": tree}
    return tree


@pytest.mark.parametrize("make", [deep, tall])
def test_depth_is_limited(make: Any) -> None:
    ui.check_tree(make(ui.MAX_DEPTH))
    assert "nested deeper" in refusal(make(ui.MAX_DEPTH + 1))
    refusal(make(100_000))


def test_the_number_of_nodes_is_limited() -> None:
    leaves = [{"type": "Divider"}] * (ui.MAX_NODES - 1)
    ui.check_tree({"type": "Column", "children": leaves})
    assert "300 nodes" in refusal({"type": "Column", "children": [*leaves, {"type": "Unknown"}]})
    tabs = [{"label": "a", "children": leaves[:150]}, {"label": "b", "children": leaves[:150]}]
    assert "300 nodes" in refusal({"type": "Tabs", "tabs": tabs})


def test_the_number_of_rows_is_limited_over_the_whole_tree() -> None:
    def table(rows: int) -> dict[str, Any]:
        return plain(ui.Table([ui.TableColumn("n")], [{"n": n} for n in range(rows)]))

    ui.check_tree(table(500))
    assert "500 rows" in refusal(table(501))
    assert "500 rows" in refusal({"type": "Row", "children": [table(300), table(201)]})
    chart = plain(ui.Chart("line", [{"n": n} for n in range(501)], "n", ["n"], "x"))
    assert "500 rows" in refusal(chart)


@pytest.mark.parametrize(
    "make",
    [
        lambda text: ui.Text(text),
        lambda text: ui.Card(title=text),
        lambda text: ui.Table([ui.TableColumn("n", text)]),
        lambda text: ui.Table([ui.TableColumn("n")], [{"n": text}]),
        lambda text: ui.Button("x", ui.Action("a", {"b": [{"c": text}]})),
        lambda text: ui.Tabs([ui.Tab(text)]),
        lambda text: ui.Link("x", "/" + text),
    ],
)
def test_each_text_is_limited(make: Any) -> None:
    ui.check_tree(plain(make("x" * (ui.MAX_TEXT_BYTES - 1))))
    refusal(plain(make("x" * (ui.MAX_TEXT_BYTES + 1))))
    refusal(plain(make("\u20ac" * (ui.MAX_TEXT_BYTES // 2))))


def test_a_picture_may_be_longer_than_a_text() -> None:
    ui.check_tree(plain(ui.Image("data:image/png;base64," + "A" * 100_000)))


def test_the_whole_tree_is_limited() -> None:
    children = [plain(ui.Text("x" * 4000)) for _ in range(70)]
    assert "over the limit" in refusal({"type": "Column", "children": children})


# -- anything at all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"type": "Stat", "label": "x"}, "value"),
        ({"type": "Stat", "label": "x", "value": True}, "value"),
        ({"type": "Row", "children": {}}, "children"),
        ({"type": "Row", "children": ["text"]}, "children[0]"),
        ({"type": "Text", "text": 5}, "text"),
        ({"type": "Text", "text": "x", "id": "no spaces please"}, "id"),
        ({"type": "Tabs", "tabs": []}, "tabs"),
        ({"type": "Tabs", "tabs": ["x"]}, "tabs"),
        ({"type": "Table", "columns": [], "rows": []}, "columns"),
        ({"type": "Table", "columns": [{"key": "a"}], "rows": [{"a": {}}]}, "rows"),
        ({"type": "Button", "label": "x", "action": {"verb": "a b"}}, "verb"),
        ({"type": "Grid", "columns": 99}, "columns"),
        (None, "a node"),
        ([], "a node"),
        ("text", "a node"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tree: Any, told: str) -> None:
    assert told in refusal(tree)


@pytest.mark.parametrize(
    "tree", [object(), {"type": "Text", "text": "\ud800"}, {1j: 1}, {"type": "Stat", "value": 2**80}]
)
def test_what_is_no_data_is_refused(tree: Any) -> None:
    refusal(tree)


NAMES = st.sampled_from([kind.__name__ for kind in get_args(ui.Node)] + ["Hologram"])
KEYS = st.sampled_from(
    [
        "text", "children", "tabs", "columns", "rows", "data", "action", "label", "value", "href", "src", "schema",
        "id", "fallback",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=3)
        | st.builds(lambda name, rest: {**rest, "type": name}, NAMES, st.dictionaries(KEYS, inner, max_size=4))
    ),
    max_leaves=12,
)


@given(VALUES)
@example({"type": "Table", "rows": {"a": 1}})
@example({"type": "Form", "schema": {"$ref": 5}, "action": []})
def test_whatever_a_handler_returns_is_drawn_or_refused(tree: Any) -> None:
    with contextlib.suppress(PluginError):
        checked = ui.check_tree(tree)
        assert ui.check_tree(checked) == checked
