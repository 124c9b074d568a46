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


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"description": "good \u202eevil"}, "description"),
        ({"summary": "a\x1b[2J"}, "summary"),
        ({"functions": [{**FUNCTION, "description": "Adds." + chr(0xE0041)}]}, "functions"),
        ({"permissions": ["a:read"], "permission_reasons": {"a:read": "so\u200b"}}, "permission_reasons"),
        ({"config": {"schema": {"properties": {"a\u2066": {}}}}}, "config.schema"),
        ({"translations": {"de": {"hello": "\ufeff"}}}, "translations"),
    ],
)
def test_no_text_hides_from_its_readers(parts: dict[str, Any], path: str) -> None:
    assert refusal(**parts).path.startswith(path)


def test_texts_of_all_scripts_are_texts() -> None:
    text = "Zeile\r\n\tzwei · שלום\u200e · नमस्ते · 👩\u200d🍳 · می\u200cخواهم"
    assert parse_manifest({**LEAST, "description": text}).description == text


@pytest.mark.parametrize("name", ["homepage", "repository", "support", "icon"])
@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "JavaScript:x", "data:text/html,x", "file:///etc", "https://a b", "https://x'y"]
)
def test_a_link_leads_to_a_page(name: str, link: str) -> None:
    assert refusal(**{name: link}).path == name
    for good in ("", "https://example.com/a?b=c#d", "http://localhost:8000", "mailto:help@example.com", "star"):
        parse_manifest({**LEAST, name: good})
    assert refusal(screenshots=[link]).path == "screenshots"


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("tags", ["t"] * 33), ("screenshots", ["s"] * 33), ("permissions", [f"a{n}:read" for n in range(129)]),
        ("requires", [{"slug": f"a{n}", "versions": ">=1"} for n in range(65)]),
        ("emits", {f"stamps.e{n}": {} for n in range(129)}),
        ("permission_reasons", {f"a{n}:read": "" for n in range(257)}),
    ],
)  # fmt: skip
def test_there_are_not_too_many_of_anything(name: str, items: Any) -> None:
    assert refusal(**{name: items}).path == name


@pytest.mark.parametrize("properties", [5, [[1]], "abc", None])
def test_the_properties_of_a_configuration_are_an_object(properties: Any) -> None:
    path = "config.schema.properties"
    assert refusal(config={"schema": {"properties": properties}, "secrets": ["a"]}).path == path


def test_what_is_wrong_is_not_repeated_at_length() -> None:
    long = "k" * 500_000
    for parts in ({long: 1}, {"functions": [{**FUNCTION, "role": long}]}, {"permission_reasons": {long: ""}}):
        assert len(str(refusal(**parts)) + refusal(**parts).hint) < 1000


def test_examples_are_not_nested_without_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    assert "nested deeper" in str(refusal(functions=[{**FUNCTION, "examples": [{"arguments": deep}]}]))


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
