"""What is made of a release once and used on every trigger; schemas, weighed and compiled, first of all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from jackfield.capabilities.schemas import Checked
from jackfield.errors import JackfieldError

__all__ = ["OncePerRelease", "SchemaCache"]

_MOST = 4096
T = TypeVar("T")


class OncePerRelease(Generic[T]):
    """Values by the digest of a release. The oldest goes first: whatever went is soon made again."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[str, T] = {}

    def get(self, digest: str) -> T | None:
        """What was kept, or None."""
        return self._kept.get(digest)

    def keep(self, digest: str, value: T) -> T:
        """Keep it, and hand it back."""
        self._kept[digest] = value
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
        return value


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
