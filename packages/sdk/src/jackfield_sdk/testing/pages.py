"""Widgets that a plugin said to be changed, by the platform's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.manifest import Manifest

__all__ = ["Pages"]


class _Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=128)]


class Pages:
    """What pages would be told.

    Attributes:
        refreshed: Names of widgets, the oldest first.
        is_drawing: Whether a widget is being drawn, which tells pages nothing.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.refreshed: list[str] = []
        self.is_drawing = False
        self._names = {widget.handler for widget in manifest.widgets}

    def operations(self) -> Mapping[str, Any]:
        """For the broker."""
        return {"widgets.refresh": (_Refresh, _none, self._refresh)}

    def _refresh(self, arguments: _Refresh) -> None:
        if arguments.name not in self._names:
            raise CapabilityError("the plugin has no such widget", code="arguments-invalid")
        if not self.is_drawing:
            self.refreshed.append(arguments.name)


def _none(_arguments: object) -> str:
    return ""
