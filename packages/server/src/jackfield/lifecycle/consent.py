"""Consent: what a tenant has to give, may give, and what comes by itself. Pure.

The words come from `capabilities.permissions`; the rule is here: everything required and nothing unasked. What a plugin
does with its own things (`implied`) is granted with the installation and can be withdrawn afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable

from jackfield.capabilities.permissions import Asked, asked
from jackfield.lifecycle.errors import GrantsMissingError, GrantsUnknownError
from jackfield_sdk.manifest import Manifest

__all__ = ["agreed", "carried", "missing_grants", "replaced"]


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


def carried(old: Manifest, new: Manifest, held: Iterable[str], given: Iterable[str]) -> frozenset[str]:
    """The grants after an update: those held that the new release still asks for, and those given now.

    What an update asks for anew is never granted by itself, unless it is the plugin's own thing; of these, one that the
    tenant had withdrawn stays withdrawn.

    Raises:
        GrantsUnknownError: Something is granted that the new release does not ask for.
        GrantsMissingError: Something that it requires is neither held nor given.
    """
    known = asked(new)
    grants = frozenset(held) & {*known.required, *known.optional, *known.implied}
    grants |= _asked_only(new, given, known) | (frozenset(known.implied) - frozenset(asked(old).implied))
    if missing := missing_grants(new, grants):
        raise GrantsMissingError(new.slug, missing)
    return grants


def _asked_only(manifest: Manifest, grants: Iterable[str], known: Asked) -> frozenset[str]:
    given = frozenset(grants)
    if unknown := given - {*known.required, *known.optional, *known.implied}:
        raise GrantsUnknownError(manifest.slug, unknown)
    return given
