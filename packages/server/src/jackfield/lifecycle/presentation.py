"""Plans and installations in the form in which the endpoints give them out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from jackfield.capabilities.permissions import asked, describe
from jackfield.errors import JackfieldError
from jackfield.lifecycle.configuration import known_fields, missing_fields
from jackfield.lifecycle.contributions import contributions
from jackfield.lifecycle.interfaces import HealthNote
from jackfield.lifecycle.planning import InstallPlan, Planned, UninstallPlan, UpdatePlan
from jackfield.lifecycle.schemas import (
    ConflictOut,
    HealthNoteOut,
    InstallationDetailOut,
    InstallationOut,
    PermissionOut,
    PlannedOut,
    PlanOut,
    ReasonOut,
)
from jackfield.lifecycle.views import Installed
from jackfield_sdk.manifest import Manifest

__all__ = ["detail_out", "install_plan_out", "installation_out", "uninstall_plan_out", "update_plan_out"]


def permissions_out(manifest: Manifest, granted: Iterable[str] | None = None) -> list[PermissionOut]:
    """Everything a plugin asks for, in plain words. `granted` is None while it is not installed."""
    known, given = asked(manifest), None if granted is None else frozenset(granted)
    found: list[PermissionOut] = []
    kinds: tuple[tuple[Literal["required", "optional", "implied"], tuple[str, ...]], ...] = (
        ("required", known.required), ("optional", known.optional), ("implied", known.implied),
    )  # fmt: skip
    for kind, names in kinds:
        for name in names:
            words = describe(name)
            found.append(
                PermissionOut(
                    permission=name, text=words.text, risk=words.risk, reason=manifest.permission_reasons.get(name),
                    kind=kind, is_granted=None if given is None else name in given,
                )
            )  # fmt: skip
    return found


def install_plan_out(plan: InstallPlan) -> PlanOut:
    """The plan of an installation."""
    *others, main = plan.steps or (None,)
    manifest, release = plan.release.manifest, plan.release
    kept = main.kept.config if main and main.kept else {}
    return PlanOut(
        action="install", slug=plan.slug, version=release.version, instance=plan.instance, name=manifest.name,
        summary=manifest.summary, publisher_id=release.publisher_id, digest=release.digest,
        is_possible=not plan.conflicts, conflicts=_conflicts(plan.conflicts), permissions=permissions_out(manifest),
        contributes=contributions(manifest), dependencies=[_planned(other) for other in others if other],
        config_schema=_schema(manifest), secrets=_secrets(manifest),
        missing_config=list(missing_fields(manifest, kept, ())),
    )  # fmt: skip


def uninstall_plan_out(plan: UninstallPlan) -> PlanOut:
    """The plan of an uninstallation."""
    manifest, release = plan.release.manifest, plan.release
    return PlanOut(
        action="uninstall", slug=plan.row.slug, version=plan.row.version, instance=plan.row.instance,
        name=manifest.name, summary=manifest.summary, publisher_id=release.publisher_id, digest=release.digest,
        is_possible=not plan.conflicts, conflicts=_conflicts(plan.conflicts), permissions=permissions_out(manifest,
        plan.row.grants), contributes=contributions(manifest), dependencies=[], config_schema=_schema(manifest),
        secrets=_secrets(manifest), missing_config=[], owned=dict(plan.owned),
    )  # fmt: skip


def update_plan_out(plan: UpdatePlan, stored: Iterable[str]) -> PlanOut:
    """The plan of an update. `stored` names the secrets that have a value."""
    manifest, release, row = plan.release.manifest, plan.release, plan.row
    required = frozenset(asked(manifest).required)
    return PlanOut(
        action="update", slug=row.slug, version=release.version, instance=row.instance, name=manifest.name,
        summary=manifest.summary, publisher_id=release.publisher_id, digest=release.digest,
        is_possible=not plan.conflicts, conflicts=_conflicts(plan.conflicts),
        permissions=permissions_out(manifest, row.grants), contributes=contributions(manifest), dependencies=[],
        config_schema=_schema(manifest), secrets=_secrets(manifest),
        missing_config=list(missing_fields(manifest, known_fields(manifest, row.config), tuple(stored))),
        installed_version=row.version, missing_grants=sorted(required - set(row.grants)),
    )  # fmt: skip


def installation_out(seen: Installed, note: HealthNote | None = None) -> InstallationOut:
    """An installation in a list."""
    return InstallationOut.model_validate(_fields(seen, note))


def detail_out(seen: Installed, note: HealthNote | None = None) -> InstallationDetailOut:
    """An installation with everything."""
    manifest = seen.manifest
    return InstallationDetailOut.model_validate(
        {
            **_fields(seen, note),
            "grants": list(seen.grants),
            "permissions": permissions_out(manifest, seen.grants),
            "missing_grants": list(seen.missing_grants),
            "config": dict(seen.config),
            "config_schema": _schema(manifest),
            "secrets": {name: {"stored": is_stored} for name, is_stored in seen.secrets.items()},
            "missing_config": list(seen.missing_config),
            "contributes": contributions(manifest),
            "has_health_check": manifest.health is not None,
            "has_config_check": manifest.config is not None and manifest.config.validate is not None,
        }
    )


def _fields(seen: Installed, note: HealthNote | None) -> dict[str, Any]:
    return {
        "health": None if note is None else HealthNoteOut.model_validate(note, from_attributes=True),
        "id": seen.id,
        "slug": seen.slug,
        "instance": seen.instance,
        "version": seen.version,
        "name": seen.manifest.name,
        "summary": seen.manifest.summary,
        "category": seen.manifest.category,
        "state": seen.state.value,
        "meaning": seen.meaning,
        "reason": None if seen.reason is None else ReasonOut(code=seen.reason[0], message=seen.reason[1]),
        "needs_configuration": bool(seen.missing_config),
        "installed_at": seen.installed_at,
        "updated_at": seen.updated_at,
        "activated_at": seen.activated_at,
    }


def _planned(planned: Planned) -> PlannedOut:
    manifest = planned.release.manifest
    return PlannedOut(
        slug=manifest.slug, version=manifest.version, name=manifest.name, summary=manifest.summary,
        because=planned.because, takes_up_data=planned.kept is not None, permissions=permissions_out(manifest),
        contributes=contributions(manifest),
    )  # fmt: skip


def _conflicts(errors: Iterable[JackfieldError]) -> list[ConflictOut]:
    return [ConflictOut(code=error.code, message=str(error), hint=error.hint, data=error.data) for error in errors]


def _schema(manifest: Manifest) -> dict[str, Any] | None:
    return None if manifest.config is None else manifest.config.schema


def _secrets(manifest: Manifest) -> list[str]:
    return [] if manifest.config is None else list(manifest.config.secrets)
