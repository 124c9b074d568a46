"""A plan and a tenant's consent make the packages of an installation. All that can be refused is refused here. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackfield.ids import new_id
from jackfield.lifecycle.configuration import Candidate, accept
from jackfield.lifecycle.consent import Wanted, agreed, filters_of, missing_grants
from jackfield.lifecycle.errors import DependencyConsentMissingError
from jackfield.lifecycle.hooks import declared
from jackfield.lifecycle.planning import InstallPlan, Planned, needs
from jackfield.lifecycle.steps import Package

__all__ = ["packages_of"]


def packages_of(
    plan: InstallPlan,
    grants: Wanted,
    config: Mapping[str, Any] | None,
    grants_for: Mapping[str, Wanted],
) -> tuple[list[Package], dict[str, str | None]]:
    """The packages in order, and the secrets of the last one, which is what was asked for.

    Raises:
        GrantsMissingError, GrantsUnknownError: Consent for what was asked for is not as the manifest wants it.
        ConfigInvalidError: Its configuration does not fit.
        DependencyConsentMissingError: Others come along that want more than is given in `grants_for`.
    """
    *others, main = plan.steps
    lacking = {
        other.release.slug: missing
        for other in others
        if (missing := missing_grants(other.release.manifest, _given(other, grants_for).permissions))
    }
    granted = agreed(main.release.manifest, grants.permissions)
    if lacking:
        raise DependencyConsentMissingError(plan.slug, lacking)
    if config is None:
        # Data that was kept comes with the configuration that it was made under.
        config = main.kept.config if main.kept else {}
    candidate = accept(main.release.manifest, config)
    packages = [
        _package(
            other,
            "default",
            agreed(other.release.manifest, _given(other, grants_for).permissions),
            _given(other, grants_for),
            _defaults(other),
        )
        for other in others
    ]
    packages.append(_package(main, plan.instance, granted, grants, candidate))
    return packages, candidate.secrets


def _defaults(planned: Planned) -> Candidate:
    return accept(planned.release.manifest, planned.kept.config if planned.kept else {})


def _given(planned: Planned, grants_for: Mapping[str, Wanted]) -> Wanted:
    return grants_for.get(planned.release.slug, Wanted())


def _package(planned: Planned, instance: str, grants: frozenset[str], given: Wanted, candidate: Candidate) -> Package:
    release = planned.release
    return Package(
        installation_id=planned.kept.id if planned.kept else new_id("inst"),
        slug=release.slug,
        instance=instance,
        version=release.version,
        grants=sorted(grants),
        config=candidate.config,
        missing=list(candidate.missing),
        needs=needs(release),
        hooks=declared(release.manifest),
        takes_up=planned.kept is not None,
        grant_filters=filters_of(grants, given),
    )
