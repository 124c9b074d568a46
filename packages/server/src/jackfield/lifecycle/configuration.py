"""Configuration: what a tenant may set, what is a secret, what is missing. Pure.

Three forms of the same thing must not be mixed up. What comes in may hold secrets. What is stored
(`Candidate.config`) holds none and no defaults either, so that a release may change its defaults. What a plugin sees
has the defaults filled in and a handle for each secret.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from jackfield.capabilities.errors import SchemaRefusedError
from jackfield.capabilities.schemas import Checked
from jackfield.lifecycle.errors import ConfigInvalidError, ConfigSchemaError
from jackfield_sdk.errors import WireError
from jackfield_sdk.manifest import ConfigSection, Manifest
from jackfield_sdk.wire import check_depth

__all__ = ["Candidate", "accept", "check_schema", "effective", "known_fields", "missing_fields"]

MAX_BYTES = 64 * 1024
MAX_SECRET_CHARS = 16 * 1024
_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that fits the schema, apart from `missing`.

    Attributes:
        config: Without secrets.
        secrets: Secret → value to store, or None to remove it. A secret that is left out stays as it is.
        missing: Required fields without a value; empty when the plugin can work.
    """

    config: dict[str, Any]
    secrets: dict[str, str | None] = field(default_factory=dict[str, "str | None"], repr=False)
    missing: tuple[str, ...] = ()


def accept(manifest: Manifest, values: Mapping[str, Any], stored_secrets: Collection[str] = ()) -> Candidate:
    """Check what a tenant sends.

    Args:
        stored_secrets: Names that have a value already.

    Raises:
        ConfigInvalidError: A field is unknown or a value does not fit. A field that is only missing is not an error
            here.
        ConfigSchemaError: The plugin's schema cannot be used.
    """
    section = manifest.config
    if section is None:
        if values:
            raise ConfigInvalidError(
                manifest.slug, [{"path": next(iter(values)), "message": "the plugin has no configuration"}]
            )
        return Candidate({})
    _check_size(manifest.slug, values)
    names = frozenset(section.secrets)
    # A secret set to null is one to remove; for the schema it is then not there.
    present = {name: value for name, value in values.items() if not (name in names and value is None)}
    errors = _errors(manifest.slug, _without_required(section), present)
    errors += [
        {"path": name, "message": "a secret is a text of 1 to 16384 characters"}
        for name in sorted(names & present.keys())
        if not isinstance(present[name], str) or not 1 <= len(present[name]) <= MAX_SECRET_CHARS
    ]
    known = section.schema.get("properties", {})
    # A schema may leave further fields open; a plugin's settings form does not.
    errors += [{"path": name, "message": "no such field"} for name in sorted(values.keys() - known.keys())]
    if errors:
        raise ConfigInvalidError(manifest.slug, errors)
    secrets = {name: values[name] for name in sorted(names & values.keys())}
    config = {name: value for name, value in values.items() if name not in names}
    kept = {name for name in stored_secrets if name not in secrets} | {n for n, v in secrets.items() if v is not None}
    return Candidate(config, secrets, missing_fields(manifest, config, kept))


def missing_fields(manifest: Manifest, config: Mapping[str, Any], secret_names: Collection[str]) -> tuple[str, ...]:
    """Required fields that have neither a value nor a default, sorted."""
    if manifest.config is None:
        return ()
    schema = manifest.config.schema
    required: Collection[str] = schema.get("required", ())
    return tuple(sorted(set(required) - config.keys() - set(secret_names) - _defaults(manifest.config).keys()))


def effective(manifest: Manifest, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as the plugin sees it: defaults filled in, secrets left out."""
    if manifest.config is None:
        return {}
    return {**_defaults(manifest.config), **config}


def known_fields(manifest: Manifest, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a release still knows of a configuration that was made for another one."""
    properties: Collection[str] = () if manifest.config is None else manifest.config.schema.get("properties", {})
    return {name: value for name, value in config.items() if name in properties}


def check_schema(manifest: Manifest) -> None:
    """Make sure that the schema can be used at all.

    Raises:
        ConfigSchemaError: It cannot.
    """
    if manifest.config is not None:
        _errors(manifest.slug, manifest.config.schema, {})


def _defaults(section: ConfigSection) -> dict[str, Any]:
    properties: Mapping[str, Any] = section.schema.get("properties", {})
    return {
        name: copy.deepcopy(cast("Mapping[str, Any]", schema)["default"])
        for name, schema in properties.items()
        if isinstance(schema, Mapping) and "default" in schema and name not in section.secrets
    }


def _without_required(section: ConfigSection) -> dict[str, Any]:
    """The schema without the demand that every field be there; what is missing is told apart from what is wrong."""
    return {key: value for key, value in section.schema.items() if key != "required"}


def _errors(slug: str, schema: Mapping[str, Any], values: Mapping[str, Any]) -> list[dict[str, str]]:
    try:
        problems = Checked(schema).problems(dict(values))
    except SchemaRefusedError as error:
        raise ConfigSchemaError(slug, str(error)) from error
    return [_told(problem, schema.get("properties", {})) for problem in problems]


def _told(problem: str, fields: Collection[str]) -> dict[str, str]:
    """A problem with its place apart; one of the whole has none."""
    place, colon, message = problem.partition(": ")
    if colon and place.partition(".")[0] in fields:
        return {"path": place, "message": message}
    return {"path": "", "message": problem}


def _check_size(slug: str, values: Mapping[str, Any]) -> None:
    try:
        check_depth(dict(values), _DEPTH)
        msgspec.msgpack.encode(values)  # numbers that do not fit 64 bits would break every later call
        size = len(json.dumps(dict(values), allow_nan=False, ensure_ascii=False).encode())
    except (WireError, RecursionError, TypeError, ValueError, OverflowError) as error:
        raise ConfigInvalidError(slug, [{"path": "", "message": f"is not plain data: {error}"[:300]}]) from error
    if size > MAX_BYTES:
        raise ConfigInvalidError(slug, [{"path": "", "message": f"is larger than {MAX_BYTES} bytes"}])
