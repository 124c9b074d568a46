"""What a call may do: by the grants, by their rows, and by what the acting user's role may; the platform's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from jackfield_sdk import wire
from jackfield_sdk.errors import PermissionDeniedError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.testing.nodes import Branch, Leaf, Where
from jackfield_sdk.testing.permissions import covers

__all__ = ["Access", "Rights"]

Access = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Entity → role → `read` and `write`: True, False, or conditions of the rows that the role has."""

_USES = ("read", "write")
_NO_ENTITIES = frozenset(
    {
        "cache", "channels", "config", "connections", "data", "events", "files", "functions", "http", "log", "members",
        "metrics", "notify", "secrets", "storage", "tables",
    }
)  # fmt: skip


class Rights:
    """Of all calls of one installation.

    Args:
        grants: May change.
        filters: Grant → conditions of the rows that the tenant narrowed it to; may change.

    Attributes:
        caller: Who acts at this moment.
    """

    def __init__(
        self, manifest: Manifest, grants: set[str], filters: Mapping[str, list[Any]], access: Access, tenant_id: str
    ) -> None:
        self.grants = grants
        self.filters = dict(filters)
        self.caller: Callable[[], wire.Caller | None] = lambda: None
        self._asked = manifest.permission_filters
        self._access = access
        self._tenant_id = tenant_id

    def require(self, permission: str) -> None:
        """Refuse what the plugin or the acting user may not.

        Raises:
            PermissionDeniedError: It says who may not.
        """
        if not covers(self.grants, permission):
            raise PermissionDeniedError(
                f"`{permission}` is not granted",
                hint=f"Ask for `{permission}` in the plugin's permissions, and have it granted.",
            )
        caller = self.caller()
        if caller is not None and self._held(permission) is False:
            raise PermissionDeniedError(
                f"the acting user may not: the role {caller.role} does not have `{permission}`",
                hint="Somebody whose role has it can do this; so can an event or a schedule, for which nobody acts.",
            )

    def covers(self, permission: str) -> bool:
        """Whether `require` lets it through."""
        return covers(self.grants, permission) and self._held(permission) is not False

    def where(self, entity: str, use: str) -> list[Leaf | Branch]:
        """Conditions of the rows that a call may use; none when it may use all.

        Raises:
            PermissionDeniedError: It may use none, or only those of the acting user, and nobody acts.
        """
        permission = f"{entity}:{use}"
        self.require(permission)
        found: list[Leaf | Branch] = []
        for where in self._filters(entity, use):
            try:
                nodes = msgspec.convert(_filled(where, self._known()), Where)
            except KeyError:
                raise PermissionDeniedError(
                    f"`{permission}` is granted for rows of the acting user only, and nobody acts",
                    hint="Do this in a call on behalf of a member: a function, a route, a widget.",
                ) from None
            found += nodes
        return found

    def _held(self, permission: str) -> Any:
        entity, _, use = permission.rpartition(":")
        caller, roles = self.caller(), self._access.get(entity)
        if use not in _USES or entity in _NO_ENTITIES or caller is None or not roles:
            return True
        has_all = caller.role in ("owner", "admin")
        held = roles.get(caller.role, {} if has_all else roles.get("member", {}))
        return held.get(use, True)

    def _filters(self, entity: str, use: str) -> Iterator[list[Any]]:
        for grant in (f"{entity}:{use}", f"{entity}:*"):
            if grant in self.grants:
                for filters in (self._asked, self.filters):
                    if where := filters.get(grant):
                        yield list(where)
        held = self._held(f"{entity}:{use}")
        if not isinstance(held, bool):
            yield list(held)

    def _known(self) -> dict[str, str]:
        caller = self.caller()
        known = {"$tenant.id": self._tenant_id}
        return known if caller is None else {**known, "$user.id": caller.id, "$user.role": caller.role}


def _filled(node: Any, known: Mapping[str, str]) -> Any:
    """The conditions with their placeholders filled in; KeyError when one cannot be."""
    if isinstance(node, dict):
        return {key: _filled(inner, known) for key, inner in node.items()}  # pyright: ignore[reportUnknownVariableType]  # plain data
    if isinstance(node, list | tuple):
        if len(node) == 3 and isinstance(node[0], str) and isinstance(node[1], str):  # pyright: ignore[reportUnknownArgumentType]  # plain data
            value = node[2]  # pyright: ignore[reportUnknownVariableType]  # plain data
            values = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]  # plain data
            filled = [_value(item, known) for item in values]  # pyright: ignore[reportUnknownVariableType]  # plain data
            return [node[0], node[1], filled if isinstance(value, list) else filled[0]]
        return [_filled(inner, known) for inner in node]  # pyright: ignore[reportUnknownVariableType]  # plain data
    return node


def _value(value: Any, known: Mapping[str, str]) -> Any:
    return known[value] if value in ("$user.id", "$user.role", "$tenant.id") else value
