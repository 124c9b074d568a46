"""The fake platform agrees with the real one where both decide the same thing, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jackfield_sdk as jf
from jackfield import conditions as real_conditions
from jackfield.capabilities import errors as real_errors
from jackfield.capabilities import permissions as real_permissions
from jackfield.capabilities.plain import NotPlainError, decode_plain
from jackfield.data_adapters import errors as adapter_errors
from jackfield.egress import HostPolicy
from jackfield_sdk import wire
from jackfield_sdk.testing import (
    broker,
    conditions,
    entities,
    memory,
    neighbours,
    nodes,
    people,
    permissions,
    plain,
    platform,
    routing,
    rows,
    web,
)
from tests.sdk.testing import sources

PERMISSIONS = st.sampled_from(
    [
        "*", "storage", "storage:*", "customers:*", "customers:read", "customers:write", "customer:read", "customers",
        "events:a.*", "events:a.b", "events:a.", "events:ab.c", "events:*", "http:*.example.com", "http:a.example.com",
        "http:example.com", "http:*", "http:.example.com", "secrets:key", ":", "a:", ":b", "*:read", "",
    ]
)  # fmt: skip


@given(st.sets(PERMISSIONS), PERMISSIONS)
def test_grants_cover_the_same(grants: set[str], needed: str) -> None:
    assert permissions.covers(grants, needed) == real_permissions.covers(grants, needed)


def test_plugins_ask_for_the_same() -> None:
    plugin = jf.Plugin(
        "tried", version="1.0.0", permissions=["a:read"], optional_permissions=["b:read"], emits={"tried.done": int}
    )

    @plugin.config
    class Config:
        key: jf.Secret | None = None

    @plugin.table("things")
    class Thing:
        n: int

    manifest = plugin.manifest()
    real = real_permissions.asked(manifest)
    assert permissions.implied(manifest) == set(real.implied)
    assert permissions.asked(manifest) == {*real.required, *real.optional, *real.implied}


@pytest.mark.parametrize(
    "condition",
    [
        None, "true", "false", "1", "sale.total > 0.0", "sale.total > 0", "sale.customer_id != null",
        "sale.missing > 1", "!(sale.missing > 1)", "has(sale.missing)", "payload.total == 5",
        "sale.name.startsWith('A')",
        "sale.total + 1", "sale.total > 'a'", "nothing", "sale.total > 1 || sale.missing",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "payload", [{}, {"total": 5, "customer_id": "c", "name": "Ada"}, {"total": 0.5, "customer_id": None}]
)
def test_conditions_hold_for_the_same(condition: str | None, payload: dict[str, Any]) -> None:
    scope = real_conditions.variables("sale.created", payload)
    assert conditions.holds(condition, "sale.created", payload) == real_conditions.holds(condition, scope)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def is_plain_here(value: Any) -> bool:
    try:
        plain.check_plain(value, "value")
    except jf.CapabilityError:
        return False
    return True


def is_plain_there(value: Any) -> bool:
    try:
        decode_plain(wire.encode(value), allow_nul=True)
    except NotPlainError:
        return False
    return True


@given(VALUES)
def test_the_same_data_is_plain(value: Any) -> None:
    assert is_plain_here(value) == is_plain_there(value)


@pytest.mark.parametrize("depth", [30, 31, 32, 33, 34])
def test_the_same_depth_is_allowed(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert is_plain_here(value) == is_plain_there(value)


def test_the_same_request_headers_reach_a_plugin() -> None:
    from jackfield.extension_points import routes as real_routes

    assert routing.KEPT_HEADERS == real_routes._KEPT_HEADERS


@pytest.mark.parametrize(
    "link",
    ["/orders/7", "/", "//evil.example", "/\\evil", "https://a.example/x?y=1#z", "http://a.example", "javascript:x",
     "https://a.example/<b>", "https://user@a.example/", "orders/7", "", "/a b", "https://a.example:443"],
)  # fmt: skip
def test_the_same_links_may_be_in_a_notification(link: str) -> None:
    from jackfield.notifications import is_link

    assert bool(people._LINK.match(link)) == is_link(link)


def test_every_error_code_of_the_fake_is_one_of_the_platforms() -> None:
    from jackfield import conditions
    from jackfield.extension_points import errors as trigger_errors
    from jackfield.notifications import errors as notification_errors
    from jackfield.webhooks import errors as webhook_errors

    real = {
        getattr(module, name).code
        for module in (real_errors, adapter_errors, trigger_errors, conditions, notification_errors, webhook_errors)
        for name in module.__all__
        if hasattr(getattr(module, name), "code")
    }
    here = sources.codes(broker, entities, memory, neighbours, nodes, people, plain, platform, routing, rows)
    # What the function call and the configuration say elsewhere, and what only a test can meet.
    elsewhere = {"result-invalid", "config-invalid", "unavailable", "state-wrong"}
    assert here - elsewhere <= real


HOST_PATTERNS = st.sampled_from(
    [
        "*", "*:8443", "api.example.com", "API.example.com", "*.example.com", "api.example.com:8443", "*.*", "",
        "example.com", "*.example.com:80", "*.", ":443", "a*.example.com", "api.example.com:",
    ]
)  # fmt: skip


@given(
    st.lists(HOST_PATTERNS, max_size=3),
    st.sampled_from(["http", "https"]),
    st.sampled_from(["api.example.com", "example.com", "evil-example.com", "x.api.example.com", "127.0.0.1"]),
    st.sampled_from([80, 443, 8443]),
)
def test_hosts_are_covered_by_the_same_patterns(patterns: list[str], scheme: str, host: str, port: int) -> None:
    real = HostPolicy("acme", "inst", tuple(patterns)).covering(scheme, host, port)
    assert (web.covering(patterns, scheme, host, port) is None) == (real is None)
