"""A plan and a tenant's consent make the packages of an installation. All that can be refused is refused here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jackfield.ids import new_id
from jackfield.lifecycle.configuration import Candidate, accept
from jackfield.lifecycle.consent import agreed, missing_grants
from jackfield.lifecycle.errors import DependencyConsentMissingError
from jackfield.lifecycle.hooks import declared
from jackfield.lifecycle.planning import InstallPlan, Planned, needs
from jackfield.lifecycle.steps import Package

__all__ = ["packages_of"]


def packages_of(
    plan: InstallPlan,
    grants: frozenset[str],
    config: Mapping[str, Any] | None,
    grants_for: Mapping[str, Iterable[str]],
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
        if (missing := missing_grants(other.release.manifest, grants_for.get(other.release.slug, ())))
    }
    granted = agreed(main.release.manifest, grants)
    if lacking:
        raise DependencyConsentMissingError(plan.slug, lacking)
    if config is None:
        # Data that was kept comes with the configuration that it was made under.
        config = main.kept.config if main.kept else {}
    candidate = accept(main.release.manifest, config)
    packages = [
        _package(
            other, "default", agreed(other.release.manifest, grants_for.get(other.release.slug, ())), _defaults(other)
        )
        for other in others
    ]
    packages.append(_package(main, plan.instance, granted, candidate))
    return packages, candidate.secrets


def _defaults(planned: Planned) -> Candidate:
    return accept(planned.release.manifest, planned.kept.config if planned.kept else {})


def _package(planned: Planned, instance: str, grants: frozenset[str], candidate: Candidate) -> Package:
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
    )
