"""The standard hook points: their payloads, the catalogue, and what a plugin's tests can do with them."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

import jackfield_sdk as jf
from jackfield_sdk.errors import ManifestError
from jackfield_sdk.hooks.catalogue import EXAMPLES, STANDARD, Hook
from jackfield_sdk.testing import FakePlatform

every_hook = pytest.mark.parametrize("hook", STANDARD.values(), ids=STANDARD)


def test_there_are_forty_and_more_about_ten_subjects() -> None:
    assert len(STANDARD) >= 40
    assert {hook.subject for hook in STANDARD.values()} == {
        "booking", "user", "eventType", "payment", "calendar", "order", "customer", "product", "sale", "plugin",
    }  # fmt: skip


@every_hook
def test_an_example_is_what_its_type_says_there_and_back(hook: Hook) -> None:
    plain = msgspec.json.decode(msgspec.json.encode(hook.example))
    assert msgspec.convert(plain, hook.payload) == hook.example
    assert hook.payload.__name__ in jf.hooks.__all__
    assert (hook.kind == "filter") == hook.name.partition(".")[2].startswith("before")
    assert hook.description.endswith(".")


@every_hook
def test_a_host_may_send_more_than_a_payload_has(hook: Hook) -> None:
    plain = {**msgspec.to_builtins(hook.example), "of_the_hosts_own": {"a": 1}}
    assert msgspec.convert(plain, hook.payload) == hook.example


def test_each_type_of_payload_has_one_example() -> None:
    assert set(EXAMPLES) == {hook.payload for hook in STANDARD.values()}


@every_hook
def test_a_plugin_takes_each_of_them(hook: Hook) -> None:
    plugin = jf.Plugin("listener", version="1.0.0", permissions=["storage"])

    def handler(ctx: jf.Context, value: jf.Struct) -> None:
        ctx.storage.set("heard", type(value).__name__)

    handler.__annotations__["value"] = hook.payload
    (plugin.filter if hook.kind == "filter" else plugin.on)(hook.name)(handler)
    platform = FakePlatform(plugin).start()
    if hook.kind == "filter":
        assert platform.filter(hook.name, hook.example) == hook.example
    else:
        platform.emit(hook.name, hook.example)
    assert platform.storage["heard"] == hook.payload.__name__


def test_an_isolate_does_not_load_the_catalogue() -> None:
    code = "import sys, jackfield_sdk, jackfield_sdk.guest; print('jackfield_sdk.hooks.catalogue' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_one_that_only_looks_sees_the_end_and_changes_nothing() -> None:
    plugin = jf.Plugin("looker", version="1.0.0")
    seen: list[str] = []

    @plugin.filter("booking.beforeCreate", priority=-5, observe=True)
    def look(ctx: jf.Context, booking: jf.hooks.Booking) -> jf.hooks.Booking:
        seen.append(booking.notes)
        raise jf.VetoError("I would not.")

    @plugin.filter("booking.beforeCreate", priority=7)
    def note(ctx: jf.Context, booking: jf.hooks.Booking) -> jf.hooks.Booking:
        return msgspec.structs.replace(booking, notes="noted")

    assert [part.observe for part in plugin.manifest().filters] == [True, False]
    booking = jf.hooks.Booking(customer_id="c1", starts_at="2026-03-02T10:00:00Z")
    assert FakePlatform(plugin).start().filter("booking.beforeCreate", booking).notes == "noted"
    assert seen == ["noted"]


def test_what_only_looks_cannot_stop_the_host() -> None:
    plugin = jf.Plugin("looker", version="1.0.0")

    @plugin.filter("booking.beforeCreate", observe=True, on_error="abort")
    def look(ctx: jf.Context, booking: jf.hooks.Booking) -> None: ...

    with pytest.raises(ManifestError, match="only looks"):
        plugin.manifest()
