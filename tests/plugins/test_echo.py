"""Echo uses every extension point, and does with each what its README says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield_sdk.testing import FakePlatform, load_plugin
from tools.committed import ROOT

PLUGIN = load_plugin(ROOT / "plugins" / "echo")


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(PLUGIN).start()


def test_it_asks_for_nothing_that_is_not_its_own() -> None:
    manifest = PLUGIN.manifest()
    assert (manifest.permissions, manifest.optional_permissions) == ([], [])


def test_it_uses_every_extension_point() -> None:
    manifest = PLUGIN.manifest()
    used = [
        manifest.config, manifest.filters, manifest.events, manifest.emits, manifest.functions, manifest.routes,
        manifest.widgets, manifest.tables, manifest.health,
    ]  # fmt: skip
    assert all(used)
    hooks = ("on_install", "on_activate", "on_configure", "on_deactivate", "on_uninstall")
    assert all(getattr(manifest.lifecycle, hook) for hook in hooks)


def test_it_says_back_what_it_hears_and_who_said_it(platform: FakePlatform) -> None:
    with platform.acting_as("u1", "admin"):
        said = platform.call("echo", text="hello", repeat=2)
    assert said["invocation_id"]
    del said["invocation_id"]
    assert said == {
        "text": "hello", "repeat": 2, "said": "hello hello", "tenant_id": "acme", "caller_id": "u1",
        "caller_role": "admin", "trigger": "function",
    }  # fmt: skip
    assert platform.call("echo", text="once")["said"] == "once"


@pytest.mark.parametrize("arguments", [{}, {"text": 5}, {"text": "x", "repeat": 0}, {"text": "x", "repeat": 11}])
def test_it_takes_what_it_declares(platform: FakePlatform, arguments: dict[str, Any]) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("echo", **arguments)
    assert caught.value.code == "arguments-invalid"


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": None}], {"nested": {"deep": 1.5}}])
def test_it_remembers_anything_until_it_forgets(platform: FakePlatform, value: Any) -> None:
    assert platform.call("recall", key="k") is None
    platform.call("remember", key="k", value=value)
    assert platform.call("recall", key="k") == value
    assert platform.call("forget", key="k") is True
    assert platform.call("forget", key="k") is False
    assert platform.call("recall", key="k") is None


def test_it_counts_for_good_and_for_a_minute(platform: FakePlatform) -> None:
    platform.now = datetime(2026, 3, 1, tzinfo=UTC)
    assert [platform.call("tally", key="k", by=by) for by in (2, 3, -1)] == [2, 5, 4]
    assert [platform.call("asked") for _ in range(3)] == [1, 2, 3]
    platform.now += timedelta(minutes=1)
    assert platform.call("asked") == 1
    assert platform.call("tally", key="k") == 5


def test_it_writes_its_notes_into_a_file(platform: FakePlatform) -> None:
    for text in ("first", "second"):
        platform.call("add_note", text=text)
    path = platform.call("export_notes")
    lines = [json.loads(line) for line in platform.files[path].splitlines()]
    assert sorted(line["text"] for line in lines) == ["first", "second"]


def test_it_adds_its_line_to_a_booking(platform: FakePlatform) -> None:
    booking: dict[str, Any] = {"customer_id": "c1", "starts_at": "2026-03-01T10:00:00+00:00", "room": 5}
    assert platform.filter("booking.beforeCreate", booking) == {**booking, "notes": "Hello from Echo"}
    noted = platform.configure(greeting="Hi").filter("booking.beforeCreate", {**booking, "notes": "by the window"})
    assert noted["notes"] == "by the window\nHi from Echo"


def test_it_counts_pings_in_order_and_each_once(platform: FakePlatform) -> None:
    for n in (3, 1, 2):
        platform.emit("demo.ping", jf.hooks.Ping(n=n), attempts=2)
    heard = platform.call("pings")
    assert (heard["count"], heard["sum"], heard["last"]) == (3, 6, [3, 1, 2])


def test_it_keeps_as_many_pings_as_it_is_told(platform: FakePlatform) -> None:
    platform.configure(pings_kept=2)
    for n in range(5):
        platform.emit("demo.ping", {"n": n})
    heard = platform.call("pings")
    assert (heard["count"], heard["last"]) == (5, [3, 4])


def test_it_tells_others_what_was_said(platform: FakePlatform) -> None:
    with platform.acting_as("u1"):
        id = platform.call("say", text="hello")
    assert [(event.id, event.name, event.payload) for event in platform.emitted] == [
        (id, "echo.said", {"text": "hello", "by": "u1"})
    ]


def test_it_keeps_notes_by_member_newest_first(platform: FakePlatform) -> None:
    with platform.acting_as("u1"):
        platform.call("add_note", text="one")
    with platform.acting_as("u2"):
        made = platform.call("add_note", text="two")
    assert [note["text"] for note in platform.call("notes")] == ["two", "one"]
    assert platform.call("notes", by="u2") == [made]
    assert len(platform.call("notes", limit=1)) == 1


def test_it_greets_anybody(platform: FakePlatform) -> None:
    with platform.acting_as(None):
        assert platform.route("GET", "/hello/Ada").body == {"message": "Hello, Ada!"}
        with pytest.raises(jf.PluginError) as caught:
            platform.route("POST", "/echo", body={})
    assert caught.value.code == "role-too-low"


def test_it_answers_with_the_body(platform: FakePlatform) -> None:
    assert platform.route("POST", "/echo", body={"a": [1]}).body == {"a": [1]}
    answer = platform.route("POST", "/echo", body=b"\xff\x00")
    assert (answer.body, answer.content_type) == (b"\xff\x00", "application/octet-stream")
    with pytest.raises(jf.UserError) as caught:
        platform.route("POST", "/echo", body=b"{", headers={"content-type": "application/json"})
    assert caught.value.code == "body-not-json"


def test_it_shows_what_it_has_heard(platform: FakePlatform) -> None:
    platform.emit("demo.ping", {"n": 1})
    platform.call("add_note", text="x")
    tree = platform.widget("Dashboard.Widgets", {"date": "2026-03-01"})
    assert tree is not None
    stats = {stat["id"]: stat["value"] for stat in tree["children"][0]["children"]}
    assert stats == {"pings": 1, "notes": 1}


def test_it_reads_the_cart_aloud(platform: FakePlatform) -> None:
    item = jf.hooks.SaleItem(product_id="p", name="Tea", quantity=3, unit_price=4.0)
    tree = platform.widget("POS.BeforeCheckout", jf.hooks.Sale(id="", total=12.0, items=[item]))
    assert tree is not None
    assert tree["children"][1]["text"] == "Hello! 3 items for 12.00 USD"


def test_it_signs_with_a_key_that_it_never_keeps(platform: FakePlatform) -> None:
    with pytest.raises(jf.UserError) as caught:
        platform.call("sign", text="x")
    assert caught.value.code == "signing-key-missing"
    platform.configure(signing_key="Jefe")
    # RFC 4231, test case 2.
    assert platform.call("sign", text="what do ya want for nothing?") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert "Jefe" not in str(platform.config)
    assert "Jefe" not in str(platform.logs)
    platform.grants.discard("secrets:signing_key")
    with pytest.raises(jf.PermissionDeniedError):
        platform.call("sign", text="x")


@pytest.mark.parametrize("values", [{"greeting": ""}, {"greeting": "x" * 41}, {"pings_kept": 0}, {"greting": "Hi"}])
def test_its_configuration_is_checked(platform: FakePlatform, values: dict[str, Any]) -> None:
    with pytest.raises(jf.UserError):
        platform.configure(**values)


def test_it_logs_each_step_of_its_life() -> None:
    platform = FakePlatform(PLUGIN).start().configure(greeting="Hi").uninstall()
    assert [line.message for line in platform.logs] == [
        "installed", "activated", "configured", "deactivated", "uninstalled",
    ]  # fmt: skip


def test_it_is_well_while_it_reaches_its_storage(platform: FakePlatform) -> None:
    assert platform.health().ok
    platform.fail("storage.get")
    assert not platform.health().ok
