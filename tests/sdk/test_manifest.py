"""A manifest is read strictly: what is wrong is named by its path, and a slip of the pen gets a suggestion."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield_sdk.errors import ManifestError
from jackfield_sdk.manifest import Manifest, json_schema, parse_manifest

LEAST: dict[str, Any] = {"slug": "stamps", "version": "1.0.0", "name": "Stamps"}
FUNCTION: dict[str, Any] = {"name": "f", "handler": "f", "parameters": {}, "returns": {}}


def refusal(**parts: Any) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        parse_manifest({**LEAST, **parts})
    return caught.value


def test_the_least_manifest_contributes_and_asks_nothing() -> None:
    manifest = parse_manifest(LEAST)
    assert (manifest.slug, manifest.permissions, manifest.functions, manifest.config) == ("stamps", [], [], None)


def test_its_bytes_are_canonical_and_read_back_as_the_same() -> None:
    manifest = parse_manifest({**LEAST, "functions": [FUNCTION], "emits": {"stamps.full": {"type": "object"}}})
    assert parse_manifest(manifest.encode()) == manifest
    assert parse_manifest(manifest.encode()).encode() == manifest.encode()
    shuffled = dict(reversed(msgspec.to_builtins(manifest).items()))
    assert parse_manifest(shuffled).encode() == manifest.encode()


@pytest.mark.parametrize(
    ("parts", "path", "suggestion"),
    [
        ({"fucntions": []}, "fucntions", "functions"),
        ({"functions": [{**FUNCTION, "parametres": {}}]}, "functions[0].parametres", "parameters"),
        (
            {"functions": [{**FUNCTION, "examples": [{"arguments": {}, "titel": ""}]}]},
            "functions[0].examples[0].titel",
            "title",
        ),
        ({"health": {"handler": "h", "interval": 30}}, "health.interval", "interval_s"),
        ({"lifecycle": {"on_instal": "h"}}, "lifecycle.on_instal", "on_install"),
    ],
)
def test_an_unknown_key_is_named_with_the_closest_known_one(parts: dict[str, Any], path: str, suggestion: str) -> None:
    error = refusal(**parts)
    assert error.path == path
    assert path in str(error)
    assert error.hint == f"Did you mean `{suggestion}`?"


def test_an_unknown_key_like_no_other_is_to_be_removed() -> None:
    assert refusal(zzzzzz=1).hint == "Remove it."


@pytest.mark.parametrize(
    ("parts", "path", "hint"),
    [
        ({"slug": "Stamps"}, "slug", "Lower-case words joined by hyphens, as `loyalty-points`."),
        ({"slug": "stamps\n"}, "slug", "Lower-case words joined by hyphens, as `loyalty-points`."),
        ({"version": "1.0"}, "version", "A semantic version, as `1.2.3`."),
        ({"version": "1.0.0+build"}, "version", "A semantic version, as `1.2.3`."),
        (
            {"filters": [{"hook": "booking", "handler": "h"}]},
            "filters[0].hook",
            "Joined by dots, as `booking.beforeCreate`.",
        ),
        ({"emits": {"full": {}}}, "emits", "Joined by dots, as `loyalty-points.redeemed`."),
        (
            {"routes": [{"method": "get", "path": "/", "handler": "h"}]},
            "routes[0].method",
            "One of: GET, POST, PUT, PATCH, DELETE.",
        ),
        (
            {"functions": [{**FUNCTION, "role": "onwer"}]},
            "functions[0].role",
            "Did you mean `owner`?",
        ),
        (
            {"routes": [{"method": "GET", "path": "points", "handler": "h"}]},
            "routes[0].path",
            "As `/points/{customer_id}`.",
        ),
    ],
)
def test_a_wrong_form_is_named_with_a_right_one(parts: dict[str, Any], path: str, hint: str) -> None:
    error = refusal(**parts)
    assert (error.path, error.hint) == (path, hint)


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"functions": [FUNCTION, FUNCTION]}, "functions[1]"),
        ({"tables": [{"name": "t", "columns": {}}] * 2}, "tables[1]"),
        (
            {"routes": [{"method": "GET", "path": path, "handler": "h"} for path in ("/a/{x}", "/a/{y}")]},
            "routes[1]",
        ),
        ({"permissions": ["a:read"], "optional_permissions": ["a:read"]}, "permissions[1]"),
    ],
)
def test_nothing_is_declared_twice(parts: dict[str, Any], path: str) -> None:
    assert refusal(**parts).path == path


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"requires": [{"slug": "stamps", "versions": ">=1"}]}, "requires"),
        ({"permission_reasons": {"a:read": "so"}}, "permission_reasons.a:read"),
        ({"tables": [{"name": "t", "columns": {"id": {}}}]}, "tables[0].columns"),
        ({"tables": [{"name": "t", "columns": {"a": {}}, "unique": [["b"]]}]}, "tables[0]"),
        ({"tables": [{"name": "t", "columns": {"a": {}}, "references": {"a": "u"}}]}, "tables[0].references"),
        ({"config": {"schema": {}, "secrets": ["key"]}}, "config.secrets"),
        ({"webhooks": [{"name": "w", "handler": "h", "secret": "key"}]}, "webhooks[0].secret"),
        ({"menu": [{"label": "Points", "page": "/points"}]}, "menu[0].page"),
        ({"emits": {"other.full": {}}}, "emits.other.full"),
    ],
)
def test_its_parts_fit_together(parts: dict[str, Any], path: str) -> None:
    assert refusal(**parts).path == path


@pytest.mark.parametrize("reference", ["https://elsewhere.example/s.json", "file:///etc/passwd", "other.json#/a"])
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_no_schema_sends_a_validator_to_fetch_another(reference: str, keyword: str) -> None:
    schema = {"type": "object", "properties": {"a": {"anyOf": [{keyword: reference}]}}}
    assert refusal(config={"schema": schema}).path == "config.schema"
    assert refusal(functions=[{**FUNCTION, "returns": schema}]).path == "functions[0].returns"
    assert refusal(tables=[{"name": "t", "columns": {"a": schema}}]).path == "tables[0].columns.a"


def test_a_schema_may_refer_to_its_own_definitions() -> None:
    schema = {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"$ref": {"type": "string"}}}}}
    assert parse_manifest({**LEAST, "config": {"schema": schema}}).config is not None


def test_a_schema_is_not_nested_without_end() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100):
        schema = {"not": schema}
    assert "nested deeper" in str(refusal(config={"schema": schema}))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"\xff"', b"[" * 100_000, b" " * 2_000_000])
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(Manifest.__struct_fields__)), JSON, max_size=6))
def test_any_data_is_read_or_refused(parts: dict[str, Any]) -> None:
    with contextlib.suppress(ManifestError):
        manifest = parse_manifest({**LEAST, **parts})
        assert parse_manifest(manifest.encode()) == manifest


def test_its_schema_tells_editors_every_key() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["Manifest"]["properties"]) == set(Manifest.__struct_fields__)
