"""Configuration: secrets are kept apart, defaults fill in, and what is missing is told apart from what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

import jackfield_sdk as jf
from jackfield.lifecycle.configuration import accept, check_schema, effective, missing_fields
from jackfield.lifecycle.errors import ConfigInvalidError, ConfigSchemaError
from jackfield_sdk.manifest import ConfigSection, Manifest

plugin = jf.Plugin("points", version="1.0.0")


@plugin.config
class Config:
    shop: str
    api_key: jf.Secret
    webhook_key: jf.Secret | None = None
    rate: float = 1.5
    tags: list[str] = []  # noqa: RUF012  # copied for each configuration


MANIFEST = plugin.manifest()
BARE = jf.Plugin("bare", version="1.0.0").manifest()


def with_schema(schema: dict[str, Any]) -> Manifest:
    return Manifest(slug="odd", version="1.0.0", name="Odd", config=ConfigSection(schema=schema))


def test_secrets_are_parted_from_the_rest() -> None:
    candidate = accept(MANIFEST, {"shop": "north", "api_key": "s3cret", "rate": 2})
    assert candidate.config == {"shop": "north", "rate": 2}
    assert candidate.secrets == {"api_key": "s3cret"}
    assert candidate.missing == ()
    assert "s3cret" not in repr(candidate)


def test_what_is_missing_is_no_error() -> None:
    assert accept(MANIFEST, {}).missing == ("api_key", "shop")
    assert accept(MANIFEST, {"shop": "north"}, stored_secrets=["api_key"]).missing == ()


def test_a_stored_secret_stays_when_left_out_and_goes_with_null() -> None:
    kept = accept(MANIFEST, {"shop": "north"}, stored_secrets=["api_key", "webhook_key"])
    assert kept.secrets == {}
    gone = accept(
        MANIFEST, {"shop": "north", "api_key": None, "webhook_key": None}, stored_secrets=["api_key", "webhook_key"]
    )
    assert gone.secrets == {"api_key": None, "webhook_key": None}
    assert gone.missing == ("api_key",)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"rate": "much"}, "rate"),
        ({"shop": None}, "shop"),
        ({"unknown": 1}, "unknown"),
        ({"tags": [1]}, "tags.0"),
        ({"api_key": 12}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "x" * 20_000}, "api_key"),
        ({"shop": "x" * 70_000}, ""),
        ({"rate": float("nan")}, ""),
        ({"rate": 2**70}, ""),
        ({"shop": "\ud800"}, ""),
    ],
    ids=repr,
)
def test_what_does_not_fit_is_refused_with_its_place(values: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        accept(MANIFEST, values)
    assert refused.value.code == "config-invalid"
    assert path in [error["path"] for error in refused.value.data["errors"]]


def test_deeply_nested_data_is_refused() -> None:
    value: Any = "x"
    for _ in range(5_000):
        value = [value]
    with pytest.raises(ConfigInvalidError):
        accept(MANIFEST, {"tags": value})


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        accept(MANIFEST, {"api_key": {"hunter2": "hunter2"}})
    assert "hunter2" not in f"{refused.value} {refused.value.data}"


def test_a_plugin_without_configuration_takes_none() -> None:
    assert accept(BARE, {}).config == {}
    with pytest.raises(ConfigInvalidError):
        accept(BARE, {"a": 1})


def test_defaults_are_seen_by_the_plugin_and_not_stored() -> None:
    stored = accept(MANIFEST, {"shop": "north", "api_key": "k"}).config
    assert stored == {"shop": "north"}
    seen = effective(MANIFEST, stored)
    assert seen == {"shop": "north", "rate": 1.5, "tags": []}
    seen["tags"].append("b")
    assert effective(MANIFEST, stored)["tags"] == []


def test_missing_fields_of_what_is_stored() -> None:
    assert missing_fields(MANIFEST, {"shop": "north"}, ()) == ("api_key",)
    assert missing_fields(MANIFEST, {"shop": "north"}, ("api_key",)) == ()
    assert missing_fields(BARE, {}, ()) == ()


def test_a_schema_that_cannot_be_used_is_the_authors_fault() -> None:
    check_schema(MANIFEST)
    for schema in ({"type": "nonsense"}, {"$ref": "http://127.0.0.1:9/"}, {"properties": []}, {"required": "shop"}):
        with pytest.raises(ConfigSchemaError) as refused:
            check_schema(with_schema(schema))
        assert refused.value.code == "config-schema-invalid"
