"""Permissions: what is asked for, what covers what, and what people are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.capabilities.permissions import asked, covers, describe, entity_of
from tests.server.capabilities.installations import manifest


def test_a_plugins_own_things_come_without_being_asked_for() -> None:
    own = asked(manifest(permissions=["customers:read"], optional_permissions=["http:api.example.com"]))
    assert own.required == ("customers:read",)
    assert own.optional == ("http:api.example.com",)
    assert own.implied == ("storage", "log", "cache", "files", "tables", "events:loyalty.*", "secrets:api_key")


def test_what_is_not_declared_is_not_implied_and_nothing_is_named_twice() -> None:
    bare = asked(manifest(tables=[], emits={}, config=None, permissions=["storage"]))
    assert (bare.required, bare.implied) == (("storage",), ("log", "cache", "files"))


@pytest.mark.parametrize(
    ("grant", "needed", "is_covered"),
    [
        ("customers:read", "customers:read", True),
        ("customers:write", "customers:read", False),
        ("customers:read", "customers:write", False),
        ("customers:*", "customers:read", True),
        ("customers:*", "customersx:read", False),
        ("customers:*", "customers", False),
        ("customers", "customers:read", False),
        ("customers:rea", "customers:read", False),
        ("customers:re*", "customers:read", False),
        ("events:loyalty.*", "events:loyalty.awarded", True),
        ("events:loyalty.*", "events:loyalty.a.b", True),
        ("events:loyalty.*", "events:loyalty.", False),
        ("events:loyalty.*", "events:loyalty", False),
        ("events:loyalty.*", "events:loyalty-points.awarded", False),
        ("http:*.example.com", "http:api.example.com", True),
        ("http:*.example.com", "http:a.b.example.com", True),
        ("http:*.example.com", "http:example.com", False),
        ("http:*.example.com", "http:.example.com", False),
        ("http:*.example.com", "http:evilexample.com", False),
        ("http:*.example.com", "http:api.example.com.evil.test", False),
        ("secrets:*.x", "secrets:a.x", False),
        ("http:*", "http:example.com", True),
        ("http:*.*.com", "http:a.b.com", False),
        ("*", "storage", False),
        ("*", "customers:read", False),
        ("*:read", "customers:read", False),
        ("*:*", "customers:read", False),
        ("customers:*", "customers:*", False),
        ("storage:*", "storage", False),
    ],
)
def test_what_covers_what(grant: str, needed: str, is_covered: bool) -> None:
    assert covers({grant}, needed) is is_covered


@given(st.sets(st.text("abc:.*-", max_size=8)), st.text("abc:.*-", max_size=8))
def test_without_a_wildcard_only_the_same_text_covers(grants: set[str], needed: str) -> None:
    plain = {grant for grant in grants if "*" not in grant}
    assert covers(plain, needed) is (needed in plain)


@pytest.mark.parametrize(
    ("permission", "entity"),
    [
        ("customers:read", "customers"), ("eventTypes:write", "eventTypes"), ("customers:*", "customers"),
        ("customers:export", None), ("storage", None), ("secrets:read", None), ("http:write", None),
        ("events:read", None), ("*:read", None),
    ],
)  # fmt: skip
def test_which_entity_a_permission_is_about(permission: str, entity: str | None) -> None:
    assert entity_of(permission) == entity


@pytest.mark.parametrize(
    ("permission", "risk", "words"),
    [
        ("storage", "low", "data of its own"),
        ("tables", "low", "tables of its own"),
        ("log", "low", "log"),
        ("events:loyalty.*", "low", "loyalty.*"),
        ("secrets:api_key", "low", "api key"),
        ("customers:read", "medium", "see your customers"),
        ("event_types:write", "high", "add, change and delete your event types"),
        ("eventTypes:*", "high", "see, add, change and delete your event types"),
        ("http:api.stripe.com", "high", "api.stripe.com"),
        ("http:*.stripe.com", "high", "any host below stripe.com"),
        ("http:*", "high", "any address"),
        ("functions:loyalty-points.balance", "medium", "loyalty-points.balance"),
        ("functions:loyalty-points.*", "medium", "anything that loyalty-points offers"),
        ("notify", "medium", "notifications to your members"),
        ("members:read", "medium", "e-mail addresses"),
        ("members:write", "high", "does not offer"),
        ("channels:telegram", "high", "telegram channels"),
        ("connections:google_calendar", "high", "google calendar"),
        ("cache", "low", "for a while"),
        ("files", "low", "files of its own"),
        ("storage:all", "high", "does not offer"),
        ("launch:missiles", "high", "does not offer"),
        ("*", "high", "does not offer"),
    ],
)
def test_people_are_told_what_it_means(permission: str, risk: str, words: str) -> None:
    told = describe(permission)
    assert (told.permission, told.risk) == (permission, risk)
    assert words in told.text
