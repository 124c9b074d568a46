"""Plans and installations in the form in which the endpoints give them out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from jackfield.capabilities.permissions import asked, describe
from jackfield.capabilities.row_filters import RowFilter, words
from jackfield.errors import JackfieldError
from jackfield.lifecycle.configuration import known_fields, missing_fields
from jackfield.lifecycle.consent import missing_grants, still_held
from jackfield.lifecycle.contributions import contributions
from jackfield.lifecycle.interfaces import HealthNote, LeftAlone
from jackfield.lifecycle.migrations import is_reversible
from jackfield.lifecycle.models import PastRelease
from jackfield.lifecycle.planning import InstallPlan, Planned, RollbackPlan, UninstallPlan, UpdatePlan
from jackfield.lifecycle.schemas import (
    BreakerOut,
    ConflictOut,
    DataMoveOut,
    HealthNoteOut,
    InstallationDetailOut,
    InstallationOut,
    MigrationOut,
    PastReleaseOut,
    PendingUpdateOut,
    PermissionOut,
    PermissionUsesOut,
    PlannedOut,
    PlanOut,
    ReasonOut,
    TableOut,
    UserUsesOut,
)
from jackfield.lifecycle.table_exports import TableAmount
from jackfield.lifecycle.views import Installed
from jackfield.records import Use
from jackfield_sdk.manifest import Manifest, Migration

__all__ = [
    "detail_out",
    "install_plan_out",
    "installation_out",
    "past_release_out",
    "permissions_out",
    "rollback_plan_out",
    "table_out",
    "uninstall_plan_out",
    "update_plan_out",
    "uses_out",
]

_Kind = Literal["required", "optional", "implied"]


def permissions_out(
    manifest: Manifest, granted: Iterable[str] | None = None, filters: Mapping[str, RowFilter] | None = None
) -> list[PermissionOut]:
    """Everything a plugin asks for, in plain words.

    Args:
        granted: None while it is not installed.
        filters: Grant → the rows that the tenant narrowed it to.
    """
    known, given = asked(manifest), None if granted is None else frozenset(granted)
    found: list[PermissionOut] = []
    kinds: tuple[tuple[_Kind, tuple[str, ...]], ...] = (
        ("required", known.required), ("optional", known.optional), ("implied", known.implied),
    )  # fmt: skip
    for kind, names in kinds:
        for name in names:
            rows = (filters or {}).get(name, ())
            found.append(
                _permission(
                    name, kind, manifest.permission_reasons.get(name), manifest.permission_filters.get(name, []), rows,
                    is_granted=None if given is None else name in given,
                )
            )  # fmt: skip
    return found


def _permission(
    name: str, kind: _Kind, reason: str | None, asked_rows: RowFilter, rows: RowFilter = (), *, is_granted: bool | None
) -> PermissionOut:
    told, narrowed = describe(name), words([*asked_rows, *rows])
    return PermissionOut(
        permission=name, text=f"{told.text}: those of which {narrowed}" if narrowed else told.text, risk=told.risk,
        reason=reason, kind=kind, is_granted=is_granted, where=list(asked_rows), granted_where=list(rows),
    )  # fmt: skip


def uses_out(seen: Installed, uses: Iterable[Use], *, with_users: bool) -> list[PermissionUsesOut]:
    """What a plugin may do, and what it made of it. A grant that was withdrawn has its uses still."""
    counted = {use.permission: use for use in uses}
    found: list[PermissionUsesOut] = []
    for permission in permissions_out(seen.manifest, seen.grants, seen.grant_filters):
        use = counted.get(permission.permission)
        users = use.users if use and with_users else ()
        found.append(
            PermissionUsesOut(
                **permission.model_dump(), uses=use.uses if use else 0, last_used_at=use.last_used_at if use else None,
                users=[UserUsesOut.model_validate(user, from_attributes=True) for user in users],
            )
        )  # fmt: skip
    return found


def _pending(seen: Installed) -> PendingUpdateOut | None:
    pending = seen.pending
    if pending is None:
        return None
    return PendingUpdateOut(
        version=pending.version,
        missing=[
            _permission(name, "required", pending.reasons.get(name), pending.rows.get(name, ()), is_granted=False)
            for name in pending.missing
        ],
        granted=pending.grants,
        asked_by=pending.asked_by,
        since=pending.since,
        failed=None if pending.failed is None else ReasonOut(code=pending.failed.code, message=pending.failed.message),
    )


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
        is_possible=not plan.conflicts, conflicts=_conflicts(plan.conflicts), dependencies=[],
        permissions=permissions_out(manifest, plan.row.grants, plan.row.grant_filters),
        contributes=contributions(manifest), config_schema=_schema(manifest), secrets=_secrets(manifest),
        missing_config=[], owned=dict(plan.owned),
    )  # fmt: skip


def update_plan_out(plan: UpdatePlan, stored: Iterable[str]) -> PlanOut:
    """The plan of an update. `stored` names the secrets that have a value."""
    manifest, release, row = plan.release.manifest, plan.release, plan.row
    held = still_held(plan.old.manifest, manifest, row.grants)
    return PlanOut(
        action="update", slug=row.slug, version=release.version, instance=row.instance, name=manifest.name,
        summary=manifest.summary, publisher_id=release.publisher_id, digest=release.digest,
        is_possible=not plan.conflicts, conflicts=_conflicts(plan.conflicts),
        permissions=permissions_out(manifest, held, row.grant_filters), contributes=contributions(manifest),
        dependencies=[], config_schema=_schema(manifest), secrets=_secrets(manifest),
        missing_config=list(missing_fields(manifest, known_fields(manifest, row.config), tuple(stored))),
        installed_version=row.version, missing_grants=missing_grants(manifest, held), data=_update_data(plan),
    )  # fmt: skip


def rollback_plan_out(plan: RollbackPlan, stored: Iterable[str]) -> PlanOut:
    """The plan of going back. `stored` names the secrets that have a value now."""
    manifest, release, row = plan.release.manifest, plan.release, plan.row
    held: dict[str, Any] = {"grants": [], "grant_filters": {}, "config": {}}
    if plan.past is not None:
        held |= plan.past.held
    return PlanOut(
        action="rollback", slug=row.slug, version=release.version, instance=row.instance, name=manifest.name,
        summary=manifest.summary, publisher_id=release.publisher_id, digest=release.digest,
        is_possible=not plan.conflicts, conflicts=_conflicts(plan.conflicts),
        permissions=permissions_out(manifest, held["grants"], held["grant_filters"]),
        contributes=contributions(manifest), dependencies=[], config_schema=_schema(manifest),
        secrets=_secrets(manifest), missing_config=list(missing_fields(manifest, held["config"], tuple(stored))),
        installed_version=row.version, data=_rollback_data(plan),
    )  # fmt: skip


def _update_data(plan: UpdatePlan) -> DataMoveOut:
    migrations = plan.migrations
    reversible = is_reversible(migrations)
    if not plan.moves_data:
        way, text = "keep", "the data stays as it is"
    else:
        told = "reversible" if reversible else "going back restores the data as it is now"
        way, text = "migrate", f"{_count(len(migrations), 'migration')}, {told}, {_count(plan.amount['rows'], 'row')}"
    return _move(plan.amount, way, text, migrations, is_reversible=reversible, can_restore=plan.moves_data)


def _rollback_data(plan: RollbackPlan) -> DataMoveOut:
    text = {
        "keep": "the data stays as it is",
        "transform": f"{_count(len(plan.downs), 'migration')} undone over {_count(plan.amount['rows'], 'row')}",
        "restore": f"the data of {plan.release.version} is restored; what was written since goes to an export",
    }[plan.way]
    reversible = plan.way != "restore"
    return _move(plan.amount, plan.way, text, plan.downs, is_reversible=reversible, can_restore=plan.can_restore)


def _move(
    amount: Mapping[str, int], way: Any, text: str, migrations: Iterable[Migration], **flags: bool
) -> DataMoveOut:
    return DataMoveOut(
        text=text, way=way, rows=amount.get("rows", 0), storage_keys=amount.get("storage_keys", 0),
        size_bytes=amount.get("size_bytes", 0), **flags,
        migrations=[
            MigrationOut(name=one.name, to_version=one.to_version, is_reversible=one.down is not None)
            for one in migrations
        ],
    )  # fmt: skip


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def past_release_out(row: PastRelease) -> PastReleaseOut:
    """A release that was there before."""
    return PastReleaseOut(
        version=row.version, next_version=row.next_version,
        ended_by="update" if row.ended_by == "update" else "rollback",
        ended_at=row.ended_at, actor=row.actor, note=row.note, migrations=list(row.migrations),
        can_return=row.copy_id is not None, has_data=row.has_data, rows=row.rows, storage_keys=row.storage_keys,
        size_bytes=row.size_bytes,
    )  # fmt: skip


def table_out(one: TableAmount) -> TableOut:
    """A table, with how much is in it."""
    table = one.table
    return TableOut(
        name=table.name, columns=dict(table.columns), required=list(table.required),
        indexes=[list(group) for group in table.indexes], unique=[list(group) for group in table.unique],
        references=dict(table.references), rows=one.rows, size_bytes=one.size_bytes,
    )  # fmt: skip


def installation_out(
    seen: Installed, note: HealthNote | None = None, left_alone: Sequence[LeftAlone] = ()
) -> InstallationOut:
    """An installation in a list."""
    return InstallationOut.model_validate(_fields(seen, note, left_alone))


def detail_out(
    seen: Installed, note: HealthNote | None = None, left_alone: Sequence[LeftAlone] = ()
) -> InstallationDetailOut:
    """An installation with everything."""
    manifest = seen.manifest
    return InstallationDetailOut.model_validate(
        {
            **_fields(seen, note, left_alone),
            "grants": list(seen.grants),
            "grant_filters": dict(seen.grant_filters),
            "permissions": permissions_out(manifest, seen.grants, seen.grant_filters),
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


def _fields(seen: Installed, note: HealthNote | None, left_alone: Sequence[LeftAlone]) -> dict[str, Any]:
    return {
        "breakers": [BreakerOut.model_validate(one) for one in left_alone],
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
        "pending_update": _pending(seen),
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
