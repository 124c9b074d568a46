"""Connections of the fake platform: what an admin would have connected, as the test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.manifest import Connection, Manifest

__all__ = ["FakeConnections", "place_of"]


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


def place_of(name: str) -> str:
    """Under which name a connection's handle is made: no secret field can be called so."""
    return f"connection:{name}"


class FakeConnections:
    """Those that the manifest declares.

    Attributes:
        values: Connection → what its handle stands for.
        usernames: Of connections of the kind `basic`.
        states: In place of `ready` and `missing`: `unauthorized` or `broken`.
    """

    def __init__(self, manifest: Manifest, may: Callable[[str], bool], handle: Callable[[str], str]) -> None:
        self._declared = {connection.name: connection for connection in manifest.connections}
        self._slug = manifest.slug
        self._may = may
        self._handle = handle
        self.values: dict[str, str] = {}
        self.usernames: dict[str, str] = {}
        self.states: dict[str, str] = {}

    def operations(self) -> dict[str, tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]]:
        """For the broker."""
        return {
            "connections.get": (_Named, lambda _: "", lambda arguments: self._get(arguments.name)),
            "connections.ref": (
                _Named, lambda arguments: f"connections:{arguments.name}",
                lambda arguments: self._handle(place_of(self._known(arguments.name).name)),
            ),
        }  # fmt: skip

    def state(self, name: str) -> str:
        """As `ctx.connections[name].state` has it."""
        return self.states.get(name, "ready" if name in self.values else "missing")

    def _get(self, name: str) -> dict[str, Any]:
        declared = self._known(name)
        username = self.usernames.get(name, "") if self._may(f"connections:{name}") else ""
        return {"name": name, "kind": declared.kind, "state": self.state(name), "username": username}

    def _known(self, name: str) -> Connection:
        if name not in self._declared:
            raise CapabilityError(f"{self._slug} declares no connection `{name}`", code="connection-not-declared")
        return self._declared[name]
