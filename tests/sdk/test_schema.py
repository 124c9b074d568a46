"""Types become schemas that stand alone, and secrets are found wherever they hide."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import msgspec
import pytest

import jackfield_sdk as jf
from jackfield_sdk.errors import ManifestError
from jackfield_sdk.schema import json_schema_of, parameters_struct, secret_fields, struct_of_class, to_plain


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(jf.Struct):
    colour: Colour
    width: int = 1


class Tree(jf.Struct):
    children: list[Tree] = []  # noqa: RUF012  # a struct copies it


def test_a_type_at_the_root_stands_in_place() -> None:
    schema = json_schema_of(Line)
    assert schema["type"] == "object"
    assert schema["properties"]["colour"] == {"$ref": "#/$defs/Colour"}
    assert set(schema["$defs"]) == {"Colour"}


def test_a_type_that_holds_itself_stays_a_definition() -> None:
    schema = json_schema_of(Tree)
    assert schema["$ref"] == "#/$defs/Tree"
    assert set(schema["$defs"]) == {"Tree"}


@pytest.mark.parametrize(("annotation", "schema"), [(None, {"type": "null"}), (Any, {}), (int, {"type": "integer"})])
def test_plain_types_have_plain_schemas(annotation: Any, schema: dict[str, Any]) -> None:
    assert json_schema_of(annotation) == schema


@pytest.mark.parametrize("annotation", [complex, object, dict[int, complex]])
def test_a_type_that_json_cannot_carry_is_refused_with_its_path(annotation: Any) -> None:
    with pytest.raises(ManifestError) as caught:
        json_schema_of(annotation, path="function f")
    assert caught.value.path == "function f"
    assert caught.value.hint


def test_a_plain_class_becomes_a_frozen_struct_with_its_defaults() -> None:
    class Config:
        """What can be set."""

        rate: Annotated[float, jf.Meta(ge=0)] = 1.5
        names: list[str] = ["a"]  # noqa: RUF012  # what an author writes
        needed: int

    struct = struct_of_class(Config, path="config")
    one, other = struct(needed=1), struct(needed=1)
    assert msgspec.structs.asdict(one) == {"rate": 1.5, "names": ["a"], "needed": 1}
    assert one.names is not other.names  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
    with pytest.raises(AttributeError):
        one.rate = 2.0  # pyright: ignore[reportAttributeAccessIssue]  # frozen
    schema = json_schema_of(struct)
    assert schema["required"] == ["needed"]
    assert schema["additionalProperties"] is False
    assert schema["description"] == "What can be set."
    assert schema["properties"]["names"]["default"] == ["a"]


def test_a_class_without_fields_is_a_mistake() -> None:
    class Empty:
        pass

    with pytest.raises(ManifestError, match="declares no fields"):
        struct_of_class(Empty, path="config")


def test_a_type_that_cannot_be_found_is_named() -> None:
    class Config:
        thing: Unfindable  # noqa: F821  # pyright: ignore[reportUndefinedVariable]  # that is the point

    with pytest.raises(ManifestError, match="Unfindable"):
        struct_of_class(Config, path="config")


def test_parameters_become_a_struct_that_refuses_strangers() -> None:
    def handler(ctx: jf.Context, text: str, *, tags: list[str] = ["a"], times: int = 1) -> None: ...  # noqa: B006  # what an author writes

    struct = parameters_struct(handler, path="function handler")
    given = msgspec.convert({"text": "x"}, struct)
    assert msgspec.structs.asdict(given) == {"text": "x", "tags": ["a"], "times": 1}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"text": "x", "other": 1}, struct)


def test_a_parameter_without_a_name_of_its_own_is_refused() -> None:
    def handler(ctx: jf.Context, *texts: str) -> None: ...

    with pytest.raises(ManifestError, match="texts"):
        parameters_struct(handler, path="function handler")


class Secrets(jf.Struct):
    plain: str
    bare: jf.Secret
    optional: jf.Secret | None = None
    annotated: Annotated[jf.Secret, jf.Meta(description="a key")] | None = None
    wrapped: Annotated[jf.Secret | None, jf.Meta(description="a key")] = None


def test_secrets_are_found_in_every_spelling() -> None:
    assert secret_fields(Secrets, path="config") == ["bare", "optional", "annotated", "wrapped"]


class Nested(jf.Struct):
    inner: Secrets


class Listed(jf.Struct):
    keys: list[jf.Secret]


@pytest.mark.parametrize("struct", [Nested, Listed])
def test_a_secret_that_is_no_field_of_its_own_is_refused(struct: type[jf.Struct]) -> None:
    with pytest.raises(ManifestError, match="not a field of its own"):
        secret_fields(struct, path="config")


def test_a_secret_shows_its_name_alone() -> None:
    secret = jf.Secret("key", lambda name: f"value of {name}")
    assert repr(secret) == "Secret('key')"
    assert secret.reveal() == "value of key"


def test_plain_data_is_what_json_has() -> None:
    assert to_plain({1: (Colour.RED, Line(Colour.BLUE))}) == {"1": ("red", {"colour": "blue", "width": 1})}
    with pytest.raises(TypeError):
        to_plain(object())
