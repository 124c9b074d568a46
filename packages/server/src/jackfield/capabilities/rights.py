"""Rights: what a call may do, by what the tenant granted and by what the acting user may.

A call may do what everybody may who takes part in it: the plugin, by its grants; each plugin that called it; and, with
the host's entities, the member on whose behalf it runs. Grants are those of this moment: what is withdrawn while a call
runs, it has lost, and what is granted meanwhile, the next one has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from jackfield.capabilities.errors import PermissionDeniedError
from jackfield.capabilities.permissions import RESERVED, covering
from jackfield.capabilities.row_filters import RowFilter, checked, filled
from jackfield.surface import Access, Surface

if TYPE_CHECKING:
    from jackfield.capabilities.context import CapabilityContext
    from jackfield.data_adapters.conditions import Node

__all__ = ["NOTHING", "AccessBook", "GrantSource", "Granted", "Rights", "Use"]

Use = Literal["read", "write"]

_USES: tuple[Use, ...] = ("read", "write")
_FULL = Access()


class Granted(Protocol):
    """What a tenant gave an installation."""

    @property
    def grants(self) -> frozenset[str]:
        """The permissions."""
        ...

    @property
    def grant_filters(self) -> Mapping[str, RowFilter]:
        """Permission → the rows that it is narrowed to."""
        ...


class _Nothing:
    grants: frozenset[str] = frozenset()
    grant_filters: Mapping[str, RowFilter] = {}


NOTHING: Granted = _Nothing()
"""Of an installation that is gone."""


class GrantSource(Protocol):
    """Knows the grants of this moment. Asked on every capability call, so it answers from memory."""

    def peek(self, tenant_id: str, installation_id: str) -> Granted | None:
        """What is held now; None when the tenant is not in memory. The same object as long as nothing changes."""
        ...

    async def get(self, tenant_id: str, installation_id: str) -> Granted:
        """The same, after a look into the database."""
        ...


class AccessBook:
    """What members may do with the host's entities, by role.

    A role that an entity does not name may do everything when it is `owner` or `admin`; any other one is treated as
    `member`, so that a role of the host's own never has more than a member unless the host says so.

    Raises:
        ValueError: A row filter of the surface is none, or names a field that plugins may not see.
    """

    def __init__(self, surface: Surface) -> None:
        self._access: dict[str, dict[str, Access]] = {}
        for name, entity in surface.entity_index.items():
            roles: dict[str, Access] = {}
            for role, access in entity.access.items():
                read, write = (
                    use if isinstance(use, bool) else checked(list(use), name, entity.readable)
                    for use in (access.read, access.write)
                )
                roles[role] = Access(read, write)
            if roles:
                self._access[name] = roles

    def of(self, entity: str, use: Use, role: str) -> bool | RowFilter:
        """Whether a role may; or the rows with which it may."""
        roles = self._access.get(entity)
        if roles is None:
            return True
        access = roles.get(role)
        if access is None:
            access = _FULL if role in ("owner", "admin") else roles.get("member", _FULL)
        return access.read if use == "read" else access.write


class Rights:
    """Of one call. Changes while it runs, never to more than it began with.

    Attributes:
        access: What members may do; filled in by the gate.
        held: What the gate last saw that the installation holds.
        grants: The plugin's own, of this moment.
    """

    __slots__ = ("_context", "_filters", "access", "grants", "held")

    def __init__(self, context: CapabilityContext) -> None:
        self._context = context
        self.access: AccessBook | None = None
        self.held: Granted | None = None
        self.grants = context.grants
        self._filters: tuple[Mapping[str, RowFilter], ...] = (context.grant_filters,)

    def follow(self, held: Granted) -> None:
        """What the installation holds is now this."""
        mine = self._context
        self.held = held
        self.grants = mine.grants if held.grants is mine.grants else mine.grants & held.grants
        now, began = held.grant_filters, mine.grant_filters
        self._filters = (began,) if now is began or now == began else (began, now)

    def require(self, permission: str) -> None:
        """Refuse what one of those who take part may not, and count the use of the grant otherwise.

        Raises:
            PermissionDeniedError: It says who may not.
        """
        if permission in self.grants and "*" not in permission:
            grant = permission
        else:
            grant = covering(self.grants, permission)
            if grant is None:
                raise PermissionDeniedError(permission)
        # Only entities have more to them. Nearly all calls are told apart by the end of the text.
        if permission.endswith((":read", ":write")) and (refusal := self._refusal(permission)) is not None:
            raise refusal
        uses = self._context.tally.permissions
        uses[grant] = uses.get(grant, 0) + 1

    def covers(self, permission: str) -> bool:
        """Whether all who take part may, with some rows at least; counts as no use."""
        if covering(self.grants, permission) is None or self._refusal(permission) is not None:
            return False
        entity, _, use = permission.rpartition(":")
        if use not in _USES or entity in RESERVED:
            return True
        return all(self._filled(where) is not None for where in self._all_filters(entity, use))

    def where(self, entity: str, use: Use) -> list[Node]:
        """What rows must meet so that the call may use them: the filters of all who take part. Empty: all rows.

        Every statement on the entity has to add them to its own conditions.

        Raises:
            PermissionDeniedError: It may use none, or only those of the acting user, and nobody acts.
        """
        permission = f"{entity}:{use}"
        if covering(self.grants, permission) is None:
            raise PermissionDeniedError(permission)
        if (refusal := self._refusal(permission)) is not None:
            raise refusal
        nodes: list[Node] = []
        for where in self._all_filters(entity, use):
            found = self._filled(where)
            if found is None:
                raise PermissionDeniedError.of_nobody(permission)
            nodes += (node for node in found if node not in nodes)
        return nodes

    def _filled(self, where: RowFilter) -> list[Node] | None:
        return filled(where, self._context.tenant_id, self._context.caller)

    def _refusal(self, permission: str) -> PermissionDeniedError | None:
        """Why another than the plugin itself may not."""
        noun, _, target = permission.rpartition(":")
        if target not in _USES or noun in RESERVED:
            return None
        context = self._context
        for other in context.chain:
            if covering(other.rights.grants, permission) is None:
                return PermissionDeniedError.of_plugin(permission, other.slug)
        caller = context.caller
        if caller is None or self.access is None or self.access.of(noun, target, caller.role) is not False:
            return None
        return PermissionDeniedError.of_user(permission, caller.role)

    def _all_filters(self, entity: str, use: Use) -> Iterator[RowFilter]:
        yield from self._own_filters(entity, use)
        context = self._context
        for other in context.chain:
            yield from other.rights._own_filters(entity, use)
        if context.caller is not None and self.access is not None:
            allowed = self.access.of(entity, use, context.caller.role)
            if not isinstance(allowed, bool):
                yield allowed

    def _own_filters(self, entity: str, use: Use) -> Iterator[RowFilter]:
        """Of each grant that is about it: filters add up, so that a wider grant does not undo a narrower one."""
        asked = self._context.manifest.permission_filters
        for grant in (f"{entity}:{use}", f"{entity}:*"):
            if grant not in self.grants:
                continue
            for filters in (asked, *self._filters):
                if where := filters.get(grant):
                    yield where
