"""`/api/permissions`: all there is to be asked for; `/api/plugins/{slug}/permissions`: what a plugin made of its."""

from __future__ import annotations

from fastapi import APIRouter

from jackfield.capabilities import AccessBook
from jackfield.capabilities.permissions import KINDS, describe
from jackfield.capabilities.rights import Use
from jackfield.http import MemberCaller, problem_responses
from jackfield.lifecycle.endpoints import Plugin
from jackfield.lifecycle.presentation import uses_out
from jackfield.lifecycle.schemas import EntityPermissionOut, KindOut, PermissionsOut, PermissionUsesOut
from jackfield.lifecycle.service import Lifecycle
from jackfield.records import Records
from jackfield.surface import Surface

__all__ = ["permissions_router"]


def permissions_router(lifecycle: Lifecycle, records: Records, surface: Surface) -> APIRouter:
    """Endpoints for every member of the tenant."""
    routes = APIRouter(tags=["plugins"], responses=problem_responses(403))
    access = AccessBook(surface)

    @routes.get("/api/permissions", operation_id="listPermissions")
    async def list_permissions(caller: MemberCaller) -> PermissionsOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """All that a plugin of this host can ask for, in plain words, and whether the caller's role has it."""
        return PermissionsOut(
            entities=_entities(surface, access, caller.role),
            kinds=[
                KindOut(form=kind.form, text=kind.text.format(kind.target), risk=kind.risk) for kind in KINDS.values()
            ],
        )

    @routes.get(
        "/api/plugins/{slug}/permissions", operation_id="listPluginPermissions", responses=problem_responses(404)
    )
    async def list_plugin_permissions(caller: MemberCaller, plugin: Plugin) -> list[PermissionUsesOut]:  # pyright: ignore[reportUnusedFunction]
        """What a plugin may do, and how often it did, when last, and on whose behalf."""
        seen = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        uses = await records.uses(caller.tenant, seen.id)
        return uses_out(seen, uses, with_users=caller.role in ("owner", "admin"))

    return routes


def _entities(surface: Surface, access: AccessBook, role: str) -> list[EntityPermissionOut]:
    found: list[EntityPermissionOut] = []
    for name, entity in surface.entity_index.items():
        uses: tuple[tuple[Use, tuple[str, ...]], ...] = (("read", entity.readable), ("write", entity.writable))
        for use, fields in uses:
            if not fields:
                continue
            words, held = describe(f"{name}:{use}"), access.of(name, use, role)
            found.append(
                EntityPermissionOut(
                    permission=words.permission, text=words.text, risk=words.risk, fields=list(fields),
                    held=held is not False, held_where=[] if isinstance(held, bool) else list(held),
                )
            )  # fmt: skip
    return found
