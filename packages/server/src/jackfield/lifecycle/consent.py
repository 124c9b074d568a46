"""Consent: what a tenant has to give, may give, and what comes by itself. Pure.

The words come from `capabilities.permissions`; the rule is here: everything required and nothing unasked. What a plugin
does with its own things (`implied`) is granted with the installation and can be withdrawn afterwards. A grant of an
entity may be narrowed to some rows. Nobody gives what their own role does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jackfield.capabilities.errors import RowFilterInvalidError
from jackfield.capabilities.permissions import Asked, asked, entity_of
from jackfield.capabilities.rights import AccessBook, Use
from jackfield.capabilities.row_filters import RowFilter, checked, filled, is_within
from jackfield.data_adapters.conditions import plain_where
from jackfield.lifecycle.errors import GrantNotHeldError, GrantsMissingError, GrantsUnknownError
from jackfield.lifecycle.operations import Actor
from jackfield.surface import Surface
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.wire import Caller

__all__ = [
    "Given",
    "Grant",
    "Wanted",
    "agreed",
    "carried",
    "check_holder",
    "filters_of",
    "lacking",
    "missing_grants",
    "replaced",
    "rows_of",
    "still_held",
    "wanted",
]


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission as a tenant gives it.

    Attributes:
        where: The rows that it is narrowed to, an empty list for all of them. None: as it was narrowed before.
    """

    permission: str
    where: RowFilter | None = None


Given = str | Grant
"""A permission alone stands for a grant that says nothing of rows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a tenant gives, checked for its form.

    Attributes:
        filters: Permission → rows, for those grants that say so.
    """

    permissions: frozenset[str] = frozenset()
    filters: Mapping[str, RowFilter] | None = None

    def only(self, permissions: Iterable[str]) -> Wanted:
        """The part of it that is about these permissions."""
        kept = self.permissions & frozenset(permissions)
        return Wanted(kept, {name: where for name, where in (self.filters or {}).items() if name in kept})

    def with_(self, other: Wanted) -> Wanted:
        """Both; where both speak of rows, the other one decides."""
        return Wanted(self.permissions | other.permissions, {**(self.filters or {}), **(other.filters or {})})


def wanted(grants: Iterable[Given], surface: Surface) -> Wanted:
    """Read what a tenant gives.

    Raises:
        RowFilterInvalidError: A row filter is none, names a field that plugins may not see, or is on a grant that is
            about no entity.
    """
    permissions: set[str] = set()
    filters: dict[str, RowFilter] = {}
    for grant in grants:
        if isinstance(grant, str):
            permissions.add(grant)
            continue
        name = grant.permission
        if grant.where is not None:
            entity = surface.entity_index.get(entity_of(name) or "")
            if entity is None:
                raise RowFilterInvalidError(name[:80], "only a permission for an entity of the host has rows")
            where = checked(list(grant.where), entity.name, entity.readable)
            if filters.setdefault(name, where) != where:
                raise RowFilterInvalidError(entity.name, f"`{name}` is given twice, with different rows")
        permissions.add(name)
    return Wanted(frozenset(permissions), filters)


def missing_grants(manifest: Manifest, grants: Iterable[str]) -> list[str]:
    """Required permissions that are not among the grants, sorted."""
    return sorted(set(asked(manifest).required) - set(grants))


def agreed(manifest: Manifest, grants: Iterable[str]) -> frozenset[str]:
    """The grants of a new installation.

    Raises:
        GrantsUnknownError: Something is granted that the manifest does not ask for.
        GrantsMissingError: Something required is not granted.
    """
    given = _asked_only(manifest, grants, asked(manifest))
    if missing := missing_grants(manifest, given):
        raise GrantsMissingError(manifest.slug, missing)
    return given | frozenset(asked(manifest).implied)


def replaced(manifest: Manifest, grants: Iterable[str], *, at_rest: bool) -> frozenset[str]:
    """The grants after a change: exactly those given, so that implied ones can be withdrawn by leaving them out.

    Args:
        at_rest: The installation is inactive. Only then may a required permission be missing; it cannot be activated
            before it is given again.

    Raises:
        GrantsUnknownError: Something is granted that the manifest does not ask for.
        GrantsMissingError: Something required is withdrawn from a plugin at work.
    """
    given = _asked_only(manifest, grants, asked(manifest))
    if not at_rest and (missing := missing_grants(manifest, given)):
        raise GrantsMissingError(manifest.slug, missing)
    return given


def still_held(old: Manifest, new: Manifest, held: Iterable[str]) -> frozenset[str]:
    """Those of the grants held that an update leaves: the new release asks for them, and for no rows beyond.

    Rows are compared by their conditions: a release that has all of the old one's asks for no more. Whatever else it
    has is another question, which has to be asked.
    """
    known = asked(new)
    before, after = old.permission_filters, new.permission_filters
    return frozenset(
        name
        for name in frozenset(held) & {*known.required, *known.optional, *known.implied}
        if is_within(after.get(name, ()), before.get(name, ()))
    )


def lacking(old: Manifest, new: Manifest, held: Iterable[str], given: Iterable[str]) -> list[str]:
    """What an update needs and has not: required by the new release, neither held nor given. Sorted.

    Raises:
        GrantsUnknownError: Something is granted that the new release does not ask for.
    """
    return missing_grants(new, still_held(old, new, held) | _asked_only(new, given, asked(new)))


def carried(old: Manifest, new: Manifest, held: Iterable[str], given: Iterable[str]) -> frozenset[str]:
    """The grants after an update: those held that the new release still asks for, and those given now.

    What an update asks for anew is never granted by itself, unless it is the plugin's own thing; of these, one that the
    tenant had withdrawn stays withdrawn.

    Raises:
        GrantsUnknownError: Something is granted that the new release does not ask for.
        GrantsMissingError: Something that it requires is neither held nor given.
    """
    known = asked(new)
    grants = still_held(old, new, held) | _asked_only(new, given, known)
    grants |= frozenset(known.implied) - frozenset(asked(old).implied)
    if missing := missing_grants(new, grants):
        raise GrantsMissingError(new.slug, missing)
    return grants


def filters_of(
    grants: Iterable[str], given: Wanted, before: Mapping[str, RowFilter] | None = None
) -> dict[str, list[Any]]:
    """The rows that the tenant narrows grants to: as given now, else as before."""
    said = {**(before or {}), **(given.filters or {})}
    return {name: list(said[name]) for name in sorted(grants) if said.get(name)}


def rows_of(manifest: Manifest, grants: Iterable[str], filters: Mapping[str, RowFilter]) -> dict[str, list[Any]]:
    """Grant of an entity → all conditions that its rows meet, the publisher's and the tenant's."""
    return {
        name: [*manifest.permission_filters.get(name, ()), *filters.get(name, ())]
        for name in grants
        if entity_of(name) is not None
    }


def check_holder(
    access: AccessBook, actor: Actor, tenant_id: str, before: Mapping[str, list[Any]], after: Mapping[str, list[Any]]
) -> None:
    """Refuse to let somebody give what their own role does not hold. What is not more than before may stay.

    Args:
        before, after: As from `rows_of`.

    Raises:
        GrantNotHeldError: Naming the first grant of this kind.
    """
    for name, rows in sorted(after.items()):
        if name in before and is_within(rows, before[name]):
            continue
        entity, _, target = name.partition(":")
        uses: tuple[Use, ...] = ("read", "write") if target == "*" else ("read",) if target == "read" else ("write",)
        for use in uses:
            held = access.of(entity, use, actor.role)
            if held is True:
                continue
            if held is False:
                raise GrantNotHeldError(name, actor.role)
            # Their own rows, or those of whoever acts: both give nobody more than they have.
            own = plain_where(filled(held, tenant_id, Caller(actor.id, actor.role)) or ())
            if not is_within(rows, held) and not is_within(rows, own):
                raise GrantNotHeldError(name, actor.role, list(held))


def _asked_only(manifest: Manifest, grants: Iterable[str], known: Asked) -> frozenset[str]:
    given = frozenset(grants)
    if unknown := given - {*known.required, *known.optional, *known.implied}:
        raise GrantsUnknownError(manifest.slug, unknown)
    return given
