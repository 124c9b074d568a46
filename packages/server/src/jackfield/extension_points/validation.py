"""JSON Schema validation on every trigger: a schema is weighed and compiled once, then used by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from jackfield.capabilities.schemas import Checked
from jackfield.errors import JackfieldError

__all__ = ["SchemaCache"]

_MOST = 4096


class SchemaCache:
    """Schemas by release digest and name."""

    def __init__(self) -> None:
        self._checked: OrderedDict[tuple[str, str], Checked] = OrderedDict()

    def problems(self, digest: str, name: str, schema: Mapping[str, Any], value: Any) -> list[str]:
        """What is wrong with a value, a sentence each; empty when nothing is. A schema that is refused fits nothing."""
        checked = self._checked.get((digest, name))
        if checked is None:
            if not schema:
                return []
            try:
                checked = Checked(schema)
            except JackfieldError as error:
                return [f"the schema itself cannot be used: {error}"]
            self._checked[digest, name] = checked
            if len(self._checked) > _MOST:
                self._checked.popitem(last=False)
        return checked.problems(value)
