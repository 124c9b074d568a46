"""`/api/plugins`: plan, install, change and remove."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from jackfield.http import AdminCaller, Caller, MemberCaller, Page, PageParams, cut, decode_cursor, problem_responses
from jackfield.lifecycle.consent import Given, Grant
from jackfield.lifecycle.interfaces import HealthNote, HealthNotes, LeftAlone
from jackfield.lifecycle.operations import Actor
from jackfield.lifecycle.presentation import (
    detail_out,
    install_plan_out,
    installation_out,
    past_release_out,
    rollback_plan_out,
    table_out,
    uninstall_plan_out,
    update_plan_out,
)
from jackfield.lifecycle.schemas import (
    ConfigChange,
    ConfigTestOut,
    GrantIn,
    GrantsChange,
    HistoryOut,
    InstallationDetailOut,
    InstallationOut,
    InstallRequest,
    PlanOut,
    PlanRequest,
    RemovedOut,
    RollbackOut,
    RollbackRequest,
    TablesOut,
    UpdateRequest,
)
from jackfield.lifecycle.service import DataChoice, Lifecycle
from jackfield.lifecycle.states import State
from jackfield.lifecycle.table_exports import Format
from jackfield.lifecycle.views import Installed

__all__ = ["Plugin", "actor_of", "router"]


@dataclass(frozen=True, slots=True)
class Named:
    """Which installation a path names."""

    slug: str
    instance: str = "default"


def _named(
    slug: Annotated[
        str,
        Path(max_length=110, description="The plugin; `slug@instance` when it is installed several times"),
    ],
) -> Named:
    name, at, instance = slug.partition("@")
    return Named(name, instance if at else "default")


Plugin = Annotated[Named, Depends(_named)]
"""The path parameter `slug`."""

_StateParam = Annotated[list[State] | None, Query(alias="state", description="Only those in one of these states")]
_TextParam = Annotated[str | None, Query(max_length=100, description="Only those whose name or slug holds this")]


def router(lifecycle: Lifecycle, health: HealthNotes | None = None) -> APIRouter:
    """Endpoints over the life cycle. Reading is for every member, changing for owners and admins."""
    routes = APIRouter(prefix="/api/plugins", tags=["plugins"])

    async def notes_on(tenant_id: str, seen: Iterable[Installed]) -> Mapping[str, HealthNote]:
        return await health.notes(tenant_id, [one.id for one in seen]) if health else {}

    def left_alone(seen: Installed) -> Sequence[LeftAlone]:
        return health.left_alone(seen.id, seen.revision) if health else ()

    async def detailed(seen: Installed) -> InstallationDetailOut:
        return detail_out(seen, (await notes_on(seen.tenant_id, [seen])).get(seen.id), left_alone(seen))

    @routes.post("/plan", operation_id="planPlugin", responses=problem_responses(403, 404))
    async def plan(caller: MemberCaller, body: PlanRequest) -> PlanOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """What installing, updating, going back or uninstalling would do: permissions, contributions, conflicts."""
        if body.action == "uninstall":
            return uninstall_plan_out(await lifecycle.plan_uninstall(caller.tenant, body.slug, instance=body.instance))
        if body.action == "update":
            planned = await lifecycle.plan_update(caller.tenant, body.slug, body.version, instance=body.instance)
            return update_plan_out(planned, await lifecycle.stored_secrets(planned.row))
        if body.action == "rollback":
            back = await lifecycle.plan_rollback(
                caller.tenant, body.slug, body.version, way=body.data, instance=body.instance
            )
            return rollback_plan_out(back, await lifecycle.stored_secrets(back.row))
        return install_plan_out(
            await lifecycle.plan_install(caller.tenant, body.slug, body.version, instance=body.instance)
        )

    @routes.post("/install", status_code=201, operation_id="installPlugin", responses=problem_responses(403, 404, 409))
    async def install(caller: AdminCaller, body: InstallRequest) -> InstallationDetailOut:  # pyright: ignore[reportUnusedFunction]
        """Install a plugin and activate it. Every required permission has to be granted here; see the plan."""
        installed = await lifecycle.install(
            caller.tenant, body.slug, version=body.version, grants=_given(body.grants), config=body.config,
            instance=body.instance, grants_for={slug: _given(some) for slug, some in body.grants_for.items()},
            actor=actor_of(caller),
        )  # fmt: skip
        return detail_out(installed)

    @routes.get("", operation_id="listPlugins", responses=problem_responses(403))
    async def list_plugins(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller, page: PageParams, states: _StateParam = None, q: _TextParam = None
    ) -> Page[InstallationOut]:
        """Installed plugins, by slug."""
        after = tuple(decode_cursor(page.cursor, str, str)) if page.cursor else ("", "")
        found = await lifecycle.list(caller.tenant, states=states or (), text=q, after=after, limit=page.limit + 1)
        notes = await notes_on(caller.tenant, found)
        shown = cut(found, page.limit, lambda seen: (seen.slug, seen.instance)).map(
            lambda seen: installation_out(seen, notes.get(seen.id), left_alone(seen))
        )
        return Page[InstallationOut](items=shown.items, next_cursor=shown.next_cursor)

    @routes.get("/{slug}", operation_id="getPlugin", responses=problem_responses(403, 404))
    async def get_plugin(caller: MemberCaller, plugin: Plugin) -> InstallationDetailOut:  # pyright: ignore[reportUnusedFunction]
        """One installed plugin."""
        return await detailed(await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance))

    @routes.post("/{slug}/activate", operation_id="activatePlugin", responses=problem_responses(403, 404, 409))
    async def activate(caller: AdminCaller, plugin: Plugin) -> InstallationDetailOut:  # pyright: ignore[reportUnusedFunction]
        """Put it to work."""
        return detail_out(
            await lifecycle.activate(caller.tenant, plugin.slug, instance=plugin.instance, actor=actor_of(caller))
        )

    @routes.post("/{slug}/deactivate", operation_id="deactivatePlugin", responses=problem_responses(403, 404, 409))
    async def deactivate(caller: AdminCaller, plugin: Plugin) -> InstallationDetailOut:  # pyright: ignore[reportUnusedFunction]
        """Take it from work; data, configuration and grants stay."""
        return detail_out(
            await lifecycle.deactivate(caller.tenant, plugin.slug, instance=plugin.instance, actor=actor_of(caller))
        )

    @routes.post("/{slug}/update", operation_id="updatePlugin", responses=problem_responses(403, 404, 409))
    async def update(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, response: Response, body: UpdateRequest | None = None
    ) -> InstallationDetailOut:
        """Replace its release by a newer one, without a pause.

        When that asks for more than is granted, the answer is 202 and the update waits, see `pending_update`: it is
        done as soon as the rest is granted, here or with the other grants. With `config`, which cannot wait, it is
        refused instead.
        """
        wanted = body or UpdateRequest()
        updated = await lifecycle.update(
            caller.tenant, plugin.slug, version=wanted.version, grants=_given(wanted.grants), config=wanted.config,
            instance=plugin.instance, actor=actor_of(caller),
        )  # fmt: skip
        if updated.pending is not None:
            response.status_code = 202
        return await detailed(updated)

    @routes.delete("/{slug}/update", operation_id="giveUpPluginUpdate", responses=problem_responses(403, 404, 409))
    async def give_up_update(caller: AdminCaller, plugin: Plugin) -> InstallationDetailOut:  # pyright: ignore[reportUnusedFunction]
        """Let an update that waits for consent wait no longer. What was granted for it is forgotten."""
        return await detailed(
            await lifecycle.give_up_update(caller.tenant, plugin.slug, instance=plugin.instance, actor=actor_of(caller))
        )

    @routes.post("/{slug}/rollback", operation_id="rollBackPlugin", responses=problem_responses(403, 404, 409, 503))
    async def rollback(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, body: RollbackRequest | None = None
    ) -> RollbackOut:
        """Go back to a release that was there before, with its configuration, secrets, grants and data.

        `POST /api/plugins/plan` with the action `rollback` says what becomes of the data.
        """
        wanted = body or RollbackRequest()
        seen, done = await lifecycle.rollback(
            caller.tenant, plugin.slug, version=wanted.to, way=wanted.data, grants=_given(wanted.grants),
            instance=plugin.instance, actor=actor_of(caller),
        )  # fmt: skip
        return RollbackOut(
            from_version=done.from_version, version=done.version, data=done.data, export_id=done.export_id,
            problems=list(done.problems), plugin=await detailed(seen),
        )  # fmt: skip

    @routes.get("/{slug}/history", operation_id="getPluginHistory", responses=problem_responses(403, 404))
    async def history(caller: MemberCaller, plugin: Plugin) -> HistoryOut:  # pyright: ignore[reportUnusedFunction]
        """The releases that it had, and which of them can be gone back to."""
        seen, past = await lifecycle.history(caller.tenant, plugin.slug, instance=plugin.instance)
        return HistoryOut(version=seen.version, releases=[past_release_out(row) for row in past])

    @routes.get("/{slug}/tables", operation_id="listPluginTables", responses=problem_responses(403, 404))
    async def tables(caller: MemberCaller, plugin: Plugin) -> TablesOut:  # pyright: ignore[reportUnusedFunction]
        """Its own tables: columns, and how much is in them."""
        found = await lifecycle.tables(caller.tenant, plugin.slug, instance=plugin.instance)
        return TablesOut(tables=[table_out(one) for one in found])

    @routes.get(
        "/{slug}/tables/{table}/export",
        operation_id="exportPluginTable",
        responses=problem_responses(403, 404),
        response_class=StreamingResponse,
    )
    async def export_table(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller,
        plugin: Plugin,
        table: Annotated[str, Path(max_length=48)],
        form: Annotated[Format, Query(alias="format", description="JSON Lines, or CSV with a header")] = "jsonl",
    ) -> StreamingResponse:
        """All rows of one of its tables. A text in CSV that a spreadsheet would run begins with an apostrophe."""
        lines = await lifecycle.export_table(caller.tenant, plugin.slug, table, form, instance=plugin.instance)
        name = f"{plugin.slug}-{table}.{form}"
        return StreamingResponse(
            lines, media_type="text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )  # fmt: skip

    @routes.delete("/{slug}", operation_id="uninstallPlugin", responses=problem_responses(403, 404, 409, 503))
    async def uninstall(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller,
        plugin: Plugin,
        data: Annotated[DataChoice, Query(description="What becomes of its data")] = "delete",
    ) -> RemovedOut:
        """Remove it: with its data, after exporting the data, or keeping the data for the next installation."""
        removed = await lifecycle.uninstall(
            caller.tenant, plugin.slug, data=data, instance=plugin.instance, actor=actor_of(caller)
        )
        return RemovedOut.model_validate(removed, from_attributes=True)

    @routes.put("/{slug}/config", operation_id="configurePlugin", responses=problem_responses(403, 404, 409))
    async def configure(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, body: ConfigChange
    ) -> InstallationDetailOut:
        """Replace the configuration. Secrets are write-only: they are never part of an answer."""
        return detail_out(
            await lifecycle.configure(
                caller.tenant, plugin.slug, body.config, instance=plugin.instance, actor=actor_of(caller)
            )
        )

    @routes.post("/{slug}/config/test", operation_id="testPluginConfig", responses=problem_responses(403, 404, 409))
    async def test_config(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, body: ConfigChange
    ) -> ConfigTestOut:
        """Have the plugin check a configuration. Nothing is saved."""
        tested = await lifecycle.test_config(
            caller.tenant, plugin.slug, body.config, instance=plugin.instance, actor=actor_of(caller)
        )
        return ConfigTestOut(
            ok=tested.is_ok, checked=tested.is_checked, code=tested.code, message=tested.message, hint=tested.hint
        )

    @routes.put("/{slug}/grants", operation_id="setPluginGrants", responses=problem_responses(403, 404, 409))
    async def set_grants(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, body: GrantsChange
    ) -> InstallationDetailOut:
        """Replace the grants: what is left out is withdrawn, and the next capability call does not have it."""
        return detail_out(
            await lifecycle.set_grants(
                caller.tenant, plugin.slug, _given(body.grants), instance=plugin.instance, actor=actor_of(caller)
            )
        )

    @routes.get(
        "/exports/{export_id}",
        operation_id="getPluginExport",
        responses=problem_responses(403, 404),
        response_class=FileResponse,
    )
    async def get_export(caller: AdminCaller, export_id: str) -> FileResponse:  # pyright: ignore[reportUnusedFunction]
        """The data of an uninstalled plugin: JSON lines."""
        row, path = await lifecycle.exports.find(caller.tenant, export_id)
        return FileResponse(
            path, media_type="application/x-ndjson", filename=f"{row.slug}-{row.id}.jsonl",
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )  # fmt: skip

    return routes


def _given(grants: Iterable[str | GrantIn]) -> list[Given]:
    return [grant if isinstance(grant, str) else Grant(grant.permission, grant.where) for grant in grants]


def actor_of(caller: Caller) -> Actor:
    """The caller as the journal and the audit trail know them."""
    return Actor(caller.member_id or caller.token_id or caller.subject, caller.role, caller.subject)
