"""JSON Schema validation on every trigger: compiled once, never following a reference to elsewhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

__all__ = ["SchemaCache", "compile_schema"]

_MOST = 4096
_ERRORS = 20


def compile_schema(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator that needs nothing from outside. Patterns run in linear time, so that no value can hang the node.

    Raises:
        ValueError: The schema is not valid.
    """
    return jsonschema_rs.Draft202012Validator(
        dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions(size_limit=1_000_000)
    )


class SchemaCache:
    """Validators by release digest and name of the schema."""

    def __init__(self) -> None:
        self._validators: OrderedDict[tuple[str, str], jsonschema_rs.Draft202012Validator | None] = OrderedDict()

    def problems(self, digest: str, name: str, schema: Mapping[str, Any], value: Any) -> list[dict[str, str]]:
        """What is wrong with a value: path and message of each error; empty when nothing is."""
        key = (digest, name)
        validator = self._validators.get(key)
        if validator is None:
            if not schema:
                return []
            try:
                validator = compile_schema(schema)
            except ValueError as error:
                return [{"path": "", "message": f"the schema itself cannot be used: {str(error)[:200]}"}]
            self._validators[key] = validator
            if len(self._validators) > _MOST:
                self._validators.popitem(last=False)
        if validator.is_valid(value):
            return []
        found: list[dict[str, str]] = []
        for error in validator.iter_errors(value):
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
            found.append({"path": path.lstrip("."), "message": error.message[:300]})
            if len(found) == _ERRORS:
                break
        return found
